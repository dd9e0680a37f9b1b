//! A search's index of one shard: the base, and the records that newer runs and the log have
//! touched.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use deltafold_format::{
    Effect, Metadata, ObjectName, PartMeta, Place, Position, Record, Segment, Sequence, Stored, Transition,
};

use super::base::{BaseIndex, Indexed, place_number};
use super::bits::Bits;
use super::owner::Owner;
use crate::error::{Repr, Result};
use crate::reader::{
    Composer, Content, EmbeddingSource, IdRange, Need, Row, Rows, Snapshot, Step, op_effect, value_bytes,
};

/// Ids after which other tasks get a turn.
const IDS_A_TURN: u32 = 4_096;

/// Unused numbers of touched records that trigger a new index.
const FEW: usize = 4_096;

/// The current state of a record that newer runs or the log have touched.
#[derive(Debug, Clone)]
pub(crate) struct Fresh {
    pub(crate) id: Arc<str>,
    pub(crate) metadata: Arc<Metadata>,
    pub(crate) has_document: bool,
    pub(crate) embedding: Option<EmbeddingSource>,
    pub(crate) age: Age,
}

/// The order of a shard's records at equal distance: insertion, then id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age {
    /// Position in the log, or revision.
    pub(crate) inserted: u128,
    /// Twice the number of base rows with lesser ids, plus one for a row of the base itself.
    rank: u64,
}

impl Age {
    /// The key that orders a shard's records by id. Touched records of one rank are ordered by the
    /// ids themselves.
    pub(crate) fn rank(self) -> u64 {
        self.rank
    }
}

/// A search's index of one shard at one moment.
///
/// The base is read once, even if newer runs and the log grow. The ids that they touch are composed
/// in full, and take their rows out of the base. A refresh costs time in proportion to its new ids.
#[derive(Debug, Clone)]
pub(crate) struct ShardIndex {
    base: Arc<BaseIndex>,
    /// Rows of the base that are touched.
    shadowed: Bits,
    /// The base's objects, and those of newer runs. An object that differs from the base's is a
    /// copy.
    objects: BTreeMap<ObjectName, Arc<Indexed>>,
    fresh: Vec<Option<Fresh>>,
    by_id: HashMap<Arc<str>, u32>,
    /// Number of records in `fresh`.
    records: usize,
    memory_bytes: u64,
    /// The manifest of its snapshot.
    manifest: ObjectName,
    tail: Sequence,
    /// The last slot of the log that lay in the temporary file.
    aside_until: Sequence,
}

impl ShardIndex {
    /// The index of a snapshot. It is made from an `older` one if that has the same base or the
    /// same runs.
    pub(crate) async fn of(snapshot: &Arc<Snapshot>, older: Option<Arc<Self>>) -> Result<Self> {
        match older {
            Some(older) if older.grows_into(snapshot) => {
                let mut index = Arc::unwrap_or_clone(older);
                index.extend(snapshot).await?;
                Ok(index)
            }
            Some(older) if older.base.is_of(snapshot) => {
                let base = older.base.clone();
                drop(older);
                Self::read(snapshot, base).await
            }
            _ => Self::read(snapshot, Arc::new(BaseIndex::read(snapshot).await?)).await,
        }
    }

    /// Whether the snapshot differs only by segments of the log in memory.
    fn grows_into(&self, snapshot: &Snapshot) -> bool {
        self.manifest == snapshot.objects.manifest().name()
            && self.tail <= snapshot.overlay.tail()
            && self.aside_until == snapshot.overlay.aside_until()
            && self.fresh.len() <= 2 * self.records + FEW
    }

    async fn read(snapshot: &Arc<Snapshot>, base: Arc<BaseIndex>) -> Result<Self> {
        let mut index = Self {
            shadowed: Bits::default(),
            objects: base.objects.clone(),
            fresh: Vec::new(),
            by_id: HashMap::new(),
            records: 0,
            memory_bytes: base.memory_bytes(),
            manifest: snapshot.objects.manifest().name(),
            tail: snapshot.overlay.tail(),
            aside_until: snapshot.overlay.aside_until(),
            base,
        };
        let first_run = usize::from(index.base.exists());
        let mut rows = Rows::new(snapshot.clone(), IdRange::ALL, first_run, Content::WithoutDocuments);
        let mut turn = 0;
        loop {
            turn += 1;
            if turn % IDS_A_TURN == 0 {
                tokio::task::yield_now().await;
            }
            match rows.step() {
                Step::End => return Ok(index),
                Step::Fill => rows.fill().await?,
                Step::Group => {
                    let mut composer = rows.compose().await?;
                    let need = if composer.needs_content() { Need::Columns } else { Need::Front };
                    let below = index.base_row(snapshot, rows.id(), need).await?;
                    if let Some((part, row)) = &below.row
                        && !composer.is_final()
                    {
                        composer.under(Row::WithoutDocuments(part, *row))?;
                    }
                    index.touch(snapshot, rows.id(), &below, composer.finish())?;
                }
            }
        }
    }

