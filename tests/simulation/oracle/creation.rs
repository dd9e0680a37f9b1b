//! Created objects: a segment holds appends of writers, whole, in order, and each once.

use bytes::Bytes;
use deltafold::format::{CollectionConfig, Head, Op, Segment, Sequence, ShardId, Value};
use deltafold::store::Key;

use super::named::{Named, named};
use super::{Append, Checked, Oracle, Shard, Slot, Times, broken};
use crate::checks::*;

impl Oracle {
    /// Handles the creation of an object.
    pub(crate) fn created(&mut self, key: &Key, bytes: &Bytes) -> Checked {
        match named(key) {
            Named::Collection => {
                let config = CollectionConfig::decode(bytes.clone()).ok();
                self.revisions = config.as_ref().is_some_and(|config| config.ordering.is_revision());
                self.uid = config.map(|config| config.uid);
                self.dropping = false;
                Ok(())
            }
            Named::Head(shard) => {
                let head = Head::decode(bytes.clone()).ok();
                // A collection made anew begins empty.
                self.shards.insert(shard, Shard { head, ..Shard::default() });
                Ok(())
            }
            Named::Segment(shard, sequence) => self.segment(shard, sequence, bytes),
            Named::Manifest(..) | Named::Part(..) | Named::Note | Named::Other => Ok(()),
        }
    }

    fn segment(&mut self, id: ShardId, sequence: Sequence, bytes: &Bytes) -> Checked {
        let Ok(segment) = Segment::decode(bytes.clone()) else {
            return broken(INVENTED, format!("segment {} of shard {id} is not a segment", sequence.get()));
        };
        let Some(shard) = self.shards.get_mut(&id) else { return Ok(()) };
        // No reader reads a slot below `truncated`. A leftover of a dropped collection's writer
        // counts as empty.
        if sequence < shard.truncated() {
            return Ok(());
        }
        let ours = shard.head.as_ref().map(|head| head.collection);
        if ours != Some(segment.header().collection) {
            shard.voids.insert(sequence);
            shard.pass_voids();
            return Ok(());
        }
        if sequence != shard.last().next() {
            let (at, last) = (sequence.get(), shard.last().get());
            return broken(GAPS, format!("segment {at} of shard {id} is written, and the log ends with {last}"));
        }
        let whole: Vec<Op> =
            segment.ops().map(|(_, op)| op.map_embedding(|row| segment.vector(row).to_vec())).collect();
        let mut rest = &whole[..];
        while !rest.is_empty() {
            let number = segment.op(whole.len() - rest.len()).as_ref().and_then(append_of);
            let Some((number, append)) = number.and_then(|number| Some((number, self.appends.get_mut(number)?))) else {
                return broken(
                    INVENTED,
                    format!("segment {} of shard {id} holds an op that no writer appended", sequence.get()),
                );
            };
            rest = shard.land(id, sequence, rest, number, append)?;
        }
        let (ops, digest) = shard.sums.last().copied().unwrap_or_default();
        shard.sums.push((ops + whole.len() as u64, digest.plus(segment.header().digest)));
        shard.log.push(Slot { ops: whole });
        shard.pass_voids();
        Ok(())
    }
}

impl Shard {
    /// Takes the ops of an append from the front of those of a segment. Returns the rest.
    fn land<'a>(
        &mut self,
        id: ShardId,
        sequence: Sequence,
        ops: &'a [Op],
        number: usize,
        append: &mut Append,
    ) -> Checked<&'a [Op]> {
        let Some(portion) = append.portions.get_mut(&id) else {
            return broken(INVENTED, format!("append {number} has nothing for shard {id}"));
        };
        let Some(rest) = ops.strip_prefix(&portion.ops[..]) else {
            return broken(INVENTED, format!("append {number} is in segment {} in part or changed", sequence.get()));
        };
        if let Some(before) = portion.landed.filter(|_| append.times != Times::Any) {
            let (before, now) = (before.get(), sequence.get());
            return broken(ONCE, format!("append {number} is in segment {before} of shard {id}, and again in {now}"));
        }
        if sequence <= portion.after {
            let (now, after) = (sequence.get(), portion.after.get());
            return broken(
                REAL_TIME,
                format!("append {number} began after segment {after} was acknowledged, and is in {now}"),
            );
        }
        portion.landed.get_or_insert(sequence);
        self.keep_order(&append.times, &portion.ops)?;
        Ok(rest)
    }

    /// Checks the order of a source, and of its changes of each record.
    fn keep_order(&mut self, times: &Times, ops: &[Op]) -> Checked {
        match times {
            Times::Once | Times::Any => {}
            Times::At(source, position) => {
                let last = self.sources.entry(source.clone()).or_default();
                if *position <= *last {
                    return broken(SOURCE_ORDER, format!("position {position} of `{source}` stands behind {last}"));
                }
                *last = *position;
            }
            Times::Change(source, position) => {
                for op in ops {
                    let last = self.changes.entry((source.clone(), op.id.clone())).or_default();
                    if *position < *last {
                        let id = &op.id;
                        return broken(
                            CHANGE_ORDER,
                            format!("position {position} of `{source}` is of record `{id}` and stands behind {last}"),
                        );
                    }
                    *last = *position;
                }
            }
        }
        Ok(())
    }
}

/// The append that an op names.
fn append_of(op: &Op<u32>) -> Option<usize> {
    let record = match &op.action {
        deltafold::format::Action::Put(record) => record,
        _ => return None,
    };
    match record.metadata.get("append") {
        Some(Value::I64(number)) => usize::try_from(*number).ok(),
        _ => None,
    }
}
