//! Reports of the engine as dataclasses of `deltafold.reports`.

use deltafold::format::{EditKind, HeadPlace, Ordering, Sequence, ShardId, Timestamp, Version};
use deltafold::{
    Ack, CollectionStatus, CompactReport, CopyReport, DropReport, Finding, History, Refreshed, SweepReport,
    VerifyReport,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// A dataclass of `deltafold.reports` with these fields.
macro_rules! report {
    ($py:expr, $class:literal, $($field:ident: $value:expr),+ $(,)?) => {{
        let fields = PyDict::new($py);
        $(fields.set_item(stringify!($field), $value)?;)+
        $py.import("deltafold.reports")?.getattr($class)?.call((), Some(&fields))
    }};
}

/// Seconds since 1970.
fn seconds(time: Timestamp) -> f64 {
    time.as_millis() as f64 / 1_000.0
}

/// The acknowledgement of several appends.
#[derive(Default)]
pub(crate) struct Acks {
    segments: Vec<(u16, u64)>,
    duplicates: usize,
    appended: usize,
    /// Ops that were handed over.
    ops: usize,
}

impl Acks {
    pub(crate) fn add(&mut self, ack: &Ack, ops: usize) {
        let numbers = |(shard, sequence): &(ShardId, Sequence)| (shard.get(), sequence.get());
        self.segments.extend(ack.segments().iter().map(numbers));
        let duplicates = if ack.is_duplicate() { ops } else { ack.duplicates() };
        self.duplicates += duplicates;
        self.appended += ops.saturating_sub(duplicates);
        self.ops += ops;
    }

    /// Number of ops acknowledged.
    pub(crate) fn ops(&self) -> usize {
        self.ops
    }

    pub(crate) fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        report!(py, "Ack",
            segments: &self.segments,
            appended: self.appended,
            duplicates: self.duplicates,
        )
    }
}

pub(crate) fn compacted<'py>(py: Python<'py>, compacted: &CompactReport) -> PyResult<Bound<'py, PyAny>> {
    let edits = PyList::empty(py);
    for event in &compacted.events {
        edits.append(report!(py, "Edit",
            shard: event.shard.get(),
            kind: event.kind.name(),
            version: event.version.map(Version::get),
            rows_in: event.rows_in,
            rows_out: event.rows_out,
            bytes_in: event.bytes_in,
            bytes_out: event.bytes_out,
            segments: event.segments,
        )?)?;
    }
    report!(py, "CompactReport",
        edits: edits,
        folds: compacted.published(EditKind::Fold),
        merges: compacted.published(EditKind::Merge),
        conflicts: compacted.conflicts(),
        bytes_out: compacted.bytes_out(),
    )
}

pub(crate) fn swept<'py>(py: Python<'py>, swept: &[(ShardId, SweepReport)]) -> PyResult<Bound<'py, PyAny>> {
    let sum = |of: fn(&SweepReport) -> u64| swept.iter().map(|(_, report)| of(report)).sum::<u64>();
    let pins: Vec<&String> = swept.iter().flat_map(|(_, report)| &report.expired_pins).collect();
    report!(py, "SweepReport",
        segments: sum(|report| report.segments),
        manifests: sum(|report| report.manifests),
        parts: sum(|report| report.parts),
        bytes: sum(|report| report.bytes),
        uploads: sum(|report| report.uploads),
        expired_pins: pins,
    )
}

fn findings<'py>(py: Python<'py>, found: &[Finding]) -> PyResult<Bound<'py, PyList>> {
    let findings = PyList::empty(py);
    for finding in found {
        findings.append(report!(py, "Finding",
            shard: finding.shard.get(),
            key: &finding.key,
            problem: &finding.problem,
        )?)?;
    }
    Ok(findings)
}

pub(crate) fn verified<'py>(py: Python<'py>, verified: &VerifyReport) -> PyResult<Bound<'py, PyAny>> {
    report!(py, "VerifyReport",
        is_sound: verified.is_sound(),
        findings: findings(py, &verified.findings)?,
        notes: findings(py, &verified.notes)?,
        objects: verified.objects,
        bytes: verified.bytes,
        rows: verified.rows,
        ops: verified.ops,
        unreferenced: verified.unreferenced,
    )
}

