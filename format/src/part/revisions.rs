//! The revisions of a part's rows, an archive beside the columns. `format/SPEC.md`, section
//! "Revisions of a part", describes each column.

use std::ops::Range;

use rkyv::{Archive, Serialize};

use super::EmbeddingRef;
use super::numbers::{number, u32_at, u64_at};
use crate::name::Timestamp;
use crate::revised::{Base, Revised};
use crate::revision::Revision;
use crate::stamp::Stamp;

/// The bits of a row's kind that encode its base.
pub(super) const BASE: u8 = 3;
pub(super) const PUT: u8 = 1;
pub(super) const DELETE: u8 = 2;
/// A bit of a row's kind: an upsert is newer than the base.
pub(super) const UPSERTED: u8 = 4;

/// Least bytes of a row, and of each of its stamps.
const ROW_BYTES: usize = 5;
const STAMP_BYTES: usize = 24;

/// The revisions of all rows.
#[derive(Debug, Default, Archive, Serialize)]
pub(super) struct Revisions {
    /// One a row: [`PUT`], [`DELETE`] or 0, plus [`UPSERTED`] if an upsert is newer.
    pub(super) kinds: Vec<u8>,
    /// One a row: the end of its stamps. Empty if each row has one stamp.
    pub(super) ends: Vec<u32>,
    /// The stamps of each row ascending, one row behind the other: the higher half of the revision.
    pub(super) high: Vec<u64>,
    /// The lower half.
    pub(super) low: Vec<u64>,
    /// The tie-breaker between equal revisions.
    pub(super) ties: Vec<u64>,
    /// The rows with more than one stamp, ascending.
    pub(super) mixed: Vec<u32>,
    /// One for each of them: the end of its slots.
    pub(super) slot_ends: Vec<u32>,
    /// Stamp numbers of a mixed row, in this order and as far as they are present: the upsert, the
    /// embedding, the document, each metadata key.
    pub(super) slots: Vec<u32>,
    /// The rows without a record, ascending.
    pub(super) absent: Vec<u32>,
    /// One for each of them: `Revised::dated`, in milliseconds.
    pub(super) dates: Vec<u64>,
}

impl Revisions {
    /// Estimated bytes.
    pub(super) fn estimated_bytes(&self) -> usize {
        self.kinds.len() * ROW_BYTES
            + self.high.len() * STAMP_BYTES
            + 4 * self.slots.len()
            + 8 * self.mixed.len()
            + 12 * self.absent.len()
    }

    /// Appends a row.
    pub(super) fn push(&mut self, of: &Revised<EmbeddingRef>) {
        let row = number(self.kinds.len());
        let mut stamps: Vec<Stamp> = of.stamps().collect();
        stamps.sort_unstable();
        stamps.dedup();
        for stamp in &stamps {
            let revision = stamp.revision.get();
            self.high.push((revision >> 64) as u64);
            self.low.push(revision as u64);
            self.ties.push(stamp.tie);
        }
        self.ends.push(number(self.high.len()));
        if stamps.len() > 1 {
            self.mixed.push(row);
            self.slots.extend(of.slots().map(|at| number(stamps.binary_search(&at).unwrap_or_default())));
            self.slot_ends.push(number(self.slots.len()));
        }
        let base = of.base.map_or(0, |base| if base.put { PUT } else { DELETE });
        self.kinds.push(base | if of.upserted.is_some() { UPSERTED } else { 0 });
        if !of.is_present() {
            self.absent.push(row);
            self.dates.push(of.dated.as_millis().cast_unsigned());
        }
    }

