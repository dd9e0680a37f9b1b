//! A search's index of the base: the record that owns each embedding row.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use deltafold_format::{EmbeddingRef, Nonce, ObjectName, PartMeta, Place};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::bits::{Bits, ones};
use super::owner::{FRESH, Owner, Selection};
use crate::error::{Error, Result};
use crate::reader::{Need, Snapshot};

/// Parts read and decoded at once: the fronts of 100,000 records in one round of requests. All
/// reads together bound their bytes in flight.
const READS: usize = 64;

/// The rows of one embedding object, and the records that own them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Indexed {
    /// The owner of each row, packed; 0 for a row without an owner.
    owners: Vec<u32>,
    /// Further owners of rows with several. The engine writes none, but the format allows them.
    more: HashMap<u32, Vec<u32>>,
    /// The rows with an owner.
    live: Bits,
    /// The base row that owns row 0, if row `i` with an owner has the base row behind it by `i`. In
    /// an object that a merge wrote, it is so.
    in_order_from: Option<u32>,
}

impl Indexed {
    pub(crate) fn live(&self) -> &Bits {
        &self.live
    }

    /// Adds an owner of a row.
    pub(crate) fn add(&mut self, row: u32, owner: Owner) {
        let at = row as usize;
        self.in_order_from = None;
        if self.owners.len() <= at {
            self.owners.resize(at + 1, 0);
        }
        match self.owners.get_mut(at) {
            Some(first @ 0) => *first = owner.packed(),
            _ => self.more.entry(row).or_default().push(owner.packed()),
        }
        self.live.insert(at);
    }

    /// Removes an owner of a row.
    pub(crate) fn remove(&mut self, row: u32, owner: Owner) {
        let Some(first) = self.owners.get_mut(row as usize) else { return };
        if let Some(more) = self.more.get_mut(&row) {
            more.retain(|other| *other != owner.packed());
            if *first == owner.packed() {
                *first = more.pop().unwrap_or(0);
            }
            if more.is_empty() {
                self.more.remove(&row);
            }
        } else if *first == owner.packed() {
            *first = 0;
        }
        if *first == 0 {
            self.live.remove(row as usize);
        }
    }

    /// The records that own a row.
    pub(crate) fn owners(&self, row: u32) -> impl Iterator<Item = Owner> {
        let first = self.owners.get(row as usize).copied().unwrap_or(0);
        let more = self.more.get(&row).map_or(&[][..], Vec::as_slice);
        std::iter::once(first).chain(more.iter().copied()).filter_map(Owner::unpacked)
    }

    /// The rows from 64 times this number on that a selected record owns, a bit each.
    pub(crate) fn selected(&self, number: usize, selection: &Selection) -> u64 {
        let live = self.live.word(number);
        if let Some(first) = self.in_order_from {
            return selection.base.words_from(first as usize + number * 64).next().unwrap_or(0) & live;
        }
        let owners = self.owners.get(number * 64..).unwrap_or_default();
        if self.more.is_empty()
            && let Some(first) = owners.first_chunk().and_then(consecutive)
        {
            return selection.base.words_from(first as usize).next().unwrap_or(0);
        }
        // Rows without an owner and touched records become numbers beyond every row of the base.
        let (mut selected, mut fresh) = (0, 0);
        for (owner, bit) in owners.iter().take(64).zip(0..) {
            selected |= u64::from(selection.base.contains(owner.wrapping_sub(1) as usize)) << bit;
            fresh |= owner & FRESH;
        }
        if fresh != 0 || !self.more.is_empty() {
            let several = ones(live & !selected).filter(|bit| {
                let row = u32::try_from(number * 64 + bit).unwrap_or(u32::MAX);
                self.owners(row).any(|owner| selection.contains(owner))
            });
            selected |= several.fold(0, |word, bit| word | 1 << bit);
        }
        selected & live
    }

    /// Number of words of 64 rows.
    pub(crate) fn words(&self) -> usize {
        self.owners.len().div_ceil(64)
    }

    /// A row with an owner beyond the object's `rows`.
    pub(crate) fn beyond(&self, rows: u32) -> Option<u32> {
        let owned = u32::try_from(self.owners.len()).unwrap_or(u32::MAX);
        (rows..owned).find(|row| self.live.contains(*row as usize))
    }

    /// Bytes of memory, with an estimate of further owners.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let owners = (self.owners.capacity() + 16 * self.more.len()) * size_of::<u32>();
        owners as u64 + self.live.memory_bytes()
    }

    /// Gives back memory that growth has reserved.
    fn shrink(&mut self) {
        self.owners.shrink_to_fit();
        self.live.shrink();
    }

    /// Notes whether the owners are in order. Later removals leave them so.
    fn note_order(&mut self) {
        let places = || self.owners.iter().zip(1_u32..).filter(|(owner, _)| **owner != 0);
        let first = places().next().and_then(|(owner, place)| owner.checked_sub(place));
        self.in_order_from = first.filter(|first| {
            let is_next = |owner: u32, place| owner & FRESH == 0 && owner.checked_sub(*first) == Some(place);
            self.more.is_empty() && places().all(|(owner, place)| is_next(*owner, place))
        });
    }
}

