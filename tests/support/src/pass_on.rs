//! Verbs that wrappers of a store have in common.

use deltafold::store::StoreError;
use futures::future::BoxFuture;

/// The answer of a verb.
pub type Answer<'future, T> = BoxFuture<'future, Result<T, StoreError>>;

/// In an `impl Store`, passes on the verbs that a wrapper rarely changes to the store in this
/// field. The wrapper is not probed: the tests of the probe open stores themselves.
///
/// `#[async_trait]` sees no function that a macro makes, so these stand as it would write them.
#[macro_export]
macro_rules! pass_on_to {
    ($inner:ident) => {
        fn settle<'store, 'key, 'future>(
            &'store self,
            key: &'key $crate::deltafold::store::Key,
        ) -> $crate::pass_on::Answer<'future, ()>
        where
            'store: 'future,
            'key: 'future,
            Self: 'future,
        {
            $crate::deltafold::store::Store::settle(&self.$inner, key)
        }

        fn heads(&self) -> $crate::deltafold::format::HeadPlace {
            $crate::deltafold::store::Store::heads(&self.$inner)
        }

        fn requests(&self) -> $crate::deltafold::store::Requests {
            $crate::deltafold::store::Store::requests(&self.$inner)
        }

        fn is_to_be_probed(&self) -> bool {
            false
        }
    };
}

/// In an `impl Store`, the verbs that read objects and lists. Each awaits `self.read(verb, key)`
/// first, and fails with its error. Then the store in this field answers.
#[macro_export]
macro_rules! reads_of {
    ($inner:ident) => {
        fn get<'store, 'key, 'future>(
            &'store self,
            key: &'key $crate::deltafold::store::Key,
        ) -> $crate::pass_on::Answer<'future, Option<$crate::deltafold::store::Object>>
        where
            'store: 'future,
            'key: 'future,
            Self: 'future,
        {
            Box::pin(async move {
                self.read("get", key.as_str()).await?;
                $crate::deltafold::store::Store::get(&self.$inner, key).await
            })
        }

        fn get_range<'store, 'key, 'future>(
            &'store self,
            key: &'key $crate::deltafold::store::Key,
            start: u64,
            end: u64,
        ) -> $crate::pass_on::Answer<'future, Option<$crate::bytes::Bytes>>
        where
            'store: 'future,
            'key: 'future,
            Self: 'future,
        {
            Box::pin(async move {
                self.read("get_range", key.as_str()).await?;
                $crate::deltafold::store::Store::get_range(&self.$inner, key, start, end).await
            })
        }

        fn get_unless<'store, 'key, 'tag, 'future>(
            &'store self,
            key: &'key $crate::deltafold::store::Key,
            tag: &'tag $crate::deltafold::store::Tag,
        ) -> $crate::pass_on::Answer<'future, $crate::deltafold::store::Unless>
        where
            'store: 'future,
            'key: 'future,
            'tag: 'future,
            Self: 'future,
        {
            Box::pin(async move {
                self.read("get_unless", key.as_str()).await?;
                $crate::deltafold::store::Store::get_unless(&self.$inner, key, tag).await
            })
        }

        fn list_after<'store, 'prefix, 'after, 'future>(
            &'store self,
            prefix: &'prefix str,
            after: Option<&'after $crate::deltafold::store::Key>,
            limit: usize,
        ) -> $crate::pass_on::Answer<'future, Vec<$crate::deltafold::store::Listed>>
        where
            'store: 'future,
            'prefix: 'future,
            'after: 'future,
            Self: 'future,
        {
            Box::pin(async move {
                self.read("list", prefix).await?;
                $crate::deltafold::store::Store::list_after(&self.$inner, prefix, after, limit).await
            })
        }
    };
}
