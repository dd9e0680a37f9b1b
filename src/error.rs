//! The one error type of the library.

use std::fmt;
use std::sync::Arc;

use deltafold_format::{
    CollectionName, FormatError, FormatErrorKind, HeadPlace, InputError, Sequence, ShardId, Version,
};

use crate::store::Key;
use crate::store_error::{StoreError, StoreErrorKind};

/// The reason of a failure. [`Error::kind`] says how to handle it.
#[derive(Debug, Clone)]
pub struct Error(Arc<Repr>);

/// The remedy for a damaged or missing object, in lists that name the object itself.
pub(crate) const RESTORE: &str = "restore it from a copy";

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The way to handle an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Fix the input: it breaks a limit or a rule. Nothing was written.
    InvalidInput,
    /// Name something that exists: there is no such collection, version or pin.
    NotFound,
    /// Choose another name: a collection or pin of this name exists.
    AlreadyExists,
    /// Wait and try again: the writer holds as many waiting ops as it may, or the log is as long as
    /// the writer may make it. In the second case run `compact` first.
    Busy,
    /// Look again and decide anew: another caller changed the subject of this call. Nothing was
    /// published.
    Conflict,
    /// Re-open the reader: the version it reads, or the log it follows, has been swept.
    Superseded,
    /// Report it and run `verify`: stored bytes are damaged, missing, or not what they must be.
    Corrupt,
    /// Update this program: a newer one wrote the object.
    NewerFormat,
    /// Find out by reading whether it happened: the store's answer was lost for good.
    Unknown,
    /// Try again later: the store is unreachable or overloaded.
    Unavailable,
    /// Mend the store's settings: permission, space, address.
    Storage,
    /// Run it with more memory: an allocation for an object within the limits failed, or a search
    /// needs more than its limit.
    OutOfMemory,
    /// Use another store: this one does not keep the contract.
    Unfit,
    /// Open a new writer: this one was closed, or an earlier error stopped it.
    Closed,
    /// Report it: Deltafold refused to publish an edit that would break one of its own invariants.
    /// Nothing was published.
    Invariant,
}

