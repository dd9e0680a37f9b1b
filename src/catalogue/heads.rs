//! Stores of collections whose heads lie elsewhere, as in a table of DynamoDB.

use std::sync::{Arc, PoisonError};

use deltafold_format::{CollectionName, HeadPlace};

use super::{Catalogue, Result};
use crate::collection::Collection;
use crate::store::Store;

impl Catalogue {
    /// The store that looks for heads in this place. The store of the catalogue if the catalogue
    /// does not know the location: opening a collection then tells where its heads are.
    pub(super) async fn store_with(&self, heads: &HeadPlace) -> Result<Arc<dyn Store>> {
        let Some(location) = self.location.as_ref().filter(|_| *heads != self.store.heads()) else {
            return Ok(self.store.clone());
        };
        let known = |known: &[(HeadPlace, Arc<dyn Store>)]| {
            known.iter().find(|(place, _)| place == heads).map(|(_, store)| store.clone())
        };
        if let Some(store) = known(&self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(store);
        }
        let store = location.with_heads(self.store.clone(), heads).await?;
        let mut all = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = known(&all) {
            return Ok(store);
        }
        all.push((heads.clone(), store.clone()));
        Ok(store)
    }

    /// The store of a collection that is to be dropped, as its register or a manifest tells. One
    /// GET as a rule.
    pub(super) async fn store_to_drop(&self, name: &CollectionName) -> Result<Arc<dyn Store>> {
        match Collection::find_heads(&*self.store, name).await? {
            Some(heads) => self.store_with(&heads).await,
            None => Ok(self.store.clone()),
        }
    }
}
