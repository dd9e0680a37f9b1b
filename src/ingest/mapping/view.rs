//! The part of an item that a stream shows at one time: all of it, or only its key.

use super::attribute::{Attribute, Item};
use super::error::RecordError;
use super::path::Path;
use super::stream::UserIdentity;

#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    item: &'a Item,
    /// The view shows every attribute of the item.
    whole: bool,
    /// The identity that deleted the item.
    deleted_by: Option<&'a UserIdentity>,
}

impl<'a> View<'a> {
    pub(super) fn whole(item: &'a Item) -> Self {
        Self { item, whole: true, deleted_by: None }
    }

    pub(super) fn key(item: &'a Item) -> Self {
        Self { item, whole: false, deleted_by: None }
    }

    /// The same of an item that this identity deleted.
    pub(super) fn gone(self, deleted_by: Option<&'a UserIdentity>) -> Self {
        Self { deleted_by, ..self }
    }

    pub(super) fn deleted_by(self) -> Option<&'a UserIdentity> {
        self.deleted_by
    }

    /// The item, if the stream shows all of it.
    pub(super) fn item(self) -> Option<&'a Item> {
        self.whole.then_some(self.item)
    }

    /// The attribute at the path. An error if the stream does not show it; `what` names its
    /// purpose.
    pub(super) fn find(self, path: &Path, what: &str) -> Result<Option<&'a Attribute>, RecordError> {
        if !self.whole && !self.item.contains_key(path.root()) {
            let reason = format!(
                "it {what} and is not part of the key, and the stream does not show the item as it was; let the stream show NEW_AND_OLD_IMAGES"
            );
            return Err(RecordError::of(&path.to_string(), reason));
        }
        Ok(path.find(self.item))
    }
}
