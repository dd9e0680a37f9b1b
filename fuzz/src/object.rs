//! Objects assembled from mutated bytes. A checksum stops every blind change. So the first byte of
//! an input says how much of it is mended before the decoder gets it. The code restates
//! `format/SPEC.md`, so it does not ask the crate under test for the form of its objects.

use bytes::Bytes;
use deltafold::format::codes::{CodeEncoder, sign_bytes};
use deltafold::format::{self, Encoding, Envelope, ObjectKind, Rotation};
use xxhash_rust::xxh3::xxh3_128;

/// Bytes of the envelope before the section table, and of one entry in it.
const FIXED: usize = 24;
const ENTRY: usize = 32;
const MIB: usize = 1 << 20;
/// Bytes of an embedding object's section that one checksum covers.
const BLOCK: usize = 16 << 10;
/// The most bytes of a section that are decompressed here.
const MOST: usize = 64 * MIB;

/// The extent of the mending: the first byte of an input, modulo 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mend {
    /// Nothing: the rest is the object.
    Nothing,
    /// The rest is an object, and its checksums are corrected.
    Checksums,
    /// The rest is sections, which get a right envelope.
    Envelope,
    /// The same, and statements of one section about another are corrected: counts, digests, tables
    /// of checksums, codes.
    Sections,
}

/// A section before it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Section {
    id: u16,
    zstd: bool,
    raw: Vec<u8>,
}

/// The object of this kind that an input describes.
pub fn from_input(kind: ObjectKind, input: &[u8]) -> Bytes {
    let Some((mend, rest)) = input.split_first() else { return Bytes::new() };
    let mend = match mend % 4 {
        0 => Mend::Nothing,
        1 => Mend::Checksums,
        2 => Mend::Envelope,
        _ => Mend::Sections,
    };
    match mend {
        Mend::Nothing => Bytes::copy_from_slice(rest),
        Mend::Checksums => with_right_checksums(rest),
        Mend::Envelope => assembled(kind, &sections_of_input(rest)),
        Mend::Sections => {
            let mut sections = sections_of_input(rest);
            match kind {
                ObjectKind::Segment => mend_segment(&mut sections),
                ObjectKind::Embeddings => mend_embeddings(&mut sections),
                ObjectKind::PartMeta => mend_part(&mut sections),
                _ => {}
            }
            assembled(kind, &sections)
        }
    }
}

/// The inputs that describe an object: one for each way to mend it, if it can be taken apart.
pub fn to_inputs(object: &[u8]) -> Vec<Vec<u8>> {
    let mut inputs: Vec<Vec<u8>> = [0, 1].map(|mend| [&[mend], object].concat()).into();
    if let Some(sections) = sections_of_object(object) {
        let raw = if kind(object) == Some(ObjectKind::PartMeta) {
            with_raw_pieces(sections.clone())
        } else {
            sections.clone()
        };
        for (mend, sections) in [(2, sections), (3, raw)] {
            inputs.push([&[mend][..], &input_of_sections(&sections)].concat());
        }
    }
    inputs
}

/// The kind of an object with a sound envelope.
pub fn kind(object: &[u8]) -> Option<ObjectKind> {
    Envelope::parse(object).ok().map(|envelope| envelope.kind())
}

/// The decoded bytes of a section of a sound object.
pub fn section(object: &[u8], id: u16) -> Option<Vec<u8>> {
    Envelope::parse(object).ok()?.section(id).and_then(|section| raw(object, section))
}

/// Sections as an input encodes them: their count, then id (with 128 for zstd) and length of each,
/// then their bytes. The last section takes the rest.
fn sections_of_input(input: &[u8]) -> Vec<Section> {
    let Some((count, rest)) = input.split_first() else { return Vec::new() };
    let count = usize::from(count % 16);
    let Some((table, mut bytes)) = rest.split_at_checked(3 * count) else { return Vec::new() };
    let mut sections: Vec<Section> = Vec::new();
    for (place, entry) in table.chunks_exact(3).enumerate() {
        let [id, low, high] = *entry else { continue };
        let len = if place + 1 == count { bytes.len() } else { usize::from(u16::from_le_bytes([low, high])) };
        let (raw, behind) = bytes.split_at(len.min(bytes.len()));
        bytes = behind;
        sections.push(Section { id: u16::from(id & 0x7f), zstd: id & 0x80 != 0, raw: raw.to_vec() });
    }
    sections
}

