//! Folding: log segments become a new run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deltafold_format::{Effect, EmbeddingRef, Manifest, Mark, Run, Segment, Sequence, TimeRange, Timestamp};

use super::run_writer::RunWriter;
use crate::env;
use crate::error::{Error, Result};
use crate::log::writer_source;
use crate::retry;
use crate::shard::{Shard, Slot};
use crate::simulation::Guard;
use crate::snapshot::{Accounting, Fold, OpSum, Reading};

/// An embedding in one of the segments being folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct InSegment {
    segment: usize,
    row: u32,
}

/// The segments of a fold, composed by id.
struct Composed {
    /// In id order.
    rows: Vec<(String, Effect<InSegment>)>,
    consumed: OpSum,
}

/// Folds the segments in `slots`, which follow what `manifest` has folded, into a run that is written but not published.
/// Costs one PUT for each part and embedding object, no GET; one look at the store's clock by revision, else now and then. Memory: the segments, and one object of each kind being filled.
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
    let composed = {
        let segments = segments.clone();
        env::blocking(move || compose(&segments)).await
    };
    let composed = composed.map_err(|(sequence, error)| Error::format(&shard.layout().segment(sequence), error))?;

    let resolved = manifest.runs.is_empty();
    // After the ops were appended, so that what they say is not taken for older than it is.
    let now = match shard.config().ordering.is_revision() {
        true => Some(retry::transient(|| shard.store().now()).await?),
        false => None,
    };
    let reading = read_clock(shard, manifest, forget_after, now).await;
    let mut accounting = Accounting { rows_in: composed.consumed.ops, ..Accounting::default() };
    accounting.composed = accounting.rows_in - composed.rows.len() as u64;
    let mut writer = RunWriter::new(shard.clone(), manifest.version);
    for (id, mut effect) in composed.rows {
        if let Some(now) = now {
            effect.date(now);
        }
        if effect.is_nothing() {
            accounting.absent += 1;
            continue;
        }
        if resolved {
            // What revisions say for the first time is too young to be forgotten.
            let Some(record) = effect.into_base(Timestamp::from_millis(i64::MIN)) else {
                accounting.absent += 1;
                continue;
            };
            effect = record;
        }
        let embeddings = place(&mut writer, &segments, &effect).await?;
        let effect = effect.map_embedding(&mut |from| embeddings.lookup(from));
        writer.push(&id, &effect).await?;
    }
    let written = writer.finish().await?;
    // A version that has folded what is not durable would be missing a part of the log before it.
    shard.settle_log().await?;
    accounting.rows_out = written.rows;
    accounting.bytes_in = segments.iter().map(|segment| segment.bytes()).sum();
    accounting.bytes_out = written.bytes;

    let mut held = OpSum::default();
    for segment in segments.iter() {
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
    let marks = marks(&segments);
    Ok(Fold { run, embeddings: written.embeddings, held, consumed: composed.consumed, marks, reading, accounting })
}

/// The store's clock, where it is time to look which sources are silent. That is no reason for a fold to fail.
async fn read_clock(
    shard: &Shard,
    manifest: &Manifest,
    forget_after: Duration,
    known: Option<Timestamp>,
) -> Option<Reading> {
    let now = match known {
        Some(now) => now,
        None if Reading::is_due(manifest, shard.env().now(), forget_after) => {
            let now = retry::transient(|| shard.store().now()).await;
            now.inspect_err(|error| tracing::debug!(%error, "no source is forgotten now")).ok()?
        }
        None => return None,
    };
    Some(Reading { now, forget_after })
}

/// Composes the ops of each id, in log order, and counts every op that goes in.
fn compose(segments: &[Arc<Segment>]) -> Result<Composed, (Sequence, deltafold_format::FormatError)> {
    let mut all = Vec::with_capacity(segments.iter().map(|segment| segment.len()).sum());
    let mut consumed = OpSum::default();
    for (number, segment) in segments.iter().enumerate() {
        for (index, (_, op)) in segment.ops().enumerate() {
            if number + index > 0 && index + 1 == segment.len() && !Guard::EveryOpFolded.holds() {
                continue;
            }
            consumed.add(1, segment.op_digest(index).unwrap_or_default());
            let op = op.map_embedding(|row| InSegment { segment: number, row });
            all.push((op.id, Effect::from_op(op.action, segment.place(index))));
        }
    }
    // Stable, so that the ops of one id stay in log order.
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let mut rows: Vec<(String, Effect<InSegment>)> = Vec::with_capacity(all.len());
    for (id, newer) in all {
        match rows.pop() {
            Some((last, older)) if last == id => rows.push((id, older.then(newer))),
            last => {
                rows.extend(last);
                rows.push((id, newer));
            }
        }
    }
    Ok(Composed { rows, consumed })
}

/// Where the embeddings of one row were copied to: at most two, of the absent and of the present case.
#[derive(Default)]
struct Placed(Vec<(InSegment, EmbeddingRef)>);

impl Placed {
    fn lookup(&self, from: InSegment) -> EmbeddingRef {
        let placed = self.0.iter().find(|(source, _)| *source == from);
        placed.expect("every embedding of the row was placed before it was mapped").1
    }
}

/// Copies the embeddings that a row carries.
async fn place(writer: &mut RunWriter, segments: &[Arc<Segment>], effect: &Effect<InSegment>) -> Result<Placed> {
    let mut placed = Placed::default();
    for from in effect.embeddings() {
        if placed.0.iter().all(|(source, _)| source != from) {
            let to = writer.embed(segments[from.segment].vector(from.row)).await?;
            placed.0.push((*from, to));
        }
    }
    Ok(placed)
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
            // A change that came late is heard of its source all the same.
            known.sequence = header.sequence;
        }
    }
    marks.into_values().collect()
}
