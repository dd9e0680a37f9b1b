//! The interface to object storage: a few verbs, and three outcomes for every write.
//!
//! # Contract
//!
//! A store maps keys to objects. Any number of processes use it at once. An implementation
//! promises the following. The suite `deltafold::conformance` (feature `conformance`) checks it;
//! `docs/writing-a-store.md` explains it with an example.
//!
//! - **Whole or not at all.** An object is visible with all its bytes or it is not there. A write
//!   that reported [`Outcome::Done`] is durable, and every later call of any process sees it.
//! - **[`create`](Store::create)** succeeds for at most one caller while the key exists.
//! - **[`replace`](Store::replace)** succeeds only over the object whose [`Tag`] it names: of two
//!   callers with one tag at most one is done. Only registers are replaced, and their contents
//!   never repeat, so a tag may be a digest of the content.
//! - **[`list_after`](Store::list_after)** is in key order and sees every write that was done
//!   before it began.
//! - **`Outcome::Unknown`** says that the write may have landed, may land later, or may never land.
//!   The caller must clean up nothing after it, and finds out by reading. `Err` says that nothing
//!   landed and nothing will.
//! - **[`settle`](Store::settle)** makes durable what a caller read: some stores show a write a
//!   moment before it is durable. A caller settles an object before it acknowledges, deletes or
//!   passes anything on because of that *read*.
//! - A dropped future of a write is an unknown outcome that no caller sees.

#[cfg(feature = "s3")]
pub mod cached;
pub mod dir;
mod key;
mod map;
mod memory;
pub mod probe;
mod requests;
pub(crate) mod resident;
#[cfg(feature = "s3")]
pub mod s3;
mod shared;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use deltafold_format::{HeadPlace, Timestamp};

#[cfg(feature = "s3")]
pub use cached::Cached;
pub use dir::Dir;
pub use key::Key;
pub(crate) use map::map_range;
pub use memory::Memory;
pub use probe::{Check, Probe, Promise, Verdict, probe};
#[cfg(feature = "s3")]
pub(crate) use requests::read_response;
pub use requests::{HasResponse, Meter, RequestCount, RequestKind, Requests, Response};
#[cfg(feature = "s3")]
pub use s3::{S3, S3Address, S3Options};

pub use crate::store_error::{StoreError, StoreErrorKind};

/// The state of an object as it was read. Two states of one register never share a tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tag(String);

impl Tag {
    /// A tag of this text. Only the store knows its meaning.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An object as read.
#[derive(Debug, Clone)]
pub struct Object {
    /// All of its bytes. In a local folder a large object is a mapping of its file, not a copy.
    pub bytes: Bytes,
    /// Its state.
    pub tag: Tag,
}

/// An object as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: Key,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was written, by the store's clock.
    pub modified: Timestamp,
}

/// The outcome of a write.
#[derive(Debug)]
pub enum Outcome {
    /// It landed durably. The tag names the object's new state.
    Done(Tag),
    /// The condition did not hold. Nothing landed.
    Refused,
    /// In doubt: it may have landed, or may still land.
    Unknown(StoreError),
}

/// The outcome of a conditional read.
#[derive(Debug)]
pub enum Unless {
    /// The object still has the tag named.
    Unchanged,
    /// It has another tag. Or the store sends the object in any case, and the tag is the one named.
    Changed(Object),
    /// It is not there.
    Absent,
}

fn bytes_of(chunks: &[Bytes]) -> u64 {
    chunks.iter().map(|chunk| chunk.len() as u64).sum()
}

/// An object to be created: the store has the bytes, and no reader sees it yet. Dropping it may
/// leave data for [`abort_uploads`](Store::abort_uploads).
#[async_trait]
pub trait Staged: Send + Sync + std::fmt::Debug {
    /// Creates it, as [`create`](Store::create) does with its key and its bytes.
    async fn create(self: Box<Self>) -> Result<Outcome, StoreError>;

    /// Gives it up. The object never appears.
    async fn give_up(self: Box<Self>);
}

/// Object storage. See the [module](self) for the contract.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// The location, for people: `dir:/var/lib/x`, `s3://bucket/prefix`.
    fn location(&self) -> String;

    /// The object; `None` where there is none.
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError>;

    /// Bytes `start..end` of the object, fewer where it ends before; `None` where there is none.
    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError>;

    /// The object, unless it still has this tag.
    async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError>;

    /// Writes an object that must not exist yet; its content is the chunks in order.
    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError>;

    /// Sends the bytes of an object ahead of the call that creates it. It serves a writer that
    /// knows the bytes and has to wait before it may create the object. `None` where that gains
    /// nothing, as in most stores. Then there is nothing to give up either.
    async fn stage(&self, _key: &Key, _chunks: &[Bytes]) -> Result<Option<Box<dyn Staged>>, StoreError> {
        Ok(None)
    }

    /// Writes over the object that has this tag; refused where no such object is there.
    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError>;

    /// Up to `limit` objects (at most 1,000) whose keys begin with `prefix` and sort after `after`,
    /// in key order. An answer shorter than `limit` ends the list.
    async fn list_after(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, StoreError>;

    /// Removes objects; absent ones count as removed. Stops at the first failure, when some may be
    /// gone.
    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError>;

    /// Once this returns, the state that was read of the object `key`, and of all others in its
    /// folder, outlasts a power failure. Most stores show only durable objects: there it does
    /// nothing and costs nothing. A local folder flushes the folder, as its writers flush it only
    /// after a name is visible.
    ///
    /// It has no default: an acknowledgement may rest on it.
    async fn settle(&self, key: &Key) -> Result<(), StoreError>;

    /// The store's own clock, which also dates [`Listed::modified`].
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// Every request made so far through this handle and its clones.
    fn requests(&self) -> Requests;

    /// The place of the shards' registers: with everything else, or in a table of their own. It has
    /// no default: a wrapper that forgot it would look for heads in the wrong place.
    fn heads(&self) -> HeadPlace;

    /// This store without its cached copies, for a caller that must see the stored objects. `None`
    /// where it has no cache.
    fn uncached(&self) -> Option<Arc<dyn Store>> {
        None
    }

    /// Whether an object that was read takes no memory of its own: it is a mapping of a file, or
    /// bytes that the store holds anyway.
    fn maps_objects(&self) -> bool {
        false
    }

    /// Whether the store must pass a probe before a collection is made in it, as a service must
    /// that may not keep the contract. It has no default: a wrapper that forgot it would skip the
    /// probe.
    fn is_to_be_probed(&self) -> bool;

    /// The hosts that this handle has reached through a proxy, and the proxies, for people. Empty
    /// where it reached all directly.
    fn proxies(&self) -> Vec<String> {
        Vec::new()
    }

    /// Gives up unfinished uploads under `prefix` that began before `before`, and returns their
    /// number. With `dry_run` it only counts them. A store without uploads has none.
    async fn abort_uploads(&self, _prefix: &str, _before: Timestamp, _dry_run: bool) -> Result<u64, StoreError> {
        Ok(0)
    }
}