    /// Adds the segments of the log behind those it has.
    async fn extend(&mut self, snapshot: &Arc<Snapshot>) -> Result<()> {
        let known = self.tail;
        let new: Vec<&Arc<Segment>> =
            snapshot.overlay.layers().iter().flat_map(|layer| layer.segments_behind(known)).collect();
        for segment in new {
            for op in 0..segment.len() {
                let id = segment.id(op).unwrap_or_default();
                let (below, record) = match op_effect(segment, op) {
                    Some(newer @ Effect::Log(_)) => self.after(snapshot, id, newer).await?,
                    // Revisions, not the log, say which op of a record wins.
                    _ => {
                        let below = self.base_row(snapshot, id, Need::Front).await?;
                        (below, snapshot.get_without_document(id).await?)
                    }
                };
                self.touch(snapshot, id, &below, record)?;
            }
        }
        self.tail = snapshot.overlay.tail();
        Ok(())
    }

    /// The record of an id after the next op of the log, made from the record that the index has.
    async fn after(
        &self,
        snapshot: &Snapshot,
        id: &str,
        newer: Effect<EmbeddingSource>,
    ) -> Result<(Below, Option<Stored<EmbeddingSource, Place>>)> {
        if let Some(fresh) = self.by_id.get(id).and_then(|at| self.fresh_at(*at)) {
            let older = Transition::Replace { record: Some(fresh.stored()), renewed: false };
            let below = Below { rank: u32::try_from(fresh.age.rank / 2).unwrap_or(u32::MAX), row: None };
            return Ok((below, Effect::Log(older).then(newer).resolve()));
        }
        let mut composer = Composer::of(newer);
        let need = if composer.needs_content() { Need::Columns } else { Need::Front };
        let below = self.base_row(snapshot, id, need).await?;
        // A row that is touched, and whose record is not among the touched ones, is deleted.
        if let Some((part, row)) = &below.row
            && !self.shadowed.contains(below.rank as usize)
            && !composer.is_final()
        {
            composer.under(Row::WithoutDocuments(part, *row))?;
        }
        Ok((below, composer.finish()))
    }

    /// The place of an id in the base.
    async fn base_row(&self, snapshot: &Snapshot, id: &str, need: Need<'_>) -> Result<Below> {
        if !self.base.exists() {
            return Ok(Below::default());
        }
        let entries = snapshot.entries(0);
        let number = entries.partition_point(|entry| entry.max_id.as_str() < id);
        let first = self.base.rows_of(number).start;
        if entries.get(number).is_none_or(|entry| id < entry.min_id.as_str()) {
            return Ok(Below { rank: first, row: None });
        }
        let part = snapshot.part(0, number, need, true).await?;
        let found = part.find(id);
        let (Ok(row) | Err(row)) = found;
        let rank = first + u32::try_from(row).unwrap_or(u32::MAX);
        Ok(Below { rank, row: found.is_ok().then_some((part, row)) })
    }

