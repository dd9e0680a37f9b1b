//! The places of records found by a scan in insertion order, and their order.

use std::cmp::Ordering;

use deltafold_format::{Place, Position, Revision};

use crate::reader::rows::Locator;
use crate::reader::sorter::Item;

/// A record to make: 24 bytes in log order, 48 by revision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<K> {
    pub(super) inserted: K,
    /// The place of the newest row of its id.
    pub(super) at: Locator,
    /// Index of the shard in the scan. The highest bit says that older rows contribute to the
    /// record.
    shard: u16,
}

const COMPOSED: u16 = 1 << 15;
const _: () = assert!(size_of::<Found<Position>>() == 24 && size_of::<Found<ByRevision>>() == 48);
const _: () = assert!(deltafold_format::limits::MAX_SHARDS < COMPOSED);

/// The sort key of records of one shard.
pub(super) trait Key: Copy + Ord + Send + Sync + 'static {
    /// Its bytes in a temporary file.
    const BYTES: usize;
    /// The key of the `number`th record by id; `None` if it has the other ordering, which a
    /// collection never mixes.
    fn of(inserted: Place, number: u32) -> Option<Self>;
    /// The sort key over all shards.
    fn global(&self) -> impl Ord;
    /// Appends its bytes.
    fn write(&self, to: &mut Vec<u8>);
    /// Reads them back.
    fn read(from: &[u8]) -> Option<Self>;
}

impl Key for Position {
    const BYTES: usize = 8;

    fn of(inserted: Place, _: u32) -> Option<Self> {
        inserted.position()
    }

    fn global(&self) -> impl Ord {
        *self
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.to_bits().to_le_bytes());
    }

    fn read(from: &[u8]) -> Option<Self> {
        Some(Self::from_bits(u64::from_le_bytes(*from.first_chunk()?)))
    }
}

/// Unlike a position in the log, a revision may belong to many records. Those come in the order of
/// their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ByRevision(Revision, u32);

impl Key for ByRevision {
    const BYTES: usize = 20;

    fn of(inserted: Place, number: u32) -> Option<Self> {
        inserted.revision().map(|revision| Self(revision, number))
    }

    fn global(&self) -> impl Ord {
        self.0
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.0.get().to_le_bytes());
        to.extend_from_slice(&self.1.to_le_bytes());
    }

    fn read(from: &[u8]) -> Option<Self> {
        let (revision, number) = from.split_first_chunk()?;
        Some(Self(Revision::new(u128::from_le_bytes(*revision)), u32::from_le_bytes(*number.first_chunk()?)))
    }
}

impl<K> Found<K> {
    /// A record of a shard. `composed` says that older rows contribute to it.
    pub(super) fn new(inserted: K, at: Locator, shard: u16, composed: bool) -> Self {
        Self { inserted, at, shard: if composed { shard | COMPOSED } else { shard } }
    }

    /// Index of the shard in the scan.
    pub(super) fn shard(&self) -> usize {
        usize::from(self.shard & !COMPOSED)
    }

    /// Whether older rows contribute to the record.
    pub(super) fn is_composed(&self) -> bool {
        self.shard & COMPOSED != 0
    }
}

impl<K: Key> Found<K> {
    fn key(&self) -> impl Ord {
        (self.inserted.global(), self.shard & !COMPOSED, self.inserted)
    }
}

impl<K: Key> Ord for Found<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<K: Key> PartialOrd for Found<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Key> PartialEq for Found<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K: Key> Eq for Found<K> {}

impl<K: Key> Item for Found<K> {
    const BYTES: usize = K::BYTES + 3 * size_of::<u32>() + size_of::<u16>();

    fn write(&self, to: &mut Vec<u8>) {
        self.inserted.write(to);
        for number in [self.at.source, self.at.part, self.at.row] {
            to.extend_from_slice(&number.to_le_bytes());
        }
        to.extend_from_slice(&self.shard.to_le_bytes());
    }

    fn read(from: &[u8]) -> Option<Self> {
        let (inserted, rest) = from.split_at_checked(K::BYTES)?;
        let (numbers, rest) = rest.split_first_chunk::<12>()?;
        let number = |at| numbers.get(at..).and_then(|from| from.first_chunk()).map(|from| u32::from_le_bytes(*from));
        let at = Locator { source: number(0)?, part: number(4)?, row: number(8)? };
        Some(Self { inserted: K::read(inserted)?, at, shard: u16::from_le_bytes(*rest.first_chunk()?) })
    }
}
