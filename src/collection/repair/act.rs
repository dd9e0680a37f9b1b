//! The writes of a repair: a create if absent, or a replace of the state that was read.

use bytes::Bytes;
use deltafold_format::{CollectionConfig, Manifest};

use super::config::{Found, Register, get};
use super::conflict;
use super::evidence::{Evidence, HeadFound};
use super::plan::Action;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::retry;
use crate::shard::Shard;
use crate::store::{Key, Outcome, Store, Tag};

/// Writes a head, and first the manifest that it names if that is new.
pub(super) async fn head(shard: &Shard, evidence: &Evidence, action: Action) -> Result<()> {
    let layout = shard.layout();
    let head = match action {
        Action::Nothing => return Ok(()),
        Action::Point(head) => head,
        Action::Publish(manifest) => {
            let manifest = Manifest { config: Some(shard.config().clone()), ..*manifest };
            let key = layout.manifest(manifest.name());
            let encoded = manifest.encode().map_err(|error| Error::format(&key, error))?;
            shard.create_own(&key, encoded.chunks).await?;
            manifest.head()
        }
    };
    // The manifest and the log that were read must outlast a power failure before the head rests on
    // them.
    for key in layout.one_of_each() {
        retry::transient(|| shard.store().settle(&key)).await?;
    }
    let tag = match &evidence.head {
        HeadFound::Missing => None,
        HeadFound::Damaged { tag, .. } => tag.as_ref(),
        HeadFound::Foreign { tag, .. } | HeadFound::Own { tag, .. } => Some(tag),
    };
    write(&**shard.store(), &layout.head(), tag, head.encode()).await
}

/// Writes the collection register.
pub(super) async fn collection(
    store: &dyn Store,
    layout: &Layout,
    found: &Register,
    config: &CollectionConfig,
) -> Result<()> {
    let tag = if let Register::Damaged { tag, .. } = found { tag.as_ref() } else { None };
    write(store, &layout.collection(), tag, config.encode()).await
}

/// Creates the register, or replaces the state that `tag` names. Where the store refuses or the
/// answer is lost, the content of the register decides: another repair may have written the same.
async fn write(store: &dyn Store, key: &Key, tag: Option<&Tag>, content: Bytes) -> Result<()> {
    let chunks = || vec![content.clone()];
    let written = retry::transient(|| async {
        match tag {
            Some(tag) => store.replace(key, tag, chunks()).await,
            None => store.create(key, chunks()).await,
        }
    })
    .await?;
    match (written, get(store, key).await?) {
        (Outcome::Done(_), _) => Ok(()),
        (_, Found::There(object)) if object.bytes == content => Ok(retry::transient(|| store.settle(key)).await?),
        (Outcome::Unknown(error), _) => Err(error.into()),
        _ => Err(conflict(key)),
    }
}