fn input_of_sections(sections: &[Section]) -> Vec<u8> {
    let mut out = vec![u8::try_from(sections.len()).unwrap_or(u8::MAX)];
    for section in sections {
        let [id, _] = section.id.to_le_bytes();
        let [low, high] = u16::try_from(section.raw.len()).unwrap_or(u16::MAX).to_le_bytes();
        out.extend([id | if section.zstd { 0x80 } else { 0 }, low, high]);
    }
    sections.iter().for_each(|section| out.extend_from_slice(&section.raw));
    out
}

fn sections_of_object(object: &[u8]) -> Option<Vec<Section>> {
    let envelope = Envelope::parse(object).ok()?;
    let section = |section: &format::Section| {
        let zstd = section.encoding == Encoding::Zstd;
        Some(Section { id: section.id, zstd, raw: raw(object, section)? })
    };
    envelope.sections().iter().map(section).collect()
}

/// The decoded bytes of a section in the object.
fn raw(object: &[u8], section: &format::Section) -> Option<Vec<u8>> {
    let start = usize::try_from(section.offset).ok()?;
    let stored = object.get(start..start.checked_add(usize::try_from(section.stored).ok()?)?)?;
    match section.encoding {
        Encoding::Raw => Some(stored.to_vec()),
        Encoding::Zstd => zstd::bulk::decompress(stored, usize::try_from(section.raw).ok()?.min(MOST)).ok(),
    }
}

/// An object of these sections. A duplicate id stays.
fn assembled(kind: ObjectKind, sections: &[Section]) -> Bytes {
    let stored: Vec<(&Section, u8, Vec<u8>)> = sections
        .iter()
        .map(|section| match section.zstd.then(|| zstd::bulk::compress(&section.raw, 1)) {
            Some(Ok(compressed)) => (section, 1, compressed),
            _ => (section, 0, section.raw.clone()),
        })
        .collect();
    let mut end = FIXED + ENTRY * sections.len() + 4;
    let mut table = Vec::new();
    for (section, encoding, bytes) in &stored {
        let offset = end.next_multiple_of(64);
        end = offset + bytes.len();
        table.extend_from_slice(&section.id.to_le_bytes());
        table.extend([*encoding, 0]);
        table.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
        for number in [offset, bytes.len(), section.raw.len()] {
            table.extend_from_slice(&(number as u64).to_le_bytes());
        }
    }
    let mut object = b"\x89DFOLD\r\n".to_vec();
    object.extend_from_slice(&kind.number().to_le_bytes());
    object.extend_from_slice(&1u16.to_le_bytes());
    object.extend_from_slice(&u16::try_from(sections.len()).unwrap_or(u16::MAX).to_le_bytes());
    object.extend([0; 2]);
    object.extend_from_slice(&(end as u64).to_le_bytes());
    object.extend(table);
    object.extend_from_slice(&crc32fast::hash(&object).to_le_bytes());
    for (_, _, bytes) in &stored {
        object.resize(object.len().next_multiple_of(64), 0);
        object.extend_from_slice(bytes);
    }
    object.into()
}

/// The object with the right crc32 for its envelope and for each section in it.
fn with_right_checksums(object: &[u8]) -> Bytes {
    let mut object = object.to_vec();
    let Some(count) = number(&object, 12, 2) else { return object.into() };
    for place in 0..count.min(16) {
        let entry = FIXED + ENTRY * place;
        let (Some(offset), Some(stored)) = (number(&object, entry + 8, 8), number(&object, entry + 16, 8)) else {
            break;
        };
        if let Some(bytes) = offset.checked_add(stored).and_then(|end| object.get(offset..end)) {
            let crc32 = crc32fast::hash(bytes);
            put(&mut object, entry + 4, &crc32.to_le_bytes());
        }
    }
    let end = FIXED + ENTRY * count;
    if let Some(envelope) = object.get(..end) {
        let crc32 = crc32fast::hash(envelope);
        put(&mut object, end, &crc32.to_le_bytes());
    }
    object.into()
}

/// The offsets of fields in a segment's header.
const SEQUENCE: usize = 16;
const OPS: usize = 64;
const DIMENSION: usize = 68;
const VECTORS: usize = 72;
const DIGEST: usize = 76;

