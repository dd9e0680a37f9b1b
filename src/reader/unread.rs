//! Few and large ops of the log beyond the memory limit: in the temporary file as they came from
//! the store.
//!
//! A segment with a document of 15 MiB is cheaper to decode again than to compose into a run. A
//! count reads none of them, a `get` one.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use deltafold_format::{Effect, Segment, Sequence};

use super::compose::{Composer, Row, under};
use super::layer::Layer;
use super::pools::{Charge, Pools};
use crate::env;
use crate::error::{Error, Result};
use crate::scratch::{Extent, damaged, failed};
use crate::shard::{Shard, Slot};

/// A read of one op decodes its whole segment. If reads of all ops would decode each segment more
/// often than this, a run is faster.
const DECODED_AGAIN: u64 = 4;

/// Consecutive segments, and their ops sorted by id, those of one id in log order. Immutable.
#[derive(Debug)]
pub(super) struct Unread {
    first: Sequence,
    last: Sequence,
    shard: Shard,
    ops: Vec<UnreadOp>,
    segments: Vec<Stored>,
    /// The segment read last: neighbours by id often are neighbours in the log.
    newest: Mutex<Option<(u32, Arc<Segment>)>>,
    /// The memory of the index.
    _charge: Arc<Charge>,
}

/// The index entry of an op.
#[derive(Debug, Clone)]
struct UnreadOp {
    id: Arc<str>,
    outline: Effect<()>,
    segment: u32,
    op: u32,
}

#[derive(Debug, Clone)]
struct Stored {
    sequence: Sequence,
    object: Arc<Extent>,
}

impl Unread {
    /// Moves the segments of a layer to the temporary file, behind those of `older`. `None` if they
    /// should become a run instead: their ops are small, or their index would take too much memory.
    pub(super) async fn write(
        shard: &Shard,
        older: Option<&Arc<Self>>,
        layer: &Arc<Layer>,
        pools: &Pools,
    ) -> Result<Option<Self>> {
        let decoded = |segment: &Segment| segment.decoded_bytes();
        let (mut all, mut again, mut whole) = (0, 0, layer.len() > 0);
        for (segment, object) in layer.segments() {
            all += decoded(segment);
            again += decoded(segment).saturating_mul(segment.len() as u64);
            whole &= !object.is_empty();
        }
        let known = older.map_or(&[][..], |older| &older.ops);
        let index = (known.len() + layer.len()) as u64 * size_of::<UnreadOp>() as u64 * 2;
        let large = all >= pools.limit.large_op().saturating_mul(layer.len() as u64);
        if !whole || !large || again > all.saturating_mul(DECODED_AGAIN) || index > pools.limit.overlay() / 4 {
            return Ok(None);
        }
        let (moved, scratch) = (layer.clone(), pools.scratch.clone());
        let stored = env::blocking(move || {
            let put = |(segment, object): (&Arc<Segment>, &bytes::Bytes)| {
                let object = Arc::new(scratch.put(std::slice::from_ref(object))?);
                Ok(Stored { sequence: segment.header().sequence, object })
            };
            moved.segments().map(put).collect::<std::io::Result<Vec<_>>>()
        });
        let stored = stored.await.map_err(failed)?;
        let mut segments = older.map_or_else(Vec::new, |older| older.segments.clone());
        let shift = segments.len();
        segments.extend(stored);
        let op = |(at, (segment, op)): (usize, (usize, usize))| {
            let outline = layer.ops(at..at + 1).next().and_then(|(segment, op)| segment.outline(op))?;
            let number = |number: usize| u32::try_from(number).ok();
            Some(UnreadOp { id: layer.id(at).into(), outline, segment: number(shift + segment)?, op: number(op)? })
        };
        let new = layer.places().enumerate().filter_map(op);
        let mut ops: Vec<UnreadOp> = known.iter().cloned().chain(new).collect();
        // Stable, so that the ops of one id stay in log order.
        ops.sort_by(|a, b| a.id.cmp(&b.id));
        let first = older.map_or(layer.slots().0, |older| older.first);
        let charge = pools.overlay.take(index);
        let newest = Mutex::new(None);
        let last = layer.slots().1;
        Ok(Some(Self { first, last, shard: shard.clone(), ops, segments, newest, _charge: charge }))
    }

    /// Its first and its last slot.
    pub(super) fn slots(&self) -> (Sequence, Sequence) {
        (self.first, self.last)
    }

    /// Number of ops, which are numbered in the order of their ids.
    pub(super) fn len(&self) -> usize {
        self.ops.len()
    }

    /// The id of op `at`.
    pub(super) fn id(&self, at: usize) -> &str {
        self.ops.get(at).map_or("", |op| &op.id)
    }

    /// The first op from `from` on whose id is not `id`.
    pub(super) fn end_of(&self, id: &str, from: usize) -> usize {
        from + self.ops.iter().skip(from).take_while(|op| *op.id == *id).count()
    }

    /// The ops of an id.
    pub(super) fn find(&self, id: &str) -> Range<usize> {
        let start = self.ops.partition_point(|op| *op.id < *id);
        start..self.end_of(id, start)
    }

    /// The effect of ops of one id, without their content. Reads nothing.
    pub(super) fn outline(&self, ops: Range<usize>) -> Option<Effect<()>> {
        self.ops.get(ops).unwrap_or_default().iter().rev().map(|op| Some(op.outline.clone())).fold(None, under)
    }

    /// Adds ops of one id under the rows in `composer`. Reads those whose content matters.
    pub(super) async fn compose(&self, ops: Range<usize>, composer: &mut Composer) -> Result<()> {
        for op in self.ops.get(ops).unwrap_or_default().iter().rev() {
            if composer.is_final() {
                break;
            }
            let read =
                if composer.needs_content() { Some((self.read(op.segment).await?, op.op as usize)) } else { None };
            composer.under(Row::Unread(&op.outline, read))?;
        }
        Ok(())
    }

    /// A segment, read from the temporary file.
    async fn read(&self, number: u32) -> Result<Arc<Segment>> {
        if let Some((_, segment)) = self.newest().as_ref().filter(|(newest, _)| *newest == number) {
            return Ok(segment.clone());
        }
        // It is dropped before the next one is read.
        *self.newest() = None;
        let Some(Stored { sequence, object }) = self.segments.get(number as usize).cloned() else {
            return Err(damaged(&Error::invalid("a segment is missing")));
        };
        let shard = self.shard.clone();
        let read = env::blocking(move || {
            let bytes = object.get().map_err(failed)?;
            shard.decode_slot(sequence, bytes).map_err(|error| damaged(&error))
        });
        let Slot::Segment(segment) = read.await? else {
            return Err(damaged(&Error::invalid("a segment belongs to another collection")));
        };
        *self.newest() = Some((number, segment.clone()));
        Ok(segment)
    }

    fn newest(&self) -> std::sync::MutexGuard<'_, Option<(u32, Arc<Segment>)>> {
        // Each change is a single assignment.
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
