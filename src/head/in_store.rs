//! The head as an object of the store.

use std::sync::Arc;

use async_trait::async_trait;
use deltafold_format::Head;

use super::{HeadRegister, HeadState};
use crate::error::{Error, Result};
use crate::retry;
use crate::store::{Key, Object, Outcome, Store, StoreError, Unless};

/// A register that is one small object. The store's `replace` swaps it.
#[derive(Debug)]
pub(crate) struct InStore {
    store: Arc<dyn Store>,
    key: Key,
}

impl InStore {
    pub(crate) fn new(store: Arc<dyn Store>, key: Key) -> Self {
        Self { store, key }
    }

    fn decode(&self, object: Object) -> Result<HeadState> {
        let head = Head::decode(object.bytes).map_err(|error| Error::register(&self.key, error))?;
        Ok(HeadState { head, tag: object.tag })
    }
}

#[async_trait]
impl HeadRegister for InStore {
    async fn read(&self) -> Result<Option<HeadState>> {
        let object = retry::transient(|| self.store.get(&self.key)).await?;
        object.map(|object| self.decode(object)).transpose()
    }

    async fn read_unless(&self, seen: &HeadState) -> Result<Option<Option<HeadState>>> {
        match retry::transient(|| self.store.get_unless(&self.key, &seen.tag)).await? {
            Unless::Unchanged => Ok(None),
            // Some stores send an unchanged object.
            Unless::Changed(object) if object.tag == seen.tag => Ok(None),
            Unless::Changed(object) => Ok(Some(Some(self.decode(object)?))),
            Unless::Absent => Ok(Some(None)),
        }
    }

    async fn swap(&self, seen: &HeadState, new: &Head) -> Result<Outcome, StoreError> {
        self.store.replace(&self.key, &seen.tag, vec![new.encode()]).await
    }
}