/// Sets the header's counts and digest to those of the ops.
fn mend_segment(sections: &mut [Section]) {
    let raw = |id| sections.iter().find(|section| section.id == id).map_or(&[][..], |section| &section.raw);
    let (header, mut rows, mut vectors) = (raw(1), raw(2), raw(3));
    let Some(sequence) = number(header, SEQUENCE, 8) else { return };
    let stride = number(header, DIMENSION, 4).unwrap_or(0).saturating_mul(4);
    let (mut ops, mut used, mut digest) = (0u32, 0u32, 0u128);
    while let Some(len) = number(rows, 0, 4)
        && let Some(row) = rows.get(4..).and_then(|rest| rest.get(..len))
    {
        let mut op = row.to_vec();
        if has_vector(row) {
            let (vector, rest) = vectors.split_at(stride.min(vectors.len()));
            op.extend_from_slice(vector);
            (vectors, used) = (rest, used + 1);
        }
        let position = (sequence as u64) << 20 | u64::from(ops);
        let hashed = [&xxh3_128(&op).to_le_bytes()[..], &position.to_le_bytes()].concat();
        digest = digest.wrapping_add(xxh3_128(&hashed));
        ops += 1;
        rows = rows.get(4 + len..).unwrap_or_default();
    }
    if let Some(header) = sections.iter_mut().find(|section| section.id == 1) {
        put(&mut header.raw, OPS, &ops.to_le_bytes());
        put(&mut header.raw, VECTORS, &used.to_le_bytes());
        put(&mut header.raw, DIGEST, &digest.to_le_bytes());
    }
}

/// Whether the row of an op sets the embedding.
fn has_vector(row: &[u8]) -> bool {
    let Some((action, rest)) = row.split_first() else { return false };
    let id = number(rest, 0, 4).unwrap_or(usize::MAX);
    let revision = if action & 0x80 == 0 { 0 } else { 16 };
    let state = 4usize.checked_add(id).and_then(|at| rest.get(at.checked_add(revision)?));
    action & 0x7f != 5 && state == Some(&2)
}

/// Sets the count of rows, the codes and the table of checksums to those of the rows. The codes
/// alone come from the crate: its own tests compare them with those of another program.
fn mend_embeddings(sections: &mut [Section]) {
    let rows = sections.iter().find(|section| section.id == 9).map_or(Vec::new(), |section| section.raw.clone());
    let header = sections.iter().find(|section| section.id == 1).map_or(&[][..], |section| &section.raw);
    let dimension = number(header, 0, 4).unwrap_or(0).clamp(1, 1 << 16);
    let seed = number(header, 8, 8).unwrap_or(0) as u64;
    let count = u32::try_from(rows.len() / (dimension * 4)).unwrap_or(u32::MAX);
    let dimension = u32::try_from(dimension).unwrap_or(1);
    let mut encoder = CodeEncoder::new(Rotation::new(dimension, seed));
    let (mut signs, mut bytes) = (vec![0; sign_bytes(dimension)], vec![0; dimension as usize]);
    let mut codes: [Vec<u8>; 6] = Default::default();
    for row in rows.chunks_exact(dimension as usize * 4) {
        let row: Vec<f32> = row.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
        let factors = encoder.encode(&row, &mut signs, &mut bytes);
        let [norm, estimator, scale, residual] =
            [factors.norm, factors.estimator, factors.scale, factors.residual].map(f32::to_le_bytes);
        let parts: [&[u8]; 6] = [&norm, &estimator, &signs, &scale, &residual, &bytes];
        for (section, part) in codes.iter_mut().zip(parts) {
            section.extend_from_slice(part);
        }
    }
    let table: Vec<u8> = codes
        .iter()
        .chain([&rows])
        .flat_map(|section| section.chunks(BLOCK).flat_map(|block| crc32fast::hash(block).to_le_bytes()))
        .collect();
    for section in sections {
        match section.id {
            1 => put(&mut section.raw, 4, &count.to_le_bytes()),
            2 => section.raw.clone_from(&table),
            id @ 3..=8 => section.raw.clone_from(&codes[usize::from(id) - 3]),
            _ => {}
        }
    }
}

