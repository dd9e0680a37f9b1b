//! Opening a collection from nothing: what does not depend on its register is read beside it.

use std::sync::Arc;

use deltafold_format::{CollectionName, ShardId};
use futures::future::join;

use super::Collection;
use crate::error::Result;
use crate::head::{HeadRegister, InStore};
use crate::layout::Layout;
use crate::memory::MemoryLimit;
use crate::reader::{Entry, Reader};
use crate::shard::{Names, ReadAhead};
use crate::store::Store;

impl Collection {
    /// [`open`](Self::open) for a reader that is opened next: reads the head of the first shard
    /// beside the register, which saves that reader a round of requests. Two GETs at once.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub async fn open_to_read(store: Arc<dyn Store>, name: &CollectionName) -> Result<Self> {
        let layout = Layout::new(name.clone());
        let head = InStore::new(store.clone(), layout.shard(ShardId::default()).head());
        let (collection, head) = join(Self::open(store, name), head.read()).await;
        let collection = collection?;
        // A head that cannot be read is the reader's to tell of.
        if let (Some(first), Ok(head)) = (collection.shards.first(), head) {
            first.read_ahead(head.map(ReadAhead::Head));
        }
        Ok(collection)
    }

    /// A collection with a reader of what is acknowledged by now: [`open`](Self::open),
    /// [`with_memory`](Self::with_memory) and [`reader`](Self::reader) with the requests of those,
    /// in a round of requests less. It lists the log of the first shard beside the register.
    ///
    /// # Errors
    ///
    /// Those of the three.
    pub async fn open_with_reader(
        store: Arc<dyn Store>,
        name: &CollectionName,
        memory: MemoryLimit,
    ) -> Result<(Self, Reader)> {
        let collection = Self::open_with_names(store, name, memory).await?;
        let reader = collection.reader().await?;
        Ok((collection, reader))
    }

    /// The record `id` as it is by now. Opens its shard alone and keeps nothing: for a process that
    /// reads one record. Where more are read, open a [`reader`](Self::reader).
    ///
    /// A LIST and two GETs, then those of [`Reader::get`], and where the log is not empty a GET for
    /// each segment and a conditional GET. Of segments without an op about the record it reads no
    /// embedding.
    ///
    /// # Errors
    ///
    /// Those of [`reader`](Self::reader) and [`Reader::get`].
    pub async fn get(&self, id: &str) -> Result<Option<Entry>> {
        crate::reader::get(self.shard(ShardId::of(id, self.config.shards))?, id).await
    }

    /// [`open`](Self::open), [`with_memory`](Self::with_memory) and [`get`](Self::get) with the
    /// requests of those, in a round of requests less. It lists the log of the first shard beside
    /// the register.
    ///
    /// # Errors
    ///
    /// Those of the three.
    pub async fn open_and_get(
        store: Arc<dyn Store>,
        name: &CollectionName,
        memory: MemoryLimit,
        id: &str,
    ) -> Result<Option<Entry>> {
        Self::open_with_names(store, name, memory).await?.get(id).await
    }

    /// Opens a collection, with the names of the first shard's log for the caller's next look at
    /// it.
    async fn open_with_names(store: Arc<dyn Store>, name: &CollectionName, memory: MemoryLimit) -> Result<Self> {
        let first = Layout::new(name.clone()).shard(ShardId::default());
        let (collection, names) = join(Self::open(store.clone(), name), Names::list(&*store, &first)).await;
        let collection = collection?.with_memory(memory);
        // Where the list failed, the next look makes its own, and tells of the failure.
        if let (Some(shard), Ok(names)) = (collection.shards.first(), names) {
            shard.read_ahead(Some(ReadAhead::Names(names)));
        }
        Ok(collection)
    }
}
