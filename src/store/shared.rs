//! A shared store is a store, so that a wrapper can wrap any store.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use deltafold_format::{HeadPlace, Timestamp};

use super::{Key, Listed, Object, Outcome, Requests, Staged, Store, StoreError, Tag, Unless};

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    fn location(&self) -> String {
        (**self).location()
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        (**self).get(key).await
    }

    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        (**self).get_range(key, start, end).await
    }

    async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError> {
        (**self).get_unless(key, tag).await
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        (**self).create(key, chunks).await
    }

    async fn stage(&self, key: &Key, chunks: &[Bytes]) -> Result<Option<Box<dyn Staged>>, StoreError> {
        (**self).stage(key, chunks).await
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        (**self).replace(key, tag, chunks).await
    }

    async fn list_after(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        (**self).list_after(prefix, after, limit).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        (**self).delete(keys).await
    }

    async fn settle(&self, key: &Key) -> Result<(), StoreError> {
        (**self).settle(key).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        (**self).now().await
    }

    fn requests(&self) -> Requests {
        (**self).requests()
    }

    fn heads(&self) -> HeadPlace {
        (**self).heads()
    }

    fn uncached(&self) -> Option<Arc<dyn Store>> {
        (**self).uncached()
    }

    fn maps_objects(&self) -> bool {
        (**self).maps_objects()
    }

    fn proxies(&self) -> Vec<String> {
        (**self).proxies()
    }

    fn is_to_be_probed(&self) -> bool {
        (**self).is_to_be_probed()
    }

    async fn abort_uploads(&self, prefix: &str, before: Timestamp, dry_run: bool) -> Result<u64, StoreError> {
        (**self).abort_uploads(prefix, before, dry_run).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreErrorKind;

    /// A store with only the verbs that have no default, one of which fails.
    #[derive(Debug)]
    struct Bare;

    #[async_trait]
    impl Store for Bare {
        fn location(&self) -> String {
            "bare".to_owned()
        }

        async fn get(&self, _: &Key) -> Result<Option<Object>, StoreError> {
            Ok(None)
        }

        async fn get_range(&self, _: &Key, _: u64, _: u64) -> Result<Option<Bytes>, StoreError> {
            Ok(None)
        }

        async fn get_unless(&self, _: &Key, _: &Tag) -> Result<Unless, StoreError> {
            Ok(Unless::Absent)
        }

        async fn create(&self, _: &Key, _: Vec<Bytes>) -> Result<Outcome, StoreError> {
            Ok(Outcome::Refused)
        }

        async fn replace(&self, _: &Key, _: &Tag, _: Vec<Bytes>) -> Result<Outcome, StoreError> {
            Ok(Outcome::Refused)
        }

        async fn list_after(&self, _: &str, _: Option<&Key>, _: usize) -> Result<Vec<Listed>, StoreError> {
            Ok(Vec::new())
        }

        async fn delete(&self, _: &[Key]) -> Result<(), StoreError> {
            Ok(())
        }

        async fn settle(&self, key: &Key) -> Result<(), StoreError> {
            Err(StoreError::new(StoreErrorKind::Permanent, "settle", key, "as the test says"))
        }

        async fn now(&self) -> Result<Timestamp, StoreError> {
            Ok(Timestamp::default())
        }

        fn heads(&self) -> HeadPlace {
            HeadPlace::Store
        }

        fn is_to_be_probed(&self) -> bool {
            true
        }

        fn requests(&self) -> Requests {
            Requests::default()
        }
    }

    /// A writer settles its reads before it acknowledges a repetition. Without that, a power
    /// failure loses an acknowledged op.
    #[tokio::test]
    async fn a_shared_store_settles_its_store() {
        let key = Key::new("c/0000/log/1").unwrap();
        assert!(Store::settle(&Arc::new(Bare), &key).await.is_err());
    }

    /// A store that wrongly claimed to map its objects would not count their memory.
    #[test]
    fn a_store_promises_nothing_by_default() {
        let store = Arc::new(Bare);
        assert!(!store.maps_objects());
        assert!(store.is_to_be_probed());
        assert!(store.uncached().is_none());
        assert_eq!(store.heads(), HeadPlace::Store);
    }
}
