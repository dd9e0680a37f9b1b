//! What was said of each batch, and whether the log keeps it.

use std::collections::BTreeMap;

use deltafold::format::{Op, Position, Sequence, ShardId};
use deltafold_fuzz::store::Log;

use crate::deed::{Batch, number_of};

/// What was said of a batch. What comes later may only say more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Said {
    /// It is not in the log and never will be.
    Refused,
    /// Nobody can tell.
    Unknown,
    /// It is in the log.
    Acknowledged,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    batches: BTreeMap<i64, (Batch, Said)>,
    /// The last op of what was acknowledged in each shard.
    acknowledged: BTreeMap<ShardId, Position>,
}

impl Promises {
    /// Up to where each shard's log is acknowledged: what is begun now comes behind, and what is
    /// read now sees it.
    pub(crate) fn floors(&self) -> BTreeMap<ShardId, Position> {
        self.acknowledged.clone()
    }

    /// Something was said of a batch.
    pub(crate) fn say(&mut self, batch: &Batch, said: Said) {
        let (_, known) = self.batches.entry(batch.number).or_insert_with(|| (batch.clone(), said));
        *known = said.max(*known);
    }

    /// A batch was acknowledged in this segment, and was begun when all up to `floor` was
    /// acknowledged.
    pub(crate) fn acknowledge(&mut self, batch: &Batch, sequence: Sequence, floor: Option<Position>, log: &Log) {
        let segment =
            log.get(&(batch.shard, sequence)).expect("the segment that an acknowledgement names is in the log");
        let begins = |op: &Op| number_of(op) == Some(batch.number);
        let first = segment.iter().position(begins).expect("a batch is in the segment that its acknowledgement names");
        let at = |index| Position::new(sequence, index).expect("no segment here holds many ops");
        assert!(
            floor.is_none_or(|floor| floor < at(first)),
            "a batch lies before what was acknowledged before it began"
        );
        let last = at(first + batch.ops.len() - 1);
        let known = self.acknowledged.entry(batch.shard).or_insert(last);
        *known = last.max(*known);
        self.say(batch, Said::Acknowledged);
    }

    /// Holds everything said against the log: each batch is in it whole, and as often as it may be.
    pub(crate) fn check(&self, log: &Log) {
        let mut found: BTreeMap<i64, u32> = BTreeMap::new();
        for ((shard, sequence), ops) in log {
            let mut rest = &ops[..];
            while let Some(first) = rest.first() {
                let number = number_of(first).expect("a batch begins with its number");
                let (batch, _) = self.batches.get(&number).expect("what is in the log was appended");
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

    /// The batches of a source lie in the log in the order of their positions, shard by shard.
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
