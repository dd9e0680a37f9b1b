//! The manifest: the immutable list of a snapshot's runs and parts.

use crate::digest::Digest;
use crate::name::{Nonce, ObjectName, Sequence, TimeRange, Timestamp, Uid, Version};
use crate::part::Absent;
use crate::register::{CollectionConfig, Head};

/// One snapshot of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The collection it belongs to.
    pub collection: Uid,
    /// The version it publishes.
    pub version: Version,
    /// The nonce in its own name.
    pub nonce: Nonce,
    /// When it was made, by the clock of its publisher; for people.
    pub published: Timestamp,
    /// The edit that made it, with the amounts it read and wrote; for people.
    pub edit: EditSummary,
    /// The folded sequence: the last one that it contains.
    pub folded: Sequence,
    /// No reader reads a log slot below this one again.
    pub truncated: Sequence,
    /// No edit may add a part born below this version.
    pub sweep_floor: Version,
    /// Number of ops ever folded.
    pub ops: u64,
    /// Order-independent digest of all ops ever folded.
    pub digest: Digest,
    /// Oldest first. They cover the log from 1 to `folded` without gap or overlap. The first one is
    /// the base.
    pub runs: Vec<Run>,
    /// The embedding objects that the runs' parts refer to, by name.
    pub embeddings: Vec<EmbeddingEntry>,
    /// Objects not yet swept that older versions need and this one does not.
    pub dropped: Vec<Dropped>,
    /// The highest position folded of each source, sorted by source.
    pub marks: Vec<Mark>,
    /// Marks last seen at or below this sequence number may have been dropped.
    pub marks_floor: Sequence,
    /// The versions before this one, oldest first; bounded.
    pub ancestors: Vec<Ancestor>,
    /// Versions that sweep must keep, sorted by name.
    pub pins: Vec<Pin>,
    /// A copy of the collection register, from which the register can be rebuilt.
    pub config: Option<CollectionConfig>,
}

/// A set of records sorted by id, cut into parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Unique among the runs of a shard.
    pub id: Nonce,
    /// 0 for the output of a fold, one more for each merge of a tier. The base keeps the level at
    /// which it was made.
    pub level: u8,
    /// Nothing lies under its rows, so each is a whole record, not a tombstone or a patch. Those
    /// that revisions keep for a time are the exception. True for the oldest run only.
    pub resolved: bool,
    /// The first segment it contains.
    pub first: Sequence,
    /// The last segment it contains.
    pub last: Sequence,
    /// Rows in its parts.
    pub rows: u64,
    /// The time range of the segments it contains.
    pub times: TimeRange,
    /// Its parts in id order. Their id ranges do not overlap.
    pub parts: Vec<PartEntry>,
}

impl Run {
    /// Its rows without a record: [`PartEntry::absent`].
    pub fn absent(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.absent.rows)).sum()
    }
}

/// A part as the manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartEntry {
    /// Its name.
    pub name: ObjectName,
    /// Its rows, at least 1.
    pub rows: u32,
    /// Length of the object in bytes.
    pub bytes: u64,
    /// The length of its front: the bytes up to the end of the directory.
    pub front_bytes: u64,
    /// The length of its front with all metadata columns.
    pub columns_end: u64,
    /// The crc32 of the object's envelope, which holds the crc32 of every section.
    pub crc32: u32,
    /// Its first id.
    pub min_id: String,
    /// Its last id.
    pub max_id: String,
    /// The embedding objects that its rows refer to, sorted.
    pub embeddings: Vec<ObjectName>,
    /// Its rows without a record, in a collection ordered by revision. In others the count is 0.
    pub absent: Absent,
}

/// An embedding object as the manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingEntry {
    /// Its name.
    pub name: ObjectName,
    /// Its rows.
    pub rows: u32,
    /// Number of them that the parts of this version refer to.
    pub live: u32,
    /// Length of the object in bytes.
    pub bytes: u64,
    /// The crc32 of the object's envelope, which holds the crc32 of the checksum table.
    pub crc32: u32,
}

/// One of a part's two kinds of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartObject {
    /// `.meta`: columns.
    Meta(ObjectName),
    /// `.emb`: embedding rows.
    Embeddings(ObjectName),
}

/// An object that versions from `version` on no longer refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// The object.
    pub object: PartObject,
    /// The first version without it.
    pub version: Version,
}

/// The high-water mark of a source: the highest position that the log is known to contain. A writer
/// is a source, too; its positions are its batch numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The source's name.
    pub source: String,
    /// The highest position.
    pub position: u128,
    /// The segment that carried the position.
    pub sequence: Sequence,
}

/// A version before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ancestor {
    /// Its number.
    pub version: Version,
    /// The nonce of its manifest.
    pub nonce: Nonce,
}

/// A named version that sweep must keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Its name.
    pub name: String,
    /// The version.
    pub version: Version,
    /// The nonce of the version's manifest.
    pub nonce: Nonce,
    /// Drawn when the pin is made. A later pin of the same name has another id.
    pub id: Nonce,
    /// When the pin was made, by the store's clock.
    pub created: Timestamp,
    /// Its time to live, in milliseconds by the store's clock; `None` if it holds until it is
    /// removed.
    pub ttl_millis: Option<u64>,
}

/// The kind of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditKind {
    /// Made a run of log segments.
    Fold,
    /// Merged runs into one.
    Merge,
    /// Pinned a version.
    Pin,
    /// Removed a pin.
    Unpin,
    /// Raised floors.
    Sweep,
    /// Rebuilt a head from the objects left.
    Repair,
}

impl EditKind {
    /// Its name in JSON and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fold => "fold",
            Self::Merge => "merge",
            Self::Pin => "pin",
            Self::Unpin => "unpin",
            Self::Sweep => "sweep",
            Self::Repair => "repair",
        }
    }
}

/// The edit that made a version, and its cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EditSummary {
    /// The kind of edit.
    pub kind: EditKind,
    /// Ops (fold) or rows (merge) read.
    pub rows_in: u64,
    /// Rows written.
    pub rows_out: u64,
    /// Bytes of objects read.
    pub bytes_in: u64,
    /// Bytes of objects written, without the manifest.
    pub bytes_out: u64,
}

impl Manifest {
    /// The name of its object.
    pub fn name(&self) -> ObjectName {
        ObjectName { version: self.version, nonce: self.nonce }
    }

    /// Rows of all runs without a record: [`PartEntry::absent`].
    pub fn absent_rows(&self) -> u64 {
        self.runs.iter().map(Run::absent).sum()
    }

    /// The head that points at it.
    pub fn head(&self) -> Head {
        Head {
            collection: self.collection,
            version: self.version,
            manifest: self.nonce,
            folded: self.folded,
            truncated: self.truncated,
            sweep_floor: self.sweep_floor,
        }
    }

    /// The snapshot of an empty shard: version 0, which has no object.
    pub fn empty(collection: Uid) -> Self {
        Self {
            collection,
            version: Version::ZERO,
            nonce: Nonce::new(0),
            published: Timestamp::default(),
            edit: EditSummary { kind: EditKind::Sweep, rows_in: 0, rows_out: 0, bytes_in: 0, bytes_out: 0 },
            folded: Sequence::ZERO,
            truncated: Sequence::FIRST,
            sweep_floor: Version::ZERO,
            ops: 0,
            digest: Digest::default(),
            runs: Vec::new(),
            embeddings: Vec::new(),
            dropped: Vec::new(),
            marks: Vec::new(),
            marks_floor: Sequence::ZERO,
            ancestors: Vec::new(),
            pins: Vec::new(),
            config: None,
        }
    }
}
