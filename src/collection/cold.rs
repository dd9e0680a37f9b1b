//! Opens a collection from nothing, and reads beside its register everything that does not depend
//! on it.

use deltafold_format::ShardId;
use futures::future::join;

use super::{Collection, CollectionBuilder};
use crate::error::Result;
use crate::head::{HeadRegister, InStore};
use crate::layout::Layout;
use crate::reader::{Entry, GetOptions, Reader};
use crate::shard::{Names, ReadAhead};

impl CollectionBuilder {
    /// [`open`](Self::open) for a reader that follows: reads the head of the first shard beside the
    /// register, which saves that reader a round trip. Two GETs at once.
    ///
    /// # Errors
    ///
    /// The errors of [`open`](Self::open).
    pub async fn open_to_read(&self) -> Result<Collection> {
        let layout = Layout::new(self.name.clone());
        let head = InStore::new(self.store.clone(), layout.shard(ShardId::default()).head());
        let (collection, head) = join(self.open(), head.read()).await;
        let collection = collection?;
        // The reader reports a head that cannot be read.
        if let (Some(first), Ok(head)) = (collection.shards.first(), head) {
            first.read_ahead(head.map(ReadAhead::Head));
        }
        Ok(collection)
    }

    /// The collection with a reader of everything acknowledged by now: [`open`](Self::open) and
    /// [`Collection::reader`] with the same requests, in one round trip less. It lists the log of
    /// the first shard beside the register.
    ///
    /// # Errors
    ///
    /// The errors of the two.
    pub async fn open_with_reader(&self) -> Result<(Collection, Reader)> {
        let collection = self.open_with_names().await?;
        let reader = collection.reader().await?;
        Ok((collection, reader))
    }

    /// The record `id` as it is by now: [`open`](Self::open) and [`Collection::get`] with the same
    /// requests, in one round trip less. It lists the log of the first shard beside the register.
    ///
    /// # Errors
    ///
    /// The errors of the two.
    pub async fn open_and_get(&self, id: &str) -> Result<Option<Entry>> {
        self.open_and_get_with(id, &GetOptions::default()).await
    }

    /// The same with the parts that the options name.
    ///
    /// # Errors
    ///
    /// The errors of [`open_and_get`](Self::open_and_get).
    pub async fn open_and_get_with(&self, id: &str, options: &GetOptions) -> Result<Option<Entry>> {
        self.open_with_names().await?.get_with(id, options).await
    }

    /// Opens the collection, and lists the names of the first shard's log for the caller's next
    /// look at it.
    async fn open_with_names(&self) -> Result<Collection> {
        let first = Layout::new(self.name.clone()).shard(ShardId::default());
        let (collection, names) = join(self.open(), Names::list(&*self.store, &first)).await;
        let collection = collection?;
        // Where the list failed, the next look makes its own and reports the failure.
        if let (Some(shard), Ok(names)) = (collection.shards.first(), names) {
            shard.read_ahead(Some(ReadAhead::Names(names)));
        }
        Ok(collection)
    }
}

impl Collection {
    /// The record `id` as it is by now. Opens only its shard and keeps nothing. Use it in a process
    /// that reads one record; to read more, open a [`reader`](Self::reader).
    ///
    /// A LIST and two GETs, then the requests of [`Reader::get`], and where the log is not empty a
    /// GET for each segment and a conditional GET. Of segments of more than 64 KiB without an op on
    /// the record it reads the first 16 KiB.
    ///
    /// # Errors
    ///
    /// The errors of [`reader`](Self::reader) and [`Reader::get`].
    pub async fn get(&self, id: &str) -> Result<Option<Entry>> {
        self.get_with(id, &GetOptions::default()).await
    }

    /// The same with the parts that the options name.
    ///
    /// # Errors
    ///
    /// The errors of [`get`](Self::get).
    pub async fn get_with(&self, id: &str, options: &GetOptions) -> Result<Option<Entry>> {
        crate::reader::get(self.shard(ShardId::of(id, self.config.shards))?, id, options).await
    }
}
