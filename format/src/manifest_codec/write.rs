//! Writing the fields of a manifest.

use crate::codec::Writer;
use crate::manifest::{EditKind, Manifest, PartEntry, PartObject, Run};

pub(super) const FOLD: u8 = 1;
pub(super) const MERGE: u8 = 2;
pub(super) const PIN: u8 = 3;
pub(super) const UNPIN: u8 = 4;
pub(super) const SWEEP: u8 = 5;
pub(super) const REPAIR: u8 = 6;

pub(super) const META: u8 = 1;
pub(super) const EMBEDDINGS: u8 = 2;

pub(super) fn manifest(out: &mut Writer, of: &Manifest) {
    out.uid(of.collection);
    out.version(of.version);
    out.nonce(of.nonce);
    out.timestamp(of.published);
    out.u8(match of.edit.kind {
        EditKind::Fold => FOLD,
        EditKind::Merge => MERGE,
        EditKind::Pin => PIN,
        EditKind::Unpin => UNPIN,
        EditKind::Sweep => SWEEP,
        EditKind::Repair => REPAIR,
    });
    out.u64(of.edit.rows_in);
    out.u64(of.edit.rows_out);
    out.u64(of.edit.bytes_in);
    out.u64(of.edit.bytes_out);
    out.sequence(of.folded);
    out.sequence(of.truncated);
    out.version(of.sweep_floor);
    out.u64(of.ops);
    out.u128(of.digest.to_bits());
    out.sequence(of.marks_floor);
    list(out, &of.runs, run);
    list(out, &of.embeddings, |out, entry| {
        out.object_name(entry.name);
        out.u32(entry.rows);
        out.u32(entry.live);
        out.u64(entry.bytes);
        out.u32(entry.crc32);
    });
    list(out, &of.dropped, |out, dropped| {
        let (tag, name) = match dropped.object {
            PartObject::Meta(name) => (META, name),
            PartObject::Embeddings(name) => (EMBEDDINGS, name),
        };
        out.u8(tag);
        out.object_name(name);
        out.version(dropped.version);
    });
    list(out, &of.marks, |out, mark| {
        out.string(&mark.source);
        out.u128(mark.position);
        out.sequence(mark.sequence);
    });
    list(out, &of.ancestors, |out, ancestor| {
        out.version(ancestor.version);
        out.nonce(ancestor.nonce);
    });
    list(out, &of.pins, |out, pin| {
        out.string(&pin.name);
        out.version(pin.version);
        out.nonce(pin.nonce);
        out.nonce(pin.id);
        out.timestamp(pin.created);
        out.bool(pin.ttl_millis.is_some());
        if let Some(ttl) = pin.ttl_millis {
            out.u64(ttl);
        }
    });
}

fn run(out: &mut Writer, run: &Run) {
    out.nonce(run.id);
    out.u8(run.level);
    out.bool(run.resolved);
    out.sequence(run.first);
    out.sequence(run.last);
    out.u64(run.rows);
    out.times(run.times);
    list(out, &run.parts, part);
}

fn part(out: &mut Writer, part: &PartEntry) {
    out.object_name(part.name);
    out.u32(part.rows);
    out.u64(part.bytes);
    out.u64(part.front_bytes);
    out.u64(part.columns_end);
    out.u32(part.crc32);
    out.string(&part.min_id);
    out.string(&part.max_id);
    list(out, &part.embeddings, |out, name| out.object_name(*name));
}

/// The count of rows without a record in each part.
pub(super) fn absent(out: &mut Writer, of: &Manifest) {
    for part in of.runs.iter().flat_map(|run| &run.parts) {
        out.u32(part.absent.rows);
        out.timestamp(part.absent.oldest);
    }
}

fn list<T>(out: &mut Writer, items: &[T], mut item: impl FnMut(&mut Writer, &T)) {
    out.count(items.len());
    for each in items {
        item(out, each);
    }
}
