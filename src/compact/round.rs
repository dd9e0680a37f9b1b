//! A round of compaction of one shard: look, plan, work, publish, until nothing is due.

use deltafold_format::{EditKind, Manifest, Sequence, embedding_object_rows};

use super::claim::Claims;
use super::fold::fold;
use super::merge::merge;
use super::policy::{Backlog, MergePlan, Policy};
use super::report::CompactEvent;
use crate::error::{ErrorKind, Result};
use crate::log::{POLLS_A_LIST, ScanMode, read_tail};
use crate::shard::{Shard, Slot};
use crate::snapshot::{Accounting, Current, Edit, publish};

/// The extent of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// The work that the policy's thresholds call for.
    Due,
    /// Folds the whole log, then does the merges that are due.
    FoldAll,
    /// Folds the whole log, then merges everything into the base.
    MergeAll,
}

/// The compactor of one shard. It keeps its last view, so that an idle round costs two GETs.
#[derive(Debug)]
pub(super) struct ShardCompactor {
    pub(super) shard: Shard,
    policy: Policy,
    claims: Claims,
    current: Option<Current>,
    /// Segments read behind `current.folded`: at most `fold_bytes` and one segment.
    tail: Vec<(Sequence, Slot)>,
    /// The number of polls in a row that found nothing behind them.
    polls: u32,
}

impl ShardCompactor {
    pub(super) fn new(shard: Shard, policy: Policy) -> Self {
        let claimant = shard.env().uid();
        // At zero bytes a fold would never read anything.
        let fold_bytes = policy.fold_bytes.clamp(1, shard.memory().fold_input());
        let policy = Policy { fold_bytes, ..policy };
        Self { shard, policy, claims: Claims::new(claimant), current: None, tail: Vec::new(), polls: 0 }
    }

    pub(super) async fn round(&mut self, effort: Effort, each: &mut impl FnMut(CompactEvent)) -> Result<()> {
        // A round that folds everything must not take a hole for the end of the log.
        let mut listed = self.look().await? && effort == Effort::Due;
        let mut merged_all = false;
        // Segments appended during the round wait for the next one: a round ends, however fast
        // writers are.
        let mut fold_all = effort != Effort::Due;
        let mut reached = Reached::Bound;
        loop {
            if reached != Reached::End {
                reached = self.read_log(listed).await?;
                listed = true;
            }
            let Some(current) = &self.current else { return Ok(()) };
            let version = current.manifest.version;
            let backlog = self.backlog();
            let caught_up = backlog.bytes < self.policy.fold_bytes;
            let step = if self.policy.folds(backlog) || (fold_all && backlog.segments > 0) {
                fold_all &= !caught_up;
                Step::Fold
            } else if effort == Effort::MergeAll && !merged_all && is_to_be_merged(&current.manifest) {
                merged_all = true;
                Step::Merge(self.policy.absorb(&current.manifest, self.object_rows()))
            } else if let Some(plan) = self.policy.merge(&current.manifest, self.object_rows()) {
                Step::Merge(plan)
            } else if reached == Reached::Swept {
                continue;
            } else {
                return Ok(());
            };
            let patient = effort == Effort::Due;
            if !self.claims.acquire(&self.shard, version, patient).await? {
                return Ok(());
            }
            each(self.execute(step).await?);
        }
    }

    /// Refreshes the snapshot. Returns whether the log was read before, in which case probing
    /// continues behind the last slot read.
    async fn look(&mut self) -> Result<bool> {
        match &mut self.current {
            Some(current) => {
                current.refresh(&self.shard).await?;
                self.forget_folded();
                Ok(true)
            }
            None => {
                self.current = Some(Current::load(&self.shard).await?);
                Ok(false)
            }
        }
    }

    fn forget_folded(&mut self) {
        let folded = self.current.as_ref().map_or(Sequence::ZERO, |current| current.manifest.folded);
        self.tail.retain(|(sequence, _)| *sequence > folded);
        if self.tail.first().is_some_and(|(sequence, _)| *sequence != folded.next()) {
            self.tail.clear();
        }
    }

