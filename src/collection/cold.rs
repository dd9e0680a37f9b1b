//! Opens a collection from nothing, and reads beside its register everything that does not depend
//! on it.

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
    /// [`open`](Self::open) for a reader that follows: reads the head of the first shard beside the
    /// register, which saves that reader a round trip. Two GETs at once.
    ///
    /// # Errors
    ///
    /// The errors of [`open`](Self::open).
    pub async fn open_to_read(store: Arc<dyn Store>, name: &CollectionName) -> Result<Self> {
        let layout = Layout::new(name.clone());
        let head = InStore::new(store.clone(), layout.shard(ShardId::default()).head());
        let (collection, head) = join(Self::open(store, name), head.read()).await;
        let collection = collection?;
        // The reader reports a head that cannot be read.
        if let (Some(first), Ok(head)) = (collection.shards.first(), head) {
            first.read_ahead(head.map(ReadAhead::Head));
        }
        Ok(collection)
    }

    /// A collection with a reader of everything acknowledged by now: [`open`](Self::open),
    /// [`with_memory`](Self::with_memory) and [`reader`](Self::reader) with the same requests, in
    /// one round trip less. It lists the log of the first shard beside the register.
    ///
    /// # Errors
    ///
    /// The errors of the three.
    pub async fn open_with_reader(
        store: Arc<dyn Store>,
        name: &CollectionName,
        memory: MemoryLimit,
    ) -> Result<(Self, Reader)> {
        let collection = Self::open_with_names(store, name, memory).await?;
        let reader = collection.reader().await?;
        Ok((collection, reader))
    }

    /// The record `id` as it is by now. Opens only its shard and keeps nothing. Use it in a process
    /// that reads one record; to read more, open a [`reader`](Self::reader).
    ///
    /// A LIST and two GETs, then the requests of [`Reader::get`], and where the log is not empty a
    /// GET for each segment and a conditional GET. It reads no embedding of segments without an op
    /// on the record.
    ///
    /// # Errors
    ///
    /// The errors of [`reader`](Self::reader) and [`Reader::get`].
    pub async fn get(&self, id: &str) -> Result<Option<Entry>> {
        crate::reader::get(self.shard(ShardId::of(id, self.config.shards))?, id).await
    }

    /// [`open`](Self::open), [`with_memory`](Self::with_memory) and [`get`](Self::get) with the
    /// same requests, in one round trip less. It lists the log of the first shard beside the
    /// register.
    ///
    /// # Errors
    ///
    /// The errors of the three.
    pub async fn open_and_get(
        store: Arc<dyn Store>,
        name: &CollectionName,
        memory: MemoryLimit,
        id: &str,
    ) -> Result<Option<Entry>> {
        Self::open_with_names(store, name, memory).await?.get(id).await
    }

    /// Opens a collection, and lists the names of the first shard's log for the caller's next look
    /// at it.
    async fn open_with_names(store: Arc<dyn Store>, name: &CollectionName, memory: MemoryLimit) -> Result<Self> {
        let first = Layout::new(name.clone()).shard(ShardId::default());
        let (collection, names) = join(Self::open(store.clone(), name), Names::list(&*store, &first)).await;
        let collection = collection?.with_memory(memory);
        // Where the list failed, the next look makes its own and reports the failure.
        if let (Some(shard), Ok(names)) = (collection.shards.first(), names) {
            shard.read_ahead(Some(ReadAhead::Names(names)));
        }
        Ok(collection)
    }
}
