//! Verbs that a wrapper of a store passes on unchanged.

/// In an `impl Store`, passes on the verbs that a wrapper rarely changes to the store in this
/// field. The wrapper is not probed: the tests of the probe open stores themselves.
///
/// `#[async_trait]` sees no function that a macro makes, so `settle` is written as it would write
/// it.
#[macro_export]
macro_rules! pass_on_to {
    ($inner:ident) => {
        fn settle<'store, 'key, 'future>(
            &'store self,
            key: &'key $crate::deltafold::store::Key,
        ) -> $crate::futures::future::BoxFuture<'future, Result<(), $crate::deltafold::store::StoreError>>
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