    /// Reads the log on behind the slots already read, up to the limit of one fold.
    async fn read_log(&mut self, listed: bool) -> Result<Reached> {
        let backlog = self.backlog();
        if backlog.bytes >= self.policy.fold_bytes {
            return Ok(Reached::Bound);
        }
        let folded = self.current.as_ref().map_or(Sequence::ZERO, |current| current.manifest.folded);
        let after = self.tail.last().map_or(folded, |(sequence, _)| *sequence);
        let how = if listed && self.polls < POLLS_A_LIST { ScanMode::Probe } else { ScanMode::Listed };
        let read = read_tail(&self.shard, after, self.policy.fold_bytes - backlog.bytes, how).await?;
        self.polls = if how == ScanMode::Probe && read.slots.is_empty() { self.polls + 1 } else { 0 };
        for (sequence, _) in read.slots.iter().filter(|(_, slot)| matches!(slot, Slot::Void)) {
            let key = self.shard.layout().segment(*sequence);
            tracing::warn!(%key, "a writer of a dropped collection left this segment; it is folded as an empty one");
        }
        self.tail.extend(read.slots);
        if read.swept {
            // Another compactor folded these segments, and they were swept. The current version has
            // moved.
            self.look().await?;
            return Ok(Reached::Swept);
        }
        Ok(if read.end { Reached::End } else { Reached::Bound })
    }

    fn backlog(&self) -> Backlog {
        Backlog { segments: self.tail.len() as u64, bytes: self.tail.iter().map(|(_, slot)| slot.bytes()).sum() }
    }

    fn object_rows(&self) -> u32 {
        embedding_object_rows(self.shard.config().dimension)
    }

    async fn execute(&mut self, step: Step) -> Result<CompactEvent> {
        let Some(current) = &mut self.current else { unreachable!("a step is planned from a snapshot") };
        let kind = step.kind();
        let folded = if kind == EditKind::Fold { &self.tail[..] } else { &[] };
        let segments = folded.len() as u64;
        let oldest = folded.iter().filter_map(|(_, slot)| match slot {
            Slot::Segment(segment) => Some(segment.header().times.first),
            _ => None,
        });
        let oldest = oldest.min();
        let work = match &step {
            Step::Fold => {
                fold(&self.shard, &current.manifest, &self.tail, self.policy.forget_sources_after).await.map(Edit::Fold)
            }
            Step::Merge(plan) => merge(&self.shard, &current.manifest, plan).await.map(Edit::Merge),
        };
        let done = match work {
            Ok(edit) => {
                let accounting = accounting(&edit);
                publish(&self.shard, current, &edit).await.map(|version| (version, accounting))
            }
            Err(error) => Err(error),
        };
        let (version, accounting) = match done {
            Ok((version, accounting)) => (Some(version), accounting),
            Err(error) if error.kind() == ErrorKind::Conflict => {
                tracing::debug!(%error, "work made needless");
                current.refresh(&self.shard).await?;
                (None, Accounting::default())
            }
            Err(error) => {
                // Parts of this view may be outdated, which only a fresh look shows.
                self.current = None;
                self.tail.clear();
                return Err(error);
            }
        };
        self.forget_folded();
        Ok(CompactEvent {
            shard: self.shard.id(),
            kind,
            version,
            rows_in: accounting.rows_in,
            rows_out: accounting.rows_out,
            bytes_in: accounting.bytes_in,
            bytes_out: accounting.bytes_out,
            segments,
            oldest,
        })
    }
}

/// The end of a read of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// The log's end at that time.
    End,
    /// The limit of one fold. There may be more.
    Bound,
    /// A gap of segments that another compactor folded and a sweep deleted. Look again.
    Swept,
}

/// Whether a merge of everything changes anything: several runs, or a base with absences that it
/// may forget.
fn is_to_be_merged(manifest: &Manifest) -> bool {
    manifest.runs.len() > 1 || manifest.absent_rows() > 0
}

/// The next step.
enum Step {
    Fold,
    Merge(MergePlan),
}

impl Step {
    fn kind(&self) -> EditKind {
        match self {
            Self::Fold => EditKind::Fold,
            Self::Merge(_) => EditKind::Merge,
        }
    }
}

fn accounting(edit: &Edit) -> Accounting {
    match edit {
        Edit::Fold(fold) => fold.accounting,
        Edit::Merge(merge) => merge.accounting,
        _ => Accounting::default(),
    }
}
