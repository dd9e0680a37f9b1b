//! Folding turns log segments into a new run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deltafold_format::{Effect, EmbeddingRef, Manifest, Mark, Run, Segment, Sequence, TimeRange, Timestamp};

use super::ops::{InSegment, Ops};
use super::run_writer::RunWriter;
use crate::env;
use crate::error::{Error, Result};
use crate::log::writer_source;
use crate::retry;
use crate::shard::{Shard, Slot};
use crate::snapshot::{Accounting, ClockSample, Fold, OpSum};

/// Folds the segments in `slots`, which follow the last one folded in `manifest`, into a run that
/// is written but not published.
///
/// Costs one PUT for each part and embedding object, and no GET. A collection ordered by revision
/// also costs one request for the store's clock, others about one a day. Memory: the segments, an
/// index of 16 bytes an op, the ops of one id, and the buffers of the run writer.
pub(crate) async fn fold(
    shard: &Shard,
    manifest: &Manifest,
    slots: &[(Sequence, Slot)],
    forget_after: Duration,
) -> Result<Fold> {
    let first = manifest.folded.next();
    let last = slots.last().map_or(manifest.folded, |(sequence, _)| *sequence);
    let segments: Arc<[Arc<Segment>]> = slots
        .iter()
        .filter_map(|(_, slot)| if let Slot::Segment(segment) = slot { Some(segment.clone()) } else { None })
        .collect();
    let ops = env::blocking(move || Ops::sorted(segments)).await;

    let resolved = manifest.runs.is_empty();
    // Read after the ops were appended, so that none of them seems older than it is.
    let now = match shard.config().ordering.is_revision() {
        true => Some(retry::transient(|| shard.store().now()).await?),
        false => None,
    };
    let sample = sample_clock(shard, manifest, forget_after, now).await;
    let mut accounting = Accounting { rows_in: ops.consumed().ops, ..Accounting::default() };
    accounting.composed = accounting.rows_in;
    let mut writer = RunWriter::new(shard.clone(), manifest.version);
    for record in ops.by_record() {
        let Some((id, mut effect)) = record else {
            return Err(Error::corrupt(&shard.layout().segment(first), "an op in it, or behind it, cannot be read"));
        };
        accounting.composed -= 1;
        if let Some(now) = now {
            effect.date(now);
        }
        if effect.is_nothing() {
            accounting.absent += 1;
            continue;
        }
        if resolved {
            // Absences that these ops state are too young to be forgotten.
            let Some(record) = effect.into_base(Timestamp::from_millis(i64::MIN)) else {
                accounting.absent += 1;
                continue;
            };
            effect = record;
        }
        let embeddings = copy(&mut writer, &ops, &effect).await?;
        let effect = effect.map_embedding(&mut |from| embeddings.lookup(from));
        writer.push(id, &effect).await?;
    }
    let written = writer.finish().await?;
    let segments = ops.segments();
    // A version must not fold segments that are not durable: a part of the log before it could then
    // be missing.
    shard.settle_log().await?;
    accounting.rows_out = written.rows;
    accounting.bytes_in = segments.iter().map(|segment| segment.bytes()).sum();
    accounting.bytes_out = written.bytes;

    let mut held = OpSum::default();
    for segment in segments {
        held.add(u64::from(segment.header().ops), segment.header().digest);
    }
    let run = Run {
        id: shard.env().nonce(),
        level: 0,
        resolved,
        first,
        last,
        rows: written.rows,
        times: segments.iter().map(|s| s.header().times).reduce(TimeRange::union).unwrap_or_default(),
        parts: written.parts,
    };
    let marks = marks(segments);
    Ok(Fold { run, embeddings: written.embeddings, held, consumed: ops.consumed(), marks, sample, accounting })
}

/// The store's clock, when a check for silent sources is due. Its failure does not fail the fold.
async fn sample_clock(
    shard: &Shard,
    manifest: &Manifest,
    forget_after: Duration,
    known: Option<Timestamp>,
) -> Option<ClockSample> {
    let now = match known {
        Some(now) => now,
        None if ClockSample::is_due(manifest, shard.env().now(), forget_after) => {
            let now = retry::transient(|| shard.store().now()).await;
            now.inspect_err(|error| tracing::debug!(%error, "no source is forgotten now")).ok()?
        }
        None => return None,
    };
    Some(ClockSample { now, forget_after })
}

/// The copies of one row's embeddings: at most two, for the absent and for the present case.
#[derive(Default)]
struct Copies(Vec<(InSegment, EmbeddingRef)>);

impl Copies {
    fn lookup(&self, from: InSegment) -> EmbeddingRef {
        let found = self.0.iter().find(|(source, _)| *source == from);
        found.expect("every embedding of the row was copied before it was mapped").1
    }
}

/// Copies the embeddings that a row carries.
async fn copy(writer: &mut RunWriter, ops: &Ops, effect: &Effect<InSegment>) -> Result<Copies> {
    let mut copies = Copies::default();
    for from in effect.embeddings() {
        if copies.0.iter().all(|(source, _)| source != from) {
            let to = writer.embed(ops.vector(*from)).await?;
            copies.0.push((*from, to));
        }
    }
    Ok(copies)
}

/// The highest position of each source, writers among them.
fn marks(segments: &[Arc<Segment>]) -> Vec<Mark> {
    let mut marks: BTreeMap<String, Mark> = BTreeMap::new();
    for segment in segments {
        let header = segment.header();
        let writer = (writer_source(header.writer), u128::from(header.batch));
        let sources = header.marks.iter().map(|mark| (mark.source.clone(), mark.position));
        for (source, position) in sources.chain([writer]) {
            let mark = Mark { source: source.clone(), position, sequence: header.sequence };
            let known = marks.entry(source).or_insert_with(|| mark.clone());
            if position >= known.position {
                *known = mark;
            }
            // A late change, too, proves its source alive.
            known.sequence = header.sequence;
        }
    }
    marks.into_values().collect()
}