/// Sets the lengths and the checksums of pieces in a part's directory to those of raw pieces, and
/// leaves summaries out.
///
/// Each piece takes the number of bytes of its section that the directory gives. The last piece of
/// a section takes the rest.
fn mend_part(sections: &mut [Section]) {
    let raw = |id| sections.iter().find(|section| section.id == id).map_or(&[][..], |section| &section.raw);
    let (directory, mut values, mut documents) = (raw(3), raw(4), raw(5));
    let mut mended = Vec::new();
    let Some((columns, mut rest)) = count(directory) else { return };
    mended.extend_from_slice(&(columns as u32).to_le_bytes());
    for column in (0..columns).rev() {
        let Some(head) = number(rest, 0, 4).and_then(|key| rest.get(..4 + key + 9)) else { return };
        let Some(raw) = number(rest, head.len() + 4, 4) else { return };
        mended.extend_from_slice(head);
        mended.extend(sum(&mut values, raw, column == 0));
        mended.push(0);
        let kind = head.get(head.len() - 9).copied().unwrap_or_default();
        rest = rest.get(head.len() + 12..).and_then(|summary| behind_summary(summary, kind)).unwrap_or_default();
    }
    let Some((blocks, mut rest)) = count(rest) else { return };
    mended.extend_from_slice(&(blocks as u32).to_le_bytes());
    for block in (0..blocks).rev() {
        let (Some(head), Some(raw)) = (rest.get(..4), number(rest, 8, 4)) else { return };
        mended.extend_from_slice(head);
        mended.extend(sum(&mut documents, raw, block == 0));
        rest = rest.get(16..).unwrap_or_default();
    }
    if let Some(directory) = sections.iter_mut().find(|section| section.id == 3) {
        directory.raw = mended;
    }
}

/// A count, and the bytes behind it.
fn count(bytes: &[u8]) -> Option<(usize, &[u8])> {
    Some((number(bytes, 0, 4)?, bytes.get(4..)?))
}

/// The lengths and the checksum of the next piece, which is raw.
fn sum(section: &mut &[u8], raw: usize, last: bool) -> Vec<u8> {
    let len = if last { section.len() } else { raw.min(section.len()) };
    let (piece, rest) = section.split_at(len);
    *section = rest;
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    [len, len, crc32fast::hash(piece)].map(u32::to_le_bytes).concat()
}

/// The bytes behind the summary of a column.
fn behind_summary(summary: &[u8], kind: u8) -> Option<&[u8]> {
    let (form, rest) = summary.split_first()?;
    let texts = |count: usize, mut rest: &'_ [u8]| -> Option<usize> {
        let all = rest.len();
        for _ in 0..count {
            rest = rest.get(4 + number(rest, 0, 4)?..)?;
        }
        Some(all - rest.len())
    };
    let len = match (form, kind) {
        (0, _) => 0,
        (1, 1 | 5) => texts(2, rest)? + 1,
        (1, 4 | 8) => 4,
        (1, _) => 16,
        (_, 1 | 5) => 4 + texts(number(rest, 0, 4)?.min(16), rest.get(4..)?)?,
        _ => 4 + 8 * number(rest, 0, 4)?.min(16),
    };
    rest.get(len..)
}

/// Makes the pieces of a part raw, so that a mutation reaches their content.
fn with_raw_pieces(mut sections: Vec<Section>) -> Vec<Section> {
    let Some(directory) = sections.iter().find(|section| section.id == 3).map(|section| section.raw.clone()) else {
        return sections;
    };
    let mut lengths: [Vec<(usize, usize)>; 2] = Default::default();
    let mut walk = || -> Option<()> {
        let (columns, mut rest) = count(&directory)?;
        for _ in 0..columns {
            let at = 4 + number(rest, 0, 4)? + 9;
            lengths[0].push((number(rest, at, 4)?, number(rest, at + 4, 4)?));
            rest = behind_summary(rest.get(at + 12..)?, *rest.get(at - 9)?)?;
        }
        let (blocks, mut rest) = count(rest)?;
        for _ in 0..blocks {
            lengths[1].push((number(rest, 4, 4)?, number(rest, 8, 4)?));
            rest = rest.get(16..)?;
        }
        Some(())
    };
    let _ = walk();
    for (id, lengths) in [4, 5].into_iter().zip(lengths) {
        let Some(section) = sections.iter_mut().find(|section| section.id == id) else { continue };
        let (mut unpacked, mut stored) = (Vec::new(), &section.raw[..]);
        for (len, raw) in lengths {
            let (piece, rest) = stored.split_at(len.min(stored.len()));
            stored = rest;
            match zstd::bulk::decompress(piece, raw.min(MOST)) {
                Ok(content) if len < raw => unpacked.extend(content),
                _ => unpacked.extend_from_slice(piece),
            }
        }
        section.raw = unpacked;
    }
    sections
}

/// The little-endian number of `len` bytes at `at`.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<usize> {
    let mut number = [0; 8];
    number.get_mut(..len)?.copy_from_slice(bytes.get(at..at.checked_add(len)?)?);
    usize::try_from(u64::from_le_bytes(number)).ok()
}

/// Overwrites the bytes at `at`, if there are that many.
fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + new.len()) {
        place.copy_from_slice(new);
    }
}