pub(crate) fn status<'py>(py: Python<'py>, status: &CollectionStatus) -> PyResult<Bound<'py, PyAny>> {
    let shards = PyList::empty(py);
    for shard in &status.shards {
        let runs = PyList::empty(py);
        for run in &shard.runs {
            runs.append(report!(py, "RunStatus",
                level: run.level,
                first: run.first.get(),
                last: run.last.get(),
                rows: run.rows,
                parts: run.parts,
                bytes: run.bytes,
            )?)?;
        }
        let pins = PyList::empty(py);
        for pin in &shard.pins {
            pins.append(report!(py, "PinStatus",
                name: &pin.name,
                version: pin.version.get(),
                created: seconds(pin.created),
                expires: pin.expires.map(seconds),
            )?)?;
        }
        shards.append(report!(py, "ShardStatus",
            shard: shard.shard.get(),
            version: shard.version.get(),
            published: seconds(shard.published),
            folded: shard.folded.get(),
            tail: shard.tail.get(),
            truncated: shard.truncated.get(),
            unfolded_bytes: shard.unfolded_bytes,
            ops: shard.ops,
            runs: runs,
            embedding_objects: shard.embedding_objects,
            embedding_bytes: shard.embedding_bytes,
            embedding_rows: shard.embedding_rows,
            live_embedding_rows: shard.live_embedding_rows,
            dropped_objects: shard.dropped_objects,
            pins: pins,
            damage: findings(py, &shard.damage)?,
        )?)?;
    }
    report!(py, "Status", config: config(py, &status.config)?, shards: shards)
}

pub(crate) fn config<'py>(
    py: Python<'py>,
    config: &deltafold::format::CollectionConfig,
) -> PyResult<Bound<'py, PyAny>> {
    let keep_tombstones = match config.ordering {
        Ordering::Revision { keep_tombstones_millis } => Some(keep_tombstones_millis as f64 / 1_000.0),
        Ordering::Log => None,
    };
    let heads = match &config.heads {
        HeadPlace::Store => None,
        elsewhere => Some(elsewhere.to_string()),
    };
    report!(py, "Config",
        dimension: config.dimension,
        metric: config.metric.name(),
        shards: config.shards,
        ordering: if config.ordering.is_revision() { "revision" } else { "log" },
        keep_tombstones: keep_tombstones,
        created: seconds(config.created),
        heads: heads,
        uid: config.uid.to_string(),
    )
}

pub(crate) fn history<'py>(py: Python<'py>, history: &History) -> PyResult<Bound<'py, PyAny>> {
    let versions = PyList::empty(py);
    for entry in &history.versions {
        versions.append(report!(py, "HistoryEntry",
            shard: entry.shard.get(),
            version: entry.version.get(),
            published: seconds(entry.published),
            kind: entry.edit.kind.name(),
            rows_in: entry.edit.rows_in,
            rows_out: entry.edit.rows_out,
            bytes_in: entry.edit.bytes_in,
            bytes_out: entry.edit.bytes_out,
            folded: entry.folded.get(),
            ops: entry.ops,
            runs: entry.runs,
            rows: entry.rows,
        )?)?;
    }
    report!(py, "History", versions: versions, damage: findings(py, &history.damage)?)
}

pub(crate) fn copied<'py>(py: Python<'py>, copied: &CopyReport) -> PyResult<Bound<'py, PyAny>> {
    report!(py, "CopyReport",
        transfers: copied.transfers,
        written: copied.written,
        deleted: copied.deleted,
        ops: copied.ops,
        repeated: copied.repeated,
        compared: copied.compared,
        following: copied.following,
        verified: copied.verified.map(|(records, _)| records),
        digest: copied.verified.map(|(_, digest)| digest.to_string()),
    )
}

pub(crate) fn dropped<'py>(py: Python<'py>, dropped: &DropReport) -> PyResult<Bound<'py, PyAny>> {
    report!(py, "DropReport", objects: dropped.objects, bytes: dropped.bytes)
}

pub(crate) fn refreshed<'py>(py: Python<'py>, refreshed: &Refreshed) -> PyResult<Bound<'py, PyAny>> {
    let versions: Vec<u64> = refreshed.shards.iter().map(|shard| shard.to_version.get()).collect();
    report!(py, "Refreshed", changed: refreshed.changed(), new_ops: refreshed.new_ops(), versions: versions)
}
