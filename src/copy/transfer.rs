//! Transfers a whole state: writes the records that the target lacks or that differ, and deletes
//! those that the origin does not have.

use std::collections::HashSet;

use deltafold_format::{Op, Patch, Place, Position, Revision, ShardId};
use futures::future::try_join_all;
use futures::stream::{StreamExt as _, TryStreamExt as _};
use xxhash_rust::xxh3::xxh3_64;

use super::compare::{Comparison, Difference};
use super::mark::{Mark, Marks, end_of};
use super::sending::{Sending, bytes_of};
use super::{Copier, Work, ends};
use crate::error::{Error, Result};
use crate::reader::{Entry, Order, Reader, ScanOptions};

/// Ops, and estimated bytes of them, that are handed over together.
const CHUNK_OPS: usize = 1_024;
const CHUNK_BYTES: usize = 2 << 20;
/// Hashes of ids that differ, held at once: 32 MiB. Where more differ, another round finds them.
const MAX_DIFFERENT: usize = 1 << 20;

impl Copier {
    /// Transfers the state that `from` reads. Returns the generation of the transfer.
    pub(super) async fn transfer(&self, from: &Reader, marks: &Marks, work: &mut Work<'_>) -> Result<u32> {
        let no_number = || Error::invalid("the target has seen too many transfers; copy into a new collection");
        let generation = marks.next_generation().ok_or_else(no_number)?;
        let sending = self.sending()?;
        let ordinals = vec![1; self.sources.len()];
        let chunk = self.sources.iter().map(|_| Vec::new()).collect();
        let mut transfer = Transfer { copier: self, generation, sending, ordinals, chunk, held: (0, 0) };
        transfer.fence().await?;
        work.report.transfers += 1;
        // Read behind the fence: no other copy changes the target from here on.
        let mut target = self.to.reader().await?;
        if target.count().await? == 0 {
            transfer.put(from, None, work).await?;
        } else {
            loop {
                let (different, all) = transfer.differences(from, &target, work).await?;
                if !different.is_empty() {
                    transfer.put(from, Some(&different), work).await?;
                }
                if all {
                    break;
                }
                target.refresh().await?;
            }
        }
        transfer.drain(work).await?;
        let ends = ends(from).into_iter().map(end_of).collect::<Vec<_>>();
        self.note(&mut transfer.sending, generation, &ends).await?;
        Ok(generation)
    }

    /// Notes in every shard of the target that it holds the origin up to these places.
    pub(super) async fn note(&self, sending: &mut Sending, generation: u32, places: &[Position]) -> Result<()> {
        for (source, place) in self.sources.iter().zip(places) {
            let position = Mark::applied(generation, *place).bits();
            sending.note(source, position, self.without_effect()).await?;
        }
        Ok(())
    }

    /// For each shard of the target, an op without effect.
    fn without_effect(&self) -> Vec<Op> {
        let by_revision = self.to.config().ordering.is_revision();
        let op = |id: &String| {
            let op = Op::patch(id.clone(), Patch::default());
            if by_revision { op.at(Revision::new(0)) } else { op }
        };
        self.idle.iter().map(op).collect()
    }
}

struct Transfer<'a> {
    copier: &'a Copier,
    generation: u32,
    sending: Sending,
    /// The next ordinal of each source.
    ordinals: Vec<u64>,
    /// Ops to hand over next, by source.
    chunk: Vec<Vec<(u128, Op)>>,
    /// Their number and bytes.
    held: (usize, usize),
}

