//! One shard, for all higher layers: its store, its keys, its head, and its most common objects.

mod names;
pub(crate) mod objects;
pub(crate) mod registers;
mod slot;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use deltafold_format::{
    CollectionConfig, CollectionName, EmbeddingEntry, Embeddings, FormatError, FormatErrorKind, Head, Manifest,
    ObjectName, PartEntry, PartMeta, PartObject, PartPiece, Rotation, Sequence, ShardId,
};

use crate::env::Env;
use crate::error::{Error, Repr, Result};
use crate::head::{HeadRegister, HeadState, InStore};
use crate::layout::{Layout, ShardLayout};
use crate::memory::MemoryLimit;
use crate::retry;
use crate::scratch::Overflow;
use crate::simulation::Guard;
use crate::store::{Key, Listed, Object, Store};

pub(crate) use names::Names;
pub(crate) use slot::{INDEX_BYTES, Slot};

/// The most reads of a range whose bytes do not match their checksums. Damage in transit passes;
/// damage in the store stays.
pub(crate) const READS_OF_DAMAGE: usize = 3;

/// The most names in the answer to a LIST.
pub(crate) const LIST_PAGE: usize = 1_000;

/// A shard of an open collection. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Shard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: ShardId,
    collection: Layout,
    layout: ShardLayout,
    config: Arc<CollectionConfig>,
    store: Arc<dyn Store>,
    env: Arc<dyn Env>,
    head: InStore,
    memory: MemoryLimit,
    /// A look taken beside the collection register, for the first reader.
    ahead: Mutex<Option<ReadAhead>>,
}

/// A first look at a shard, taken beside a look at the collection register.
#[derive(Debug)]
pub(crate) enum ReadAhead {
    /// The head. A reader reads the log behind it, and checks the head again.
    Head(HeadState),
    /// The names of the log. They serve only a reader that began to open before they were listed.
    Names(Names),
}

impl Shard {
    pub(crate) fn new(
        id: ShardId,
        collection: Layout,
        config: Arc<CollectionConfig>,
        store: Arc<dyn Store>,
        env: Arc<dyn Env>,
        memory: MemoryLimit,
    ) -> Self {
        let layout = collection.shard(id);
        let head = InStore::new(store.clone(), layout.head());
        let ahead = Mutex::default();
        Self(Arc::new(Inner { id, collection, layout, config, store, env, head, memory, ahead }))
    }

    /// Stores a first look.
    pub(crate) fn read_ahead(&self, ahead: Option<ReadAhead>) {
        *self.0.ahead.lock().unwrap_or_else(PoisonError::into_inner) = ahead;
    }

