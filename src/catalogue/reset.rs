//! Resets the catalogue: every tenant, database and collection goes.

use super::databases::{Root, key, root_key};
use super::{Catalogue, Result};
use crate::retry;
use crate::store::Key;

impl Catalogue {
    /// Deletes everything that the catalogue holds. A new epoch makes the catalogue empty at once;
    /// then the old registers are closed and the collections' objects deleted. Collections of
    /// `deltafold create` stay, as they are not of the catalogue.
    pub(crate) async fn reset(&self) -> Result<()> {
        let old = self.epoch().await?;
        let new = self.env.nonce().to_string();
        self.registers
            .change(&root_key(), |root: &mut Root| {
                root.epoch.clone_from(&new);
                Ok(())
            })
            .await?;
        let prefix = format!("CATALOGUE/{old}/");
        let mut after: Option<Key> = None;
        loop {
            let page = retry::transient(|| self.store().list_after(&prefix, after.as_ref(), 1_000)).await?;
            for listed in &page {
                self.clear(&listed.key).await?;
            }
            match page.last() {
                Some(last) if page.len() == 1_000 => after = Some(last.key.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// Deletes a register of an old epoch and the collections that it lists.
    async fn clear(&self, register: &Key) -> Result<()> {
        let is_tenant = register.as_str().ends_with("/tenant");
        if !is_tenant {
            let closed = self.close(register).await?;
            for place in &closed.dropping {
                self.drop_place(place).await?;
            }
        }
        // A late change of the default database must find that it is closed.
        let stays = register.as_str().ends_with(&format!("/{}", uuid::Uuid::nil().simple()));
        if stays { Ok(()) } else { self.registers.delete(&[key(register.as_str().to_owned())]).await }
    }
}