impl Transfer<'_> {
    /// Makes the target refuse ops of older generations.
    async fn fence(&mut self) -> Result<()> {
        let position = Mark::fence(self.generation).bits();
        let writer = self.sending.writer();
        let fences = self.copier.sources.iter().map(|source| {
            let (writer, ops) = (writer.clone(), self.copier.without_effect());
            async move { writer.append_from(source, position, ops).await }
        });
        let acks = try_join_all(fences.collect::<Vec<_>>()).await?;
        // Another copy has begun this generation, or a later one.
        if acks.iter().any(|ack| ack.duplicates() > 0) { Err(self.copier.overtaken()) } else { Ok(()) }
    }

    /// Deletes the records that only the target has. Returns hashes of the ids that differ
    /// otherwise, and whether they are all.
    async fn differences(
        &mut self,
        from: &Reader,
        target: &Reader,
        work: &mut Work<'_>,
    ) -> Result<(HashSet<u64>, bool)> {
        let mut different = HashSet::new();
        let mut comparison = Comparison::new(from, target);
        while let Some(difference) = comparison.next().await? {
            match difference {
                Difference::Differs(id) => drop(different.insert(xxh3_64(id.as_bytes()))),
                Difference::Surplus(id, changed) => {
                    let shard = ShardId::of(&id, self.copier.from.config().shards);
                    self.add(shard, |_| delete(id, changed), work).await?;
                    work.report.deleted += 1;
                }
            }
            work.compared(&comparison);
            if different.len() >= MAX_DIFFERENT {
                return Ok((different, false));
            }
        }
        work.compared(&comparison);
        Ok((different, true))
    }

    /// Puts the records of the origin, in the order of insertion: all, or those of these ids.
    async fn put(&mut self, from: &Reader, only: Option<&HashSet<u64>>, work: &mut Work<'_>) -> Result<()> {
        let by_revision = self.copier.to.config().ordering.is_revision();
        let mut batches = from.scan_batches(ScanOptions::default().order(Order::Insertion)).boxed();
        while let Some(batch) = batches.try_next().await? {
            for entry in batch {
                if only.is_none_or(|only| only.contains(&xxh3_64(entry.id.as_bytes()))) {
                    work.report.written += 1;
                    self.add(entry.shard, |mark| put(entry, by_revision, mark), work).await?;
                }
            }
        }
        Ok(())
    }

    /// Adds an op of a record of this shard of the origin.
    async fn add(&mut self, shard: ShardId, op: impl FnOnce(Mark) -> Op, work: &mut Work<'_>) -> Result<()> {
        let shard = usize::from(shard.get());
        let (Some(ordinal), Some(chunk)) = (self.ordinals.get_mut(shard), self.chunk.get_mut(shard)) else {
            return Ok(());
        };
        let mark = Mark { ordinal: *ordinal, ..Mark::fence(self.generation) };
        *ordinal += 1;
        let op = op(mark);
        self.held = (self.held.0 + 1, self.held.1 + bytes_of(&op));
        chunk.push((mark.bits(), op));
        if self.held.0 < CHUNK_OPS && self.held.1 < CHUNK_BYTES {
            return Ok(());
        }
        self.hand_over();
        while self.sending.is_full() {
            self.acknowledged(work).await?;
        }
        Ok(())
    }

    fn hand_over(&mut self) {
        for (source, ops) in self.copier.sources.iter().zip(&mut self.chunk) {
            self.sending.push(source, std::mem::take(ops), false);
        }
        self.held = (0, 0);
    }

    async fn acknowledged(&mut self, work: &mut Work<'_>) -> Result<()> {
        let Some(sent) = self.sending.next().await.transpose()? else { return Ok(()) };
        // Positions of a generation are its own, until a later one begins.
        if sent.duplicates > 0 {
            return Err(self.copier.overtaken());
        }
        self.sending.keep_up().await?;
        work.tell();
        Ok(())
    }

    /// Waits for everything.
    async fn drain(&mut self, work: &mut Work<'_>) -> Result<()> {
        self.hand_over();
        while !self.sending.is_empty() {
            self.acknowledged(work).await?;
        }
        Ok(())
    }
}

/// The op that makes the record of an entry.
fn put(entry: Entry, by_revision: bool, mark: Mark) -> Op {
    let revision = entry.changed.revision();
    let op = Op::put(entry.id, entry.record);
    // A log has no revisions. The positions of the copy ascend, and serve as such.
    if by_revision { op.at(revision.unwrap_or(Revision::new(mark.bits()))) } else { op }
}

/// The op that deletes a record of the target, which was last changed there.
fn delete(id: String, changed: Place) -> Op {
    let op = Op::delete(id);
    match changed.revision() {
        // At an equal revision, a delete wins over a put.
        Some(revision) => op.at(revision),
        None => op,
    }
}