    /// Appends a row of another part.
    pub(super) fn copy(&mut self, from: &ArchivedRevisions, from_row: usize) {
        let row = number(self.kinds.len());
        let stamps = from.stamps_of(from_row);
        let take = |column: &[rkyv::rend::u64_le], into: &mut Vec<u64>| {
            into.extend(column.get(stamps.clone()).unwrap_or_default().iter().map(|half| half.to_native()));
        };
        take(&from.high, &mut self.high);
        take(&from.low, &mut self.low);
        take(&from.ties, &mut self.ties);
        self.ends.push(number(self.high.len()));
        if let Some(slots) = from.slots_of(from_row) {
            self.mixed.push(row);
            let slots = from.slots.get(slots).unwrap_or_default();
            self.slots.extend(slots.iter().map(|slot| slot.to_native()));
            self.slot_ends.push(number(self.slots.len()));
        }
        self.kinds.push(from.kind(from_row));
        if let Some(date) = from.date_of(from_row) {
            self.absent.push(row);
            self.dates.push(date.as_millis().cast_unsigned());
        }
    }

    /// The same in its canonical form, as written.
    pub(super) fn finish(mut self) -> Self {
        if self.high.len() == self.kinds.len() {
            self.ends = Vec::new();
        }
        self
    }
}

/// Accessors of checked revisions. None fails; an absent value is 0.
impl ArchivedRevisions {
    pub(super) fn kind(&self, row: usize) -> u8 {
        self.kinds.get(row).copied().unwrap_or_default()
    }

    /// The range of the stamps of a row.
    pub(super) fn stamps_of(&self, row: usize) -> Range<usize> {
        if self.ends.is_empty() {
            return row..row + 1;
        }
        let start = row.checked_sub(1).map_or(0, |before| u32_at(&self.ends, before));
        start as usize..u32_at(&self.ends, row) as usize
    }

    /// The range of the slots of a row with more than one stamp.
    pub(super) fn slots_of(&self, row: usize) -> Option<Range<usize>> {
        if self.mixed.is_empty() {
            return None;
        }
        let place = self.mixed.binary_search_by_key(&number(row), |mixed| mixed.to_native()).ok()?;
        let start = place.checked_sub(1).map_or(0, |before| u32_at(&self.slot_ends, before));
        Some(start as usize..u32_at(&self.slot_ends, place) as usize)
    }

    pub(super) fn stamp(&self, at: usize) -> Stamp {
        let revision = u128::from(u64_at(&self.high, at)) << 64 | u128::from(u64_at(&self.low, at));
        Stamp { revision: Revision::new(revision), tie: u64_at(&self.ties, at) }
    }

    /// The date of a row without a record; `None` if it has one.
    pub(super) fn date_of(&self, row: usize) -> Option<Timestamp> {
        let place = self.absent.binary_search_by_key(&number(row), |absent| absent.to_native()).ok()?;
        Some(date(u64_at(&self.dates, place)))
    }

    /// Base and upsert of a row, without its fields, and the stamps of its fields.
    pub(super) fn row(&self, row: usize) -> (Revised<EmbeddingRef>, Fields<'_>) {
        let kind = self.kind(row);
        let first = self.stamps_of(row).start;
        let mut fields = Fields { revisions: self, first, slots: self.slots_of(row) };
        let base = match kind & BASE {
            0 => None,
            base => Some(Base { at: self.stamp(first), put: base == PUT }),
        };
        let upserted = (kind & UPSERTED != 0).then(|| fields.next());
        let dated = self.date_of(row).unwrap_or_default();
        (Revised { base, upserted, dated, ..Revised::default() }, fields)
    }
}

pub(super) fn date(bits: u64) -> Timestamp {
    Timestamp::from_millis(bits.cast_signed())
}

/// The stamps of a row's fields, in their order.
pub(super) struct Fields<'a> {
    revisions: &'a ArchivedRevisions,
    first: usize,
    slots: Option<Range<usize>>,
}

impl Fields<'_> {
    /// The stamp of the next field.
    pub(super) fn next(&mut self) -> Stamp {
        let slot = self.slots.as_mut().and_then(Iterator::next).map_or(0, |slot| u32_at(&self.revisions.slots, slot));
        self.revisions.stamp(self.first + slot as usize)
    }
}