    fn take(&self) -> Option<ReadAhead> {
        self.0.ahead.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes the first look, once. Its head was the current one when the collection was opened, or
    /// later.
    pub(crate) async fn take_ahead(&self) -> Result<Option<ReadAhead>> {
        Ok(match self.take() {
            Some(ReadAhead::Head(state)) => Some(ReadAhead::Head(self.own(Some(state)).await?)),
            ahead => ahead,
        })
    }

    /// The same shard over another store.
    pub(crate) fn over(&self, store: Arc<dyn Store>) -> Self {
        let Inner { id, collection, config, env, memory, .. } = &*self.0;
        Self::new(*id, collection.clone(), config.clone(), store, env.clone(), *memory)
    }

    /// The same shard with another memory limit.
    pub(crate) fn with_memory(&self, memory: MemoryLimit) -> Self {
        let Inner { id, collection, config, store, env, .. } = &*self.0;
        let shard = Self::new(*id, collection.clone(), config.clone(), store.clone(), env.clone(), memory);
        shard.read_ahead(self.take());
        shard
    }

    pub(crate) fn id(&self) -> ShardId {
        self.0.id
    }

    pub(crate) fn layout(&self) -> &ShardLayout {
        &self.0.layout
    }

    /// The collection's name.
    pub(crate) fn name(&self) -> &CollectionName {
        self.0.collection.name()
    }

    /// The key of the collection register.
    pub(crate) fn collection_register(&self) -> Key {
        self.0.collection.collection()
    }

    pub(crate) fn config(&self) -> &CollectionConfig {
        &self.0.config
    }

    /// The rotation of the collection's codes. Making it takes microseconds and 24 bytes a
    /// dimension.
    pub(crate) fn rotation(&self) -> Rotation {
        Rotation::new(self.0.config.dimension, self.0.config.rotation)
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    pub(crate) fn env(&self) -> &dyn Env {
        &*self.0.env
    }

    /// The memory limit for work on this shard.
    pub(crate) fn memory(&self) -> MemoryLimit {
        self.0.memory
    }

    pub(crate) fn register(&self) -> &dyn HeadRegister {
        &self.0.head
    }

    /// The head. One GET.
    pub(crate) async fn head(&self) -> Result<HeadState> {
        let state = self.0.head.read().await?;
        self.own(state).await
    }

    /// The head, unless it is still the state seen. One conditional GET.
    pub(crate) async fn head_unless(&self, seen: &HeadState) -> Result<Option<HeadState>> {
        match self.0.head.read_unless(seen).await? {
            None => Ok(None),
            Some(state) => self.own(state).await.map(Some),
        }
    }

    /// Refuses a head that is missing or belongs to another collection: this one was dropped, or
    /// its head is lost.
    async fn own(&self, state: Option<HeadState>) -> Result<HeadState> {
        match state {
            Some(state) if state.head.collection == self.0.config.uid || !Guard::Identity.holds() => Ok(state),
            state => Err(registers::explain(self, state.as_ref().map(|state| &state.head)).await),
        }
    }

    /// The manifest that a head names; `None` where the object is gone. One GET, none at version 0.
    pub(crate) async fn manifest(&self, head: &Head) -> Result<Option<Manifest>> {
        if head.version.get() == 0 {
            return Ok(Some(Manifest::empty(head.collection)));
        }
        self.manifest_named(ObjectName { version: head.version, nonce: head.manifest }).await
    }

    /// A manifest; `None` where the object is gone. One GET.
    pub(crate) async fn manifest_named(&self, name: ObjectName) -> Result<Option<Manifest>> {
        let key = self.0.layout.manifest(name);
        let Some(object) = self.get(&key).await? else { return Ok(None) };
        let manifest = Manifest::decode(object.bytes).map_err(|error| Error::format(&key, error))?;
        if manifest.name() != name || manifest.collection != self.0.config.uid {
            return Err(Error::corrupt(&key, "its content belongs under another name"));
        }
        Ok(Some(manifest))
    }

    /// The current head and its manifest. If the manifest is swept between the two reads, it reads
    /// again. Two GETs.
    ///
    /// A head whose manifest is gone may be an old copy that was put back. A LIST of the later
    /// manifests tells.
    pub(crate) async fn current(&self) -> Result<(HeadState, Manifest)> {
        let mut state = self.head().await?;
        loop {
            if let Some(manifest) = self.manifest(&state.head).await? {
                return Ok((state, manifest));
            }
            let Some(newer) = self.head_unless(&state).await? else {
                if let Some(later) = registers::newer(self, &state.head).await? {
                    registers::refuse_old(self, &state.head, later).await?;
                }
                let name = ObjectName { version: state.head.version, nonce: state.head.manifest };
                return Err(Repr::Missing(self.0.layout.manifest(name)).into());
            };
            state = newer;
        }
    }

    /// A whole part; `None` where the object is gone. One GET.
    pub(crate) async fn part(&self, entry: &PartEntry) -> Result<Option<PartMeta>> {
        let key = self.0.layout.part(PartObject::Meta(entry.name));
        let Some(object) = self.get(&key).await? else { return Ok(None) };
        let decoded = crate::env::blocking(move || PartMeta::decode(object.bytes)).await;
        let part = decoded.map_err(|error| Error::format(&key, error))?;
        self.check_part(entry, part).map(Some)
    }

    /// The front of a part, and its whole object, of which the pieces are not decoded; `None` where
    /// the object is gone. One GET.
    pub(crate) async fn stored_part(&self, entry: &PartEntry) -> Result<Option<(PartMeta, Bytes)>> {
        let key = self.0.layout.part(PartObject::Meta(entry.name));
        let Some(object) = self.get(&key).await? else { return Ok(None) };
        let stored = object.bytes.clone();
        let opened = crate::env::blocking(move || PartMeta::open_whole(stored)).await;
        let front = opened.map_err(|error| Error::format(&key, error))?;
        Ok(Some((self.check_part(entry, front)?, object.bytes)))
    }

    /// The part of [`stored_part`](Self::stored_part) with all of its pieces.
    pub(crate) async fn decoded_part(&self, entry: &PartEntry, front: PartMeta, object: Bytes) -> Result<PartMeta> {
        let decoded = crate::env::blocking(move || front.with_all(object)).await;
        decoded.map_err(|error| Error::format(&self.0.layout.part(PartObject::Meta(entry.name)), error))
    }

    /// The front of a part, with the columns within its first `end` bytes; `None` where the object
    /// is gone. One GET.
    pub(crate) async fn part_front(&self, entry: &PartEntry, end: u64) -> Result<Option<PartMeta>> {
        let key = self.0.layout.part(PartObject::Meta(entry.name));
        let mut reads = 1;
        loop {
            let Some(bytes) = self.range(&key, 0..end).await? else { return Ok(None) };
            match crate::env::blocking(move || opened(&bytes)).await {
                Ok(part) => return self.check_part(entry, part).map(Some),
                // A range has no checksum of the store, so only this check finds damage in transit.
                Err(error) if error.kind() == FormatErrorKind::Checksum && reads < READS_OF_DAMAGE => reads += 1,
                Err(error) => return Err(Error::format(&key, error)),
            }
        }
    }

    /// Refuses a part other than the one that the manifest lists.
    fn check_part(&self, entry: &PartEntry, part: PartMeta) -> Result<PartMeta> {
        let key = self.0.layout.part(PartObject::Meta(entry.name));
        let found = (part.crc32(), part.rows(), part.front_bytes(), part.columns_end());
        if found != (entry.crc32, entry.rows as usize, entry.front_bytes, entry.columns_end) {
            return Err(Error::corrupt(&key, "it is not the object that the manifest lists"));
        }
        if part.has_revisions() != self.0.config.ordering.is_revision() || part.absent() != entry.absent {
            return Err(Error::corrupt(&key, "its rows are not ordered as the collection is, or hold other records"));
        }
        Ok(part)
    }

    /// An embedding object; `None` where it is gone. One GET. Its rows are checked when they are
    /// touched.
    pub(crate) async fn embeddings(&self, entry: &EmbeddingEntry) -> Result<Option<Embeddings>> {
        let key = self.0.layout.part(PartObject::Embeddings(entry.name));
        let Some(object) = self.get(&key).await? else { return Ok(None) };
        self.open_embeddings(entry, object.bytes).map(Some)
    }

    /// The same, with its bytes where `overflow` places them.
    pub(crate) async fn embeddings_in(
        &self,
        entry: &EmbeddingEntry,
        overflow: &Overflow,
    ) -> Result<Option<Embeddings>> {
        let key = self.0.layout.part(PartObject::Embeddings(entry.name));
        let Some(object) = self.get(&key).await? else { return Ok(None) };
        let bytes = overflow.place(&*self.0.store, object.bytes).await?;
        self.open_embeddings(entry, bytes).map(Some)
    }

    fn open_embeddings(&self, entry: &EmbeddingEntry, bytes: Bytes) -> Result<Embeddings> {
        let key = self.0.layout.part(PartObject::Embeddings(entry.name));
        let embeddings = Embeddings::open(bytes).map_err(|error| Error::format(&key, error))?;
        self.check_embeddings(entry, &embeddings)?;
        Ok(embeddings)
    }

    /// Refuses an object other than the one that the manifest lists.
    pub(crate) fn check_embeddings(&self, entry: &EmbeddingEntry, embeddings: &Embeddings) -> Result<()> {
        let expected = (entry.crc32, entry.rows, self.0.config.dimension, self.0.config.rotation);
        let found = (embeddings.crc32(), embeddings.rows(), embeddings.dimension(), embeddings.rotation());
        if found != expected {
            let key = self.0.layout.part(PartObject::Embeddings(entry.name));
            return Err(Error::corrupt(&key, "it is not the object that the manifest lists"));
        }
        Ok(())
    }

    /// A range of an object, shorter where that ends before; `None` where it is gone. One GET.
    pub(crate) async fn range(&self, key: &Key, range: std::ops::Range<u64>) -> Result<Option<Bytes>> {
        Ok(retry::transient(|| self.0.store.get_range(key, range.start, range.end)).await?)
    }

    /// The objects under a prefix that sort after `after`, up to the page on which one is `enough`.
    /// One LIST for each 1,000.
    pub(crate) async fn list(
        &self,
        prefix: &str,
        after: Option<&Key>,
        enough: impl Fn(&Listed) -> bool,
    ) -> Result<Vec<Listed>> {
        let mut all: Vec<Listed> = Vec::new();
        loop {
            let after = all.last().map(|listed| listed.key.clone()).or_else(|| after.cloned());
            let page = retry::transient(|| self.0.store.list_after(prefix, after.as_ref(), LIST_PAGE)).await?;
            let done = page.len() < LIST_PAGE || page.last().is_some_and(&enough);
            all.extend(page);
            if done {
                return Ok(all);
            }
        }
    }

    /// Creates an object under a name that only this caller uses, and retries until it is there. A
    /// retry is safe: any attempt that landed wrote the same bytes.
    pub(crate) async fn create_own(&self, key: &Key, chunks: Vec<Bytes>) -> Result<()> {
        use crate::store::Outcome;
        let attempt = || async {
            match self.0.store.create(key, chunks.clone()).await? {
                Outcome::Done(_) | Outcome::Refused => Ok(()),
                Outcome::Unknown(error) => Err(error),
            }
        };
        Ok(retry::transient(attempt).await?)
    }

    /// Once this returns, the state that was read of the log outlasts a power failure. No request
    /// where the store shows only durable objects.
    pub(crate) async fn settle_log(&self) -> Result<()> {
        let key = self.0.layout.segment(Sequence::FIRST);
        Ok(retry::transient(|| self.0.store.settle(&key)).await?)
    }

    /// The same of the head.
    pub(crate) async fn settle_head(&self) -> Result<()> {
        let key = self.0.layout.head();
        Ok(retry::transient(|| self.0.store.settle(&key)).await?)
    }

    /// The same of the head and of the collection register.
    pub(crate) async fn settle_registers(&self) -> Result<()> {
        let key = self.0.collection.collection();
        retry::transient(|| self.0.store.settle(&key)).await?;
        self.settle_head().await
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>> {
        Ok(retry::transient(|| self.0.store.get(key)).await?)
    }
}

/// A part from its first bytes, with the columns within them.
fn opened(prefix: &Bytes) -> std::result::Result<PartMeta, FormatError> {
    let part = PartMeta::open(prefix.clone())?;
    let within = |piece: PartPiece| {
        let range = part.range(piece);
        let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
        (end <= prefix.len()).then(|| (piece, prefix.slice(start..end)))
    };
    part.with(part.unloaded_columns().filter_map(within).collect::<Vec<_>>())
}