    /// Sets the current state of an id.
    fn touch(
        &mut self,
        snapshot: &Snapshot,
        id: &str,
        below: &Below,
        record: Option<Stored<EmbeddingSource, Place>>,
    ) -> Result<()> {
        if let Some((part, row)) = &below.row
            && !self.shadowed.contains(below.rank as usize)
        {
            self.shadowed.insert(below.rank as usize);
            if let Some(at) = part.embedding_ref(*row)
                && let Some(indexed) = self.objects.get_mut(&at.object)
            {
                Arc::make_mut(indexed).remove(at.row, Owner::Base(below.rank));
            }
        }
        if let Some(at) = self.by_id.remove(id) {
            self.forget(at);
        }
        let Some(stored) = record else { return Ok(()) };
        let at = u32::try_from(self.fresh.len()).unwrap_or(u32::MAX);
        let id: Arc<str> = id.into();
        if let Some(EmbeddingSource::Stored(place)) = &stored.record.embedding {
            let indexed = self.objects.entry(place.object).or_default();
            Arc::make_mut(indexed).add(place.row, Owner::Fresh(at));
        }
        let fresh = Fresh {
            id: id.clone(),
            has_document: stored.record.document.is_some(),
            metadata: Arc::new(stored.record.metadata),
            embedding: stored.record.embedding,
            age: Age { inserted: place_number(stored.inserted), rank: u64::from(below.rank) * 2 },
        };
        self.memory_bytes += fresh.memory_bytes();
        self.records += 1;
        self.fresh.push(Some(fresh));
        self.by_id.insert(id, at);
        let bytes = self.memory_bytes;
        if let Some(max_bytes) = snapshot.objects.pools().max_bytes().filter(|max| bytes > *max) {
            return Err(Repr::IndexMemory { bytes, max_bytes }.into());
        }
        let limit = snapshot.shard.memory().bytes();
        if bytes > limit.max(self.base.memory_bytes() + limit / 4) {
            return Err(Repr::SearchMemory { shard: snapshot.shard.id(), bytes, limit }.into());
        }
        Ok(())
    }

    fn forget(&mut self, at: u32) {
        let Some(fresh) = self.fresh.get_mut(at as usize).and_then(Option::take) else { return };
        self.records -= 1;
        self.memory_bytes -= fresh.memory_bytes().min(self.memory_bytes);
        if let Some(EmbeddingSource::Stored(place)) = &fresh.embedding
            && let Some(indexed) = self.objects.get_mut(&place.object)
        {
            Arc::make_mut(indexed).remove(place.row, Owner::Fresh(at));
        }
    }

    /// Estimated bytes of memory: the base, the touched records, and the objects that are not the
    /// base's.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let is_of_base = |name: &ObjectName, indexed: &Arc<Indexed>| {
            self.base.objects.get(name).is_some_and(|of_base| Arc::ptr_eq(of_base, indexed))
        };
        let own = self.objects.iter().filter(|(name, indexed)| !is_of_base(name, indexed));
        let own: u64 = own.map(|(_, indexed)| indexed.memory_bytes()).sum();
        self.memory_bytes + own + self.shadowed.memory_bytes()
    }

    pub(crate) fn base(&self) -> &BaseIndex {
        &self.base
    }

    /// The base rows from `start` on with an untouched record: bit `i` of word `n` is row `start +
    /// 64 n + i`.
    pub(crate) fn standing_from(&self, start: u32) -> impl Iterator<Item = u64> {
        let (present, shadowed) =
            (self.base.present().words_from(start as usize), self.shadowed.words_from(start as usize));
        present.zip(shadowed).map(|(present, shadowed)| present & !shadowed)
    }

    /// The records that newer runs and the log have touched, by their numbers.
    pub(crate) fn fresh(&self) -> impl Iterator<Item = (u32, &Fresh)> {
        self.fresh.iter().zip(0..).filter_map(|(fresh, at)| fresh.as_ref().map(|fresh| (at, fresh)))
    }

    /// Upper bound of the numbers of touched records. Some numbers below it are free.
    pub(crate) fn fresh_places(&self) -> u32 {
        u32::try_from(self.fresh.len()).unwrap_or(u32::MAX)
    }

    /// The touched record of this number.
    pub(crate) fn fresh_at(&self, at: u32) -> Option<&Fresh> {
        self.fresh.get(at as usize).and_then(Option::as_ref)
    }

    /// The embedding objects with the owners of their rows.
    pub(crate) fn objects(&self) -> impl Iterator<Item = (ObjectName, &Arc<Indexed>)> {
        self.objects.iter().map(|(name, indexed)| (*name, indexed))
    }

    /// The order of an owner among those of equal distance.
    pub(crate) fn age(&self, owner: Owner) -> Age {
        match owner {
            Owner::Base(row) => Age { inserted: self.base.inserted(row), rank: u64::from(row) * 2 + 1 },
            Owner::Fresh(at) => self.fresh_at(at).map_or(Age { inserted: 0, rank: 0 }, |fresh| fresh.age),
        }
    }

    /// The id of a touched record.
    pub(crate) fn fresh_id(&self, owner: Owner) -> Option<Arc<str>> {
        let Owner::Fresh(at) = owner else { return None };
        self.fresh_at(at).map(|fresh| fresh.id.clone())
    }
}

