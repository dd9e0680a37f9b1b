//! The answers given for each batch, and whether the log keeps them.

use std::collections::BTreeMap;

use deltafold::format::{Op, Position, Sequence, ShardId};
use deltafold_fuzz::store::Log;

use crate::step::{Batch, number_of};

/// The answer for a batch. A later answer may only be stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Said {
    /// It is not in the log and never will be.
    Refused,
    /// The outcome is unknown.
    Unknown,
    /// It is in the log.
    Acknowledged,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    batches: BTreeMap<i64, (Batch, Said)>,
    /// The last acknowledged op of each shard.
    acknowledged: BTreeMap<ShardId, Position>,
}

impl Promises {
    /// The acknowledged end of each shard's log. An append that begins now lands behind it, and a
    /// read that begins now sees it.
    pub(crate) fn floors(&self) -> BTreeMap<ShardId, Position> {
        self.acknowledged.clone()
    }

    /// Notes an answer for a batch.
    pub(crate) fn say(&mut self, batch: &Batch, said: Said) {
        let (_, known) = self.batches.entry(batch.number).or_insert_with(|| (batch.clone(), said));
        *known = said.max(*known);
    }

    /// Notes the ack of a batch in this segment. When the batch began, all ops up to `floor` were
    /// acknowledged.
    pub(crate) fn acknowledge(&mut self, batch: &Batch, sequence: Sequence, floor: Option<Position>, log: &Log) {
        let segment =
            log.get(&(batch.shard, sequence)).expect("the segment that an acknowledgement names is in the log");
        let begins = |op: &Op| number_of(op) == Some(batch.number);
        let first = segment.iter().position(begins).expect("a batch is in the segment that its acknowledgement names");
        let at = |index| Position::new(sequence, index).expect("no segment here holds many ops");
        assert!(
            floor.is_none_or(|floor| floor < at(first)),
            "a batch lies before an op acknowledged before the batch began"
        );
        let last = at(first + batch.ops.len() - 1);
        let known = self.acknowledged.entry(batch.shard).or_insert(last);
        *known = last.max(*known);
        self.say(batch, Said::Acknowledged);
    }

    /// Compares every answer with the log: each batch is in it whole, and no more often than
    /// allowed.
    pub(crate) fn check(&self, log: &Log) {
        let mut found: BTreeMap<i64, u32> = BTreeMap::new();
        for ((shard, sequence), ops) in log {
            let mut rest = &ops[..];
            while let Some(first) = rest.first() {
                let number = number_of(first).expect("a batch begins with its number");
                let (batch, _) = self.batches.get(&number).expect("the log holds appended batches only");
                assert_eq!(batch.shard, *shard);
                let whole = rest.split_at_checked(batch.ops.len());
                let (whole, behind) = whole.expect("a batch is in the log whole");
                assert_eq!(whole, batch.ops, "batch {number} in segment {sequence}");
                *found.entry(number).or_default() += 1;
                rest = behind;
            }
        }
        for (number, (_, said)) in &self.batches {
            let count = found.get(number).copied().unwrap_or(0);
            match said {
                Said::Refused => assert_eq!(count, 0, "batch {number} was refused and is in the log"),
                Said::Unknown => assert!(count <= 1, "batch {number} is in the log {count} times"),
                Said::Acknowledged => assert_eq!(count, 1, "batch {number} was acknowledged"),
            }
        }
    }

    /// Checks that the batches of a source are in the log in the order of their positions, shard by
    /// shard.
    pub(crate) fn check_source(positions: &[Batch], log: &Log) {
        let mut last: BTreeMap<ShardId, usize> = BTreeMap::new();
        for ((shard, _), ops) in log {
            for number in ops.iter().filter_map(number_of) {
                let Some(position) = positions.iter().position(|batch| batch.number == number) else { continue };
                let before = last.insert(*shard, position);
                assert!(before.is_none_or(|before| before < position), "positions of a source are not in their order");
            }
        }
    }
}
