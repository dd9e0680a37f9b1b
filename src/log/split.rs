//! Splits the ops of a call by shard. They keep their order.

use std::collections::BTreeMap;
use std::sync::Arc;

use deltafold_format::{Op, Sequence, ShardId};

use super::appender::{ChangeGroup, Positions, Producer};
use super::dedup::{DedupKey, IdempotencyKey};

/// The ops of a call for one shard.
pub(super) struct OfShard {
    pub(super) shard: ShardId,
    pub(super) ops: Vec<Op>,
    pub(super) groups: Vec<ChangeGroup>,
    pub(super) producer: Option<Producer>,
    /// The slot that the segment must follow directly.
    pub(super) behind: Option<Sequence>,
}

#[cfg(feature = "serve")]
impl OfShard {
    /// Ops of one shard, as one segment directly behind a slot.
    pub(super) fn behind(shard: ShardId, behind: Sequence, ops: Vec<Op>) -> Self {
        let groups = vec![ChangeGroup::new(ops.len(), None)];
        Self { shard, ops, groups, producer: None, behind: Some(behind) }
    }
}

/// Splits changes that come together.
pub(super) fn changes(
    shards: u16,
    changes: Vec<(Option<IdempotencyKey>, Vec<Op>)>,
    producer: Option<&Producer>,
) -> Vec<OfShard> {
    let mut split: BTreeMap<ShardId, (Vec<Op>, Vec<ChangeGroup>)> = BTreeMap::new();
    for (key, ops) in changes {
        let mut of_change: BTreeMap<ShardId, Vec<Op>> = BTreeMap::new();
        if shards == 1 {
            of_change.insert(ShardId::default(), ops);
        } else {
            for op in ops {
                of_change.entry(ShardId::of(&op.id, shards)).or_default().push(op);
            }
        }
        for (shard, mut own) in of_change {
            let dedup = key.as_ref().map(|key| DedupKey::new(key, own.iter().map(|op| op.id.as_str())));
            let (ops, groups) = split.entry(shard).or_default();
            groups.push(ChangeGroup::new(own.len(), dedup));
            ops.append(&mut own);
        }
    }
    let of_shard = |(shard, (ops, groups))| OfShard { shard, ops, groups, producer: producer.cloned(), behind: None };
    split.into_iter().map(of_shard).collect()
}

/// Splits a run: ops with a position each in the sequence of the producer `name`.
pub(super) fn run(shards: u16, name: &Arc<str>, run: Vec<(u128, Op)>) -> Vec<OfShard> {
    let mut split: BTreeMap<ShardId, (Vec<u128>, Vec<Op>)> = BTreeMap::new();
    if shards == 1 {
        split.insert(ShardId::default(), run.into_iter().unzip());
    } else {
        for (position, op) in run {
            let (positions, ops) = split.entry(ShardId::of(&op.id, shards)).or_default();
            positions.push(position);
            ops.push(op);
        }
    }
    let of_shard = |(shard, (positions, ops)): (ShardId, (_, Vec<Op>))| {
        let producer = Producer { name: name.clone(), positions: Positions::Each(positions) };
        OfShard { shard, groups: vec![ChangeGroup::new(ops.len(), None)], ops, producer: Some(producer), behind: None }
    };
    split.into_iter().map(of_shard).collect()
}