/// The cause. Users read its sentences.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Repr {
    #[error("{0}")]
    Input(#[from] InputError),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[cfg(feature = "sqs")]
    #[error("{0}")]
    Queue(#[from] crate::aws::QueueError),
    #[error("object `{key}` cannot be used: {error}")]
    Format { key: Key, error: FormatError },
    #[error("object `{key}` is damaged: {reason}. Run `verify --deep` and restore the object from a copy")]
    Corrupt { key: Key, reason: String },
    #[error(
        "object `{0}` is missing, though the current version needs it. Run `verify --deep`, and restore the object from a \
         copy"
    )]
    Missing(Key),
    #[error("register `{key}` {why}. Run `repair {name}`, which rebuilds it from the collection's other objects")]
    LostRegister { key: Key, name: CollectionName, why: String },
    #[error(
        "register `{key}` cannot be used: {error}. Or run `repair {name}`, which rebuilds it from the collection's \
         other objects"
    )]
    Register { key: Key, name: String, error: FormatError },
    #[error("`{0}` is being dropped, or its drop was broken off; run `drop {0}` again")]
    HalfDropped(CollectionName),
    #[error(
        "`{name}` holds objects of a collection, such as `{key}`, but its register `{register}` is lost. Run `repair \
         {name}` to have it back. Run `drop {name}` only if a drop has left them, or to delete them"
    )]
    RegisterGone { register: Key, name: CollectionName, key: Key },
    #[error("{0}")]
    NotRepaired(String),
    #[error(
        "the note of an interrupted reset, `{0}`, cannot be read. Delete that object, then run `reset` again with the \
         place of the heads and the queues of the collection"
    )]
    ResetNote(Key),
    #[error("there is no collection `{0}`; `create` makes one")]
    NoCollection(CollectionName),
    #[error("a collection `{0}` exists already; choose another name, or `drop` it first")]
    CollectionExists(CollectionName),
    #[error(
        "`{name}` holds objects of a collection that was not dropped completely, such as `{key}`. Run `drop {name}` again \
         first"
    )]
    Leftovers { name: CollectionName, key: Key },
    #[error(
        "{location} cannot hold a collection: updates would be lost there, because it breaks the promise \"{promise}\": \
         {detail}. {advice}"
    )]
    Unfit { location: String, promise: String, detail: String, advice: &'static str },
    #[error("{location} cannot hold a collection: it lacks \"{promise}\": {detail}. {advice}")]
    Unsupported { location: String, promise: String, detail: String, advice: &'static str },
    #[error("{location} could not be tried: \"{promise}\": {detail}")]
    Untried { location: String, promise: String, detail: String, transient: bool },
    #[error(
        "collection `{name}` keeps its heads in {recorded}, and this store looks for them in {here}. Open the collection \
         with a store that looks in {recorded}"
    )]
    HeadsElsewhere { name: CollectionName, recorded: HeadPlace, here: HeadPlace },
    #[error("collection `{0}` was dropped, or dropped and made again, while this handle was open; open it anew")]
    Dropped(CollectionName),
    #[error(
        "shard {} has no version {}: it was swept, or is still to come. `history` lists the readable versions",
        .shard.get(), .version.get()
    )]
    NoVersion { shard: ShardId, version: Version },
    #[error("there is no pin `{0}`; `status` lists the pins")]
    NoPin(String),
    #[cfg(feature = "serve")]
    #[error("there is no record `{0}`; leave its id out")]
    NoRecord(String),
    #[error("a pin `{0}` exists already; `unpin` it first, or choose another name")]
    PinExists(String),
    #[error(
        "{waiting} bytes of ops are waiting, the limit is {limit}; wait for some to be acknowledged and append again"
    )]
    Busy { waiting: usize, limit: usize },
    #[error(
        "a search of shard {} needs {bytes} bytes for its records, the memory limit is {limit}. Run `compact`, which \
         folds the log, or give more memory", .shard.get()
    )]
    SearchMemory { shard: ShardId, bytes: u64, limit: u64 },
    #[error(
        "the index of searches takes {bytes} bytes, more than the {max_bytes} bytes that the reader's `Warm::max_bytes` \
         allows. Warm the reader with a greater limit, or run `compact` if the log is long"
    )]
    IndexMemory { bytes: u64, max_bytes: u64 },
    #[error(
        "the log of shard {} is too long: {excess}. Nothing was appended. Run `compact`, then append again",
        .shard.get()
    )]
    Backlog { shard: ShardId, excess: String },
    #[error(
        "an append of position {position} of source `{source_name}` failed, and later positions wait for it. Append that \
         position or an earlier one again, then the later ones"
    )]
    SourceBroken { source_name: String, position: u128 },
    #[error(
        "position {position} of source `{source_name}` came too late and was not appended. The log holds later changes \
         of its records, or may hold them, and the marks do not tell whether it holds this one. Compare the records: if \
         the change took effect, delete the message. If not, send it without `source` and `position`, and it takes effect \
         now"
    )]
    SourcePassed { source_name: String, position: u128 },
    #[error("{0}")]
    Conflict(String),
    #[error(
        "the log of shard {} moved on after its records were read, and nothing was appended. Read them again, then decide \
         anew", .0.get()
    )]
    Moved(ShardId),
    #[error(
        "version {} of shard {} was swept while it was read. Refresh or re-open the reader, or pin a version before a \
         long read", .version.get(), .shard.get()
    )]
    Superseded { shard: ShardId, version: Version },
    #[error(
        "segment {sequence} of shard {shard} was swept, so some ops from there on are gone. Read the collection anew, and \
         follow from its end"
    )]
    Gap { shard: ShardId, sequence: Sequence },
    #[error("the outcome of {what} is unknown: {error}. Check whether it took effect before you try again")]
    Unknown { what: String, error: String },
    #[error("the writer is closed. Open a new one")]
    Closed,
    #[error(
        "version {} of shard {} was not published: it would break the invariant \"{invariant}\". This is a defect of \
         Deltafold; please report it", .version.get(), .shard.get()
    )]
    Invariant { shard: ShardId, version: Version, invariant: String },
    #[error("{0}")]
    NotLoaded(FormatError),
}