/// The first of 64 owners, if they are consecutive rows of the base. In an object that a merge
/// wrote, most are.
fn consecutive(owners: &[u32; 64]) -> Option<u32> {
    let (first, last) = (owners[0], owners[63]);
    let apart = owners.iter().zip(0..).fold(0, |apart, (owner, at)| apart | (owner ^ first.wrapping_add(at)));
    (apart == 0 && first != 0 && (first | last) & FRESH == 0).then(|| first - 1)
}

/// The places where the records of the base were inserted.
#[derive(Debug)]
enum Inserted {
    Log(Vec<u64>),
    Revision(Vec<u128>),
}

/// A search's index of a shard's base. It depends on the base alone: newer runs and the log do not
/// change it.
#[derive(Debug)]
pub(crate) struct BaseIndex {
    /// The run; `None` without a base.
    run: Option<Nonce>,
    /// The number of the first row of each part, and the number behind the last row.
    first_rows: Vec<u32>,
    inserted: Inserted,
    /// The rows that hold a record. Only by revision does the base have others, for absent records.
    present: Bits,
    pub(crate) objects: BTreeMap<ObjectName, Arc<Indexed>>,
    memory_bytes: u64,
}

impl BaseIndex {
    /// Reads the front of every part of the base once. Those that fit stay in memory.
    pub(crate) async fn read(snapshot: &Snapshot) -> Result<Self> {
        let revisions = snapshot.shard.config().ordering.is_revision();
        let mut index = Self {
            run: base_run(snapshot),
            first_rows: vec![0],
            inserted: if revisions { Inserted::Revision(Vec::new()) } else { Inserted::Log(Vec::new()) },
            present: Bits::default(),
            objects: BTreeMap::new(),
            memory_bytes: 0,
        };
        let parts = if index.run.is_some() { snapshot.entries(0).len() } else { 0 };
        let mut objects: HashMap<ObjectName, Indexed> = HashMap::new();
        // Collected first: a stream of futures that borrow is not known to be `Send`.
        let reads: Vec<_> = (0..parts).map(|number| snapshot.part(0, number, Need::Front, true)).collect();
        let mut reads = stream::iter(reads).buffered(READS);
        while let Some(part) = reads.try_next().await? {
            index.push(&part, &mut objects)?;
            tokio::task::yield_now().await;
        }
        let objects = objects.into_iter().map(|(name, mut indexed)| {
            indexed.shrink();
            indexed.note_order();
            (name, Arc::new(indexed))
        });
        index.objects = objects.collect();
        index.inserted.shrink();
        index.present.shrink();
        let rows: u64 = index.objects.values().map(|indexed| indexed.memory_bytes()).sum();
        index.memory_bytes = rows + index.inserted.memory_bytes() + index.present.memory_bytes();
        Ok(index)
    }

    fn push(&mut self, part: &PartMeta, objects: &mut HashMap<ObjectName, Indexed>) -> Result<()> {
        let first = self.first_rows.last().copied().unwrap_or(0);
        let rows = u32::try_from(part.rows()).unwrap_or(u32::MAX);
        let next = first.checked_add(rows).filter(|next| *next < FRESH).ok_or_else(|| {
            Error::invalid("a search takes at most 2,147,483,647 records a shard; make the collection with more shards")
        })?;
        // Parts name few objects, and neighbours name the same.
        let mut last: Option<(ObjectName, Indexed)> = None;
        for row in 0..part.rows() {
            let number = first + u32::try_from(row).unwrap_or(u32::MAX);
            let place = if part.has_revisions() {
                let Some(stored) = part.outline(row).resolve() else {
                    self.inserted.push(Place::Log(deltafold_format::Position::ZERO));
                    continue;
                };
                stored.inserted
            } else {
                Place::Log(part.inserted(row))
            };
            self.inserted.push(place);
            self.present.insert(number as usize);
            if let Some(EmbeddingRef { object, row }) = part.embedding_ref(row) {
                if last.as_ref().is_none_or(|(name, _)| *name != object) {
                    if let Some((name, indexed)) = last.take() {
                        objects.insert(name, indexed);
                    }
                    last = Some((object, objects.remove(&object).unwrap_or_default()));
                }
                if let Some((_, indexed)) = &mut last {
                    indexed.add(row, Owner::Base(number));
                }
            }
        }
        objects.extend(last);
        self.first_rows.push(next);
        Ok(())
    }

    /// Whether it is the index of this snapshot's base.
    pub(crate) fn is_of(&self, snapshot: &Snapshot) -> bool {
        self.run == base_run(snapshot)
    }

    /// Whether there is a base.
    pub(crate) fn exists(&self) -> bool {
        self.run.is_some()
    }

    /// Number of its rows.
    pub(crate) fn rows(&self) -> u32 {
        self.first_rows.last().copied().unwrap_or(0)
    }

    /// The rows of a part.
    pub(crate) fn rows_of(&self, part: usize) -> std::ops::Range<u32> {
        let at = |part: usize| self.first_rows.get(part).copied().unwrap_or_else(|| self.rows());
        at(part)..at(part + 1)
    }

