//! Reading the fields of a manifest.

use super::write::{EMBEDDINGS, FOLD, MERGE, META, PIN, REPAIR, SWEEP, UNPIN};
use crate::codec::Cursor;
use crate::digest::Digest;
use crate::error::FormatError;
use crate::manifest::{
    Ancestor, Dropped, EditKind, EditSummary, EmbeddingEntry, Manifest, Mark, PartEntry, PartObject, Pin, Run,
};
use crate::part::Absent;

/// Fewest bytes of each kind of entry, to refuse a count before allocating for it.
const RUN_BYTES: usize = 54;
const PART_BYTES: usize = 60;
const EMBEDDING_BYTES: usize = 36;
const DROPPED_BYTES: usize = 25;
const MARK_BYTES: usize = 28;
const ANCESTOR_BYTES: usize = 16;
const PIN_BYTES: usize = 37;
const NAME_BYTES: usize = 16;

pub(super) fn manifest(from: &mut Cursor<'_>) -> Result<Manifest, FormatError> {
    // A struct expression evaluates its fields in the order in which they are written.
    Ok(Manifest {
        collection: from.uid()?,
        version: from.version()?,
        nonce: from.nonce()?,
        published: from.timestamp()?,
        edit: edit(from)?,
        folded: from.sequence()?,
        truncated: from.sequence()?,
        sweep_floor: from.version()?,
        ops: from.u64()?,
        digest: Digest::from_bits(from.u128()?),
        marks_floor: from.sequence()?,
        runs: from.list(RUN_BYTES, run)?,
        embeddings: from.list(EMBEDDING_BYTES, |from| {
            Ok(EmbeddingEntry {
                name: from.object_name()?,
                rows: from.u32()?,
                live: from.u32()?,
                bytes: from.u64()?,
                crc32: from.u32()?,
            })
        })?,
        dropped: from.list(DROPPED_BYTES, dropped)?,
        marks: from.list(MARK_BYTES, |from| {
            Ok(Mark { source: from.string()?.to_owned(), position: from.u128()?, sequence: from.sequence()? })
        })?,
        ancestors: from.list(ANCESTOR_BYTES, |from| Ok(Ancestor { version: from.version()?, nonce: from.nonce()? }))?,
        pins: from.list(PIN_BYTES, pin)?,
        config: None,
    })
}

fn edit(from: &mut Cursor<'_>) -> Result<EditSummary, FormatError> {
    let kind = match from.u8()? {
        FOLD => EditKind::Fold,
        MERGE => EditKind::Merge,
        PIN => EditKind::Pin,
        UNPIN => EditKind::Unpin,
        SWEEP => EditKind::Sweep,
        REPAIR => EditKind::Repair,
        other => return Err(from.invalid(format!("the edit has the unknown kind {other}"))),
    };
    Ok(EditSummary { kind, rows_in: from.u64()?, rows_out: from.u64()?, bytes_in: from.u64()?, bytes_out: from.u64()? })
}

fn run(from: &mut Cursor<'_>) -> Result<Run, FormatError> {
    Ok(Run {
        id: from.nonce()?,
        level: from.u8()?,
        resolved: from.bool()?,
        first: from.sequence()?,
        last: from.sequence()?,
        rows: from.u64()?,
        times: from.times()?,
        parts: from.list(PART_BYTES, part)?,
    })
}

fn part(from: &mut Cursor<'_>) -> Result<PartEntry, FormatError> {
    Ok(PartEntry {
        name: from.object_name()?,
        rows: from.u32()?,
        bytes: from.u64()?,
        front_bytes: from.u64()?,
        columns_end: from.u64()?,
        crc32: from.u32()?,
        min_id: from.string()?.to_owned(),
        max_id: from.string()?.to_owned(),
        embeddings: from.list(NAME_BYTES, Cursor::object_name)?,
        absent: Absent::default(),
    })
}

/// The count of rows without a record in each part, in the order of runs and parts.
pub(super) fn absent(from: &mut Cursor<'_>, manifest: &mut Manifest) -> Result<(), FormatError> {
    for part in manifest.runs.iter_mut().flat_map(|run| &mut run.parts) {
        part.absent = Absent { rows: from.u32()?, oldest: from.timestamp()? };
    }
    if manifest.absent_rows() == 0 {
        return Err(from.invalid("it lists rows without a record, and has none"));
    }
    Ok(())
}

fn dropped(from: &mut Cursor<'_>) -> Result<Dropped, FormatError> {
    let object = match from.u8()? {
        META => PartObject::Meta(from.object_name()?),
        EMBEDDINGS => PartObject::Embeddings(from.object_name()?),
        other => return Err(from.invalid(format!("a dropped object has the unknown kind {other}"))),
    };
    Ok(Dropped { object, version: from.version()? })
}

fn pin(from: &mut Cursor<'_>) -> Result<Pin, FormatError> {
    Ok(Pin {
        name: from.string()?.to_owned(),
        version: from.version()?,
        nonce: from.nonce()?,
        id: from.nonce()?,
        created: from.timestamp()?,
        ttl_millis: if from.bool()? { Some(from.u64()?) } else { None },
    })
}