impl Error {
    /// The way to handle it.
    pub fn kind(&self) -> ErrorKind {
        match &*self.0 {
            #[cfg(feature = "serve")]
            Repr::NoRecord(_) => ErrorKind::InvalidInput,
            Repr::Input(_) | Repr::Invalid(_) | Repr::HeadsElsewhere { .. } => ErrorKind::InvalidInput,
            Repr::Store(error) => match error.kind() {
                StoreErrorKind::Transient => ErrorKind::Unavailable,
                StoreErrorKind::Permanent | StoreErrorKind::Full | StoreErrorKind::Unsupported => ErrorKind::Storage,
                StoreErrorKind::Damaged => ErrorKind::Corrupt,
            },
            #[cfg(feature = "sqs")]
            Repr::Queue(error) => match error.kind() {
                crate::aws::QueueErrorKind::NotFound => ErrorKind::NotFound,
                crate::aws::QueueErrorKind::Transient => ErrorKind::Unavailable,
                crate::aws::QueueErrorKind::Busy => ErrorKind::Busy,
                crate::aws::QueueErrorKind::Invalid => ErrorKind::InvalidInput,
                crate::aws::QueueErrorKind::Permanent | crate::aws::QueueErrorKind::Unsupported => ErrorKind::Storage,
            },
            Repr::Unfit { .. } | Repr::Unsupported { .. } => ErrorKind::Unfit,
            Repr::Untried { transient: true, .. } => ErrorKind::Unavailable,
            Repr::Untried { transient: false, .. } => ErrorKind::Storage,
            Repr::Format { error, .. } | Repr::Register { error, .. } => match error.kind() {
                FormatErrorKind::NewerFormat { .. } => ErrorKind::NewerFormat,
                FormatErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
                _ => ErrorKind::Corrupt,
            },
            Repr::Corrupt { .. } | Repr::Missing(_) | Repr::ResetNote(_) => ErrorKind::Corrupt,
            Repr::LostRegister { .. } | Repr::RegisterGone { .. } | Repr::NotRepaired(_) => ErrorKind::Corrupt,
            Repr::HalfDropped(_)
            | Repr::NoCollection(_)
            | Repr::NoVersion { .. }
            | Repr::NoPin(_)
            | Repr::Dropped(_) => ErrorKind::NotFound,
            Repr::CollectionExists(_) | Repr::PinExists(_) | Repr::Leftovers { .. } => ErrorKind::AlreadyExists,
            Repr::Busy { .. } | Repr::Backlog { .. } => ErrorKind::Busy,
            Repr::SearchMemory { .. } | Repr::IndexMemory { .. } => ErrorKind::OutOfMemory,
            Repr::Conflict(_) | Repr::Moved(_) | Repr::SourceBroken { .. } | Repr::SourcePassed { .. } => {
                ErrorKind::Conflict
            }
            Repr::Superseded { .. } | Repr::Gap { .. } => ErrorKind::Superseded,
            Repr::Unknown { .. } => ErrorKind::Unknown,
            Repr::Closed => ErrorKind::Closed,
            Repr::Invariant { .. } | Repr::NotLoaded(_) => ErrorKind::Invariant,
        }
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Repr::Invalid(reason.into()).into()
    }

    /// A piece of a part was used before it was loaded.
    pub(crate) fn not_loaded(error: FormatError) -> Self {
        Repr::NotLoaded(error).into()
    }

    pub(crate) fn corrupt(key: &Key, reason: impl fmt::Display) -> Self {
        Repr::Corrupt { key: key.clone(), reason: reason.to_string() }.into()
    }

    /// A register that cannot be read.
    pub(crate) fn register(key: &Key, error: FormatError) -> Self {
        let name = key.as_str().split('/').next().unwrap_or_default().to_owned();
        Repr::Register { key: key.clone(), name, error }.into()
    }

    pub(crate) fn format(key: &Key, error: FormatError) -> Self {
        Repr::Format { key: key.clone(), error }.into()
    }

    /// The object that is damaged or missing.
    pub(crate) fn object(&self) -> Option<Key> {
        match &*self.0 {
            Repr::Format { key, .. } | Repr::Corrupt { key, .. } | Repr::Missing(key) => Some(key.clone()),
            Repr::Register { key, .. } | Repr::LostRegister { key, .. } => Some(key.clone()),
            Repr::Store(error) if error.kind() == StoreErrorKind::Damaged => Key::new(error.key()),
            _ => None,
        }
    }

    /// The sentence about a damaged or missing object, for a list that names the object itself. It
    /// states the remedy once.
    pub(crate) fn problem(&self) -> String {
        match &*self.0 {
            // The format's error ends with its own remedy.
            Repr::Format { error, .. } => format!("it cannot be used: {error}"),
            Repr::Corrupt { reason, .. } => format!("{reason}; {RESTORE}"),
            Repr::Missing(_) => format!("it is missing, though the current version needs it; {RESTORE}"),
            _ => self.to_string(),
        }
    }

    pub(crate) fn repr(&self) -> &Repr {
        &self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

impl<E: Into<Repr>> From<E> for Error {
    fn from(error: E) -> Self {
        Self(Arc::new(error.into()))
    }
}