    /// The part of a row, and its number there.
    pub(crate) fn place(&self, row: u32) -> (usize, usize) {
        let part = self.first_rows.partition_point(|first| *first <= row).saturating_sub(1);
        (part, (row - self.rows_of(part).start) as usize)
    }

    /// The rows that hold a record.
    pub(crate) fn present(&self) -> &Bits {
        &self.present
    }

    /// The place where the record of a row was inserted, as a number in the order of places.
    pub(crate) fn inserted(&self, row: u32) -> u128 {
        match &self.inserted {
            Inserted::Log(places) => places.get(row as usize).copied().unwrap_or(0).into(),
            Inserted::Revision(places) => places.get(row as usize).copied().unwrap_or(0),
        }
    }

    /// Estimated bytes of memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

impl Inserted {
    fn memory_bytes(&self) -> u64 {
        match self {
            Self::Log(places) => (places.capacity() * size_of::<u64>()) as u64,
            Self::Revision(places) => (places.capacity() * size_of::<u128>()) as u64,
        }
    }

    /// Gives back memory that growth has reserved.
    fn shrink(&mut self) {
        match self {
            Self::Log(places) => places.shrink_to_fit(),
            Self::Revision(places) => places.shrink_to_fit(),
        }
    }

    fn push(&mut self, place: Place) {
        match self {
            Self::Log(places) => places.push(u64::try_from(place_number(place)).unwrap_or(u64::MAX)),
            Self::Revision(places) => places.push(place_number(place)),
        }
    }
}

/// A place as a number in the order of places.
pub(crate) fn place_number(place: Place) -> u128 {
    match place {
        Place::Log(position) => position.to_bits().into(),
        Place::Revision(stamp) => stamp.revision.get(),
    }
}

/// The run that is the base of a snapshot.
fn base_run(snapshot: &Snapshot) -> Option<Nonce> {
    snapshot.objects.manifest().runs.first().filter(|run| run.resolved).map(|run| run.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows are selected 64 at once. A row may belong to no record, to a touched record, or to
    /// several.
    #[test]
    fn selected_rows_are_those_of_selected_owners() {
        for several in [false, true] {
            let mut indexed = Indexed::default();
            for row in (0..200).filter(|row| row % 7 != 0) {
                let fresh = row % 5 == 0;
                indexed.add(row, if fresh { Owner::Fresh(row / 5) } else { Owner::Base(row * 2) });
            }
            if several {
                indexed.add(3, Owner::Fresh(90));
                indexed.add(130, Owner::Base(500));
            }
            let mut selection = Selection::default();
            (0..600).filter(|row| row % 3 == 0 || *row == 500).for_each(|row| selection.base.insert(row));
            [1, 3, 4, 19, 90].into_iter().for_each(|at| selection.fresh.insert(at));
            for row in 0..256 {
                let expected = indexed.owners(row).any(|owner| selection.contains(owner));
                let word = indexed.selected(row as usize / 64, &selection);
                assert_eq!(word >> (row % 64) & 1 == 1, expected, "row {row}, several {several}");
            }
        }
    }

    /// An object that a merge wrote. Some rows have lost their owners since, and one got another.
    #[test]
    fn rows_in_order_are_selected_by_whole_words() {
        let mut selection = Selection::default();
        (0..600).filter(|row| row % 3 == 0).for_each(|row| selection.base.insert(row));
        selection.fresh.insert(3);
        let check = |indexed: &Indexed| {
            for row in 0..256 {
                let expected = indexed.owners(row).any(|owner| selection.contains(owner));
                assert_eq!(
                    indexed.selected(row as usize / 64, &selection) >> (row % 64) & 1 == 1,
                    expected,
                    "row {row}"
                );
            }
        };
        let mut indexed = Indexed::default();
        (0..200).filter(|row| row % 11 != 0).for_each(|row| indexed.add(row, Owner::Base(row + 37)));
        indexed.note_order();
        assert_eq!(indexed.in_order_from, Some(37));
        check(&indexed);
        (0..200).step_by(5).for_each(|row| indexed.remove(row, Owner::Base(row + 37)));
        assert_eq!(indexed.in_order_from, Some(37));
        check(&indexed);
        for owner in [Owner::Fresh(3), Owner::Base(3)] {
            indexed.add(5, owner);
            indexed.note_order();
            assert_eq!(indexed.in_order_from, None, "{owner:?}");
            check(&indexed);
            indexed.remove(5, owner);
        }
    }

    /// Story: a scan visits only the rows of the object, so it skipped references to rows beyond
    /// them.
    #[test]
    fn a_live_reference_beyond_the_rows_is_found() {
        let mut indexed = Indexed::default();
        indexed.add(3, Owner::Base(0));
        assert_eq!((indexed.beyond(4), indexed.beyond(3), indexed.beyond(0)), (None, Some(3), Some(3)));
        indexed.remove(3, Owner::Base(0));
        assert_eq!(indexed.beyond(0), None);
    }
}