/// The place of an id in the base, or the place where it would be.
#[derive(Default)]
struct Below {
    /// Number of base rows with a lesser id.
    rank: u32,
    row: Option<(Arc<PartMeta>, usize)>,
}

impl Fresh {
    /// The record, with an empty text in place of a document. The place of its last change is not
    /// kept.
    fn stored(&self) -> Stored<EmbeddingSource> {
        let inserted = Position::from_bits(u64::try_from(self.age.inserted).unwrap_or(u64::MAX));
        let record = Record {
            embedding: self.embedding.clone(),
            metadata: (*self.metadata).clone(),
            document: self.has_document.then(String::new),
        };
        Stored { record, inserted, changed: inserted }
    }

    /// Estimated bytes of memory, with its place in the index.
    fn memory_bytes(&self) -> u64 {
        let values = self.metadata.iter().map(|(key, value)| key.len() + value_bytes(value) + 64);
        // Segments and embedding objects are counted elsewhere.
        let embedding = match &self.embedding {
            Some(EmbeddingSource::Copied(numbers)) => size_of_val(&numbers[..]),
            _ => 0,
        };
        (2 * self.id.len() + size_of::<Self>() + 128 + embedding + values.sum::<usize>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use deltafold_format::{Change, Op, Patch, Value};
    use deltafold_testing::random::Random;

    use super::*;
    use crate::store::Memory;
    use crate::{Collection, CompactorOptions, CreateOptions, Reader, WriterOptions};

    fn op(random: &mut Random) -> Op {
        let id = format!("{:02}", random.below(12));
        let metadata = Metadata::from([(format!("k{}", random.below(3)), Value::I64(random.below(9) as i64))]);
        let embedding = (random.below(3) > 0).then(|| vec![random.below(99) as f32, 1.0]);
        let document = (random.below(3) == 0).then(|| "text".to_owned());
        let record = Record { embedding, metadata, document };
        let nothing = random.below(2) == 0;
        let metadata = record.metadata.clone().into_iter().map(|(key, value)| (key, (!nothing).then_some(value)));
        let patch = Patch { metadata: metadata.collect(), ..Patch::default() };
        let patch = Patch { embedding: record.embedding.clone().map_or(Change::Keep, Change::Set), ..patch };
        match random.below(6) {
            0 => Op::put(id, record),
            1 => Op::add(id, record),
            2 => Op::delete(id),
            3 => Op::upsert(id, patch),
            _ => Op::patch(id, patch),
        }
    }

    /// The touched records by their ids, the rows of the base that stand, and the live rows.
    async fn content(reader: &Reader) -> impl PartialEq + std::fmt::Debug {
        let shards = reader.searched().await.unwrap();
        let index = &shards[0].index;
        let fresh = index.fresh().map(|(_, fresh)| {
            let embedding = fresh.embedding.as_ref().map(|source| match source {
                EmbeddingSource::Stored(at) => format!("{at:?}"),
                source => format!("{:?}", source.numbers()),
            });
            (fresh.id.clone(), (fresh.metadata.clone(), fresh.has_document, embedding, fresh.age))
        });
        let live = index.objects().map(|(name, rows)| (name, rows.live().words_from(0).take(8).collect::<Vec<_>>()));
        let live: Vec<_> = live.filter(|(_, words)| words.iter().any(|word| *word != 0)).collect();
        (fresh.collect::<BTreeMap<_, _>>(), index.standing_from(0).take(2).collect::<Vec<_>>(), live)
    }

    /// Story: an index composed the record of each new op from the whole log behind the base. That
    /// took a third of the CPU of queries beside large writes.
    #[tokio::test]
    async fn an_index_that_grew_equals_one_read_anew() {
        let mut random = Random::from_environment();
        let collection =
            Collection::create(Arc::new(Memory::new()), &"c".parse().unwrap(), &CreateOptions::new(2)).await.unwrap();
        let writer = collection.writer(WriterOptions::default()).unwrap();
        let mut compactor = collection.compactor(CompactorOptions::default());
        let mut grown = collection.reader().await.unwrap();
        for round in 0..120 {
            let ops = (0..=random.below(6)).map(|_| op(&mut random)).collect();
            writer.append(ops).await.unwrap();
            if round % 30 == 9 {
                compactor.run_once().await.unwrap();
            }
            grown.refresh().await.unwrap();
            let anew = collection.reader().await.unwrap();
            assert_eq!(content(&grown).await, content(&anew).await, "round {round}");
        }
    }
}
