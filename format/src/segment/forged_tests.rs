//! Segments that a broken writer could make. Every checksum and the digest are right, and the
//! decoder must still refuse the content.

use bytes::Bytes;

use super::header::SegmentHeader;
use super::{Segment, row, section};
use crate::codec::Writer;
use crate::digest::OpHash;
use crate::envelope::{Compress, EnvelopeWriter, ObjectKind};
use crate::error::FormatErrorKind as Kind;
use crate::name::{Sequence, TimeRange, Uid};
use crate::op::Op;
use crate::record::{Change, Metadata, Patch, Record, Value};

/// A segment of these rows and embeddings of dimension 1. For the hash, `with` says which rows
/// carry an embedding.
fn forge(rows: &[Vec<u8>], embeddings: &[f32], with: &[bool]) -> Result<Segment, Kind> {
    let bytes: Vec<u8> = embeddings.iter().flat_map(|number| number.to_le_bytes()).collect();
    let mut vectors = bytes.chunks_exact(4);
    let hashes: Vec<OpHash> = (rows.iter().zip(with))
        .map(|(row, with)| OpHash::of(row, if *with { vectors.next().unwrap_or_default() } else { &[] }))
        .collect();
    let mut ops = Vec::new();
    for row in rows {
        ops.extend_from_slice(&u32::try_from(row.len()).unwrap().to_le_bytes());
        ops.extend_from_slice(row);
    }
    let header = SegmentHeader {
        collection: Uid::new(1),
        sequence: Sequence::FIRST,
        writer: Uid::new(1),
        batch: 1,
        times: TimeRange::default(),
        marks: Vec::new(),
        ops: u32::try_from(rows.len()).unwrap(),
        digest: super::body::digest(&hashes, Sequence::FIRST),
        dimension: 1,
        vectors: u32::try_from(embeddings.len()).unwrap(),
        passed: 0,
    };
    let mut out = EnvelopeWriter::new(ObjectKind::Segment);
    out.section(section::HEADER, header.encode(), Compress::Never);
    out.section(section::OPS, ops, Compress::WhenSmaller);
    if !bytes.is_empty() {
        out.section(section::EMBEDDINGS, bytes, Compress::Never);
    }
    let object: Bytes = out.finish().to_bytes();
    Segment::decode(object).map_err(|error| error.kind())
}

fn row_of(op: &Op) -> Vec<u8> {
    let mut out = Writer::default();
    row::write(&mut out, op);
    out.into_vec()
}

fn put(embedding: Option<f32>) -> Vec<u8> {
    row_of(&Op::put("r", Record { embedding: embedding.map(|number| vec![number]), ..Record::default() }))
}

/// A put of record `r` whose metadata list is these bytes.
fn with_metadata(count: u32, entries: &[u8]) -> Vec<u8> {
    let row = put(None);
    [&row[..row.len() - 4], &count.to_le_bytes(), entries].concat()
}

fn one(row: Vec<u8>) -> Result<Segment, Kind> {
    forge(&[row], &[], &[false])
}

#[test]
fn the_forge_makes_sound_segments_too() {
    assert_eq!(forge(&[put(Some(1.0)), put(None)], &[1.0], &[true, false]).unwrap().len(), 2);
    assert!(one(with_metadata(2, b"\x01\0\0\0a\x04\x01\x01\0\0\0b\x04\0")).is_ok());
}

#[test]
fn embeddings_must_be_finite_and_as_many_as_the_ops_carry() {
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(forge(&[put(Some(number))], &[number], &[true]).unwrap_err(), Kind::Invalid);
    }
    let rows = [put(Some(1.0)), put(None)];
    assert_eq!(forge(&rows, &[1.0, 2.0], &[true, false]).unwrap_err(), Kind::Invalid, "one too many");
    assert_eq!(forge(&[put(Some(1.0))], &[], &[true]).unwrap_err(), Kind::Invalid, "one too few");
}

#[test]
fn metadata_must_be_in_order_and_within_limits() {
    let refused = |row| assert_eq!(one(row).unwrap_err(), Kind::Invalid);
    refused(with_metadata(2, b"\x01\0\0\0b\x04\x01\x01\0\0\0a\x04\0"));
    refused(with_metadata(2, b"\x01\0\0\0a\x04\x01\x01\0\0\0a\x04\0"));
    refused(with_metadata(1, b"\0\0\0\0\x04\x01"));
    refused(with_metadata(1, b"\x01\0\0\0\xFF\x04\x01"));
    refused(with_metadata(1, b"\x01\0\0\0a\x04\x02"));
    refused(with_metadata(1, b"\x01\0\0\0a\x09\x01"));
    refused(with_metadata(1, &[b"\x01\0\0\0a\x03".as_slice(), &f64::NAN.to_le_bytes()].concat()));
    let many = |count: u16| -> Metadata { (0..count).map(|i| (format!("{i:04}"), Value::Bool(true))).collect() };
    let put = |metadata| row_of(&Op::put("r", Record { metadata, ..Record::default() }));
    assert!(one(put(many(1_024))).is_ok());
    refused(put(many(1_025)));
}

#[test]
fn rows_with_unknown_ids_actions_or_states_are_refused() {
    let refused = |row| assert_eq!(one(row).unwrap_err(), Kind::Invalid);
    refused(row_of(&Op::delete("")));
    refused(row_of(&Op::delete("x".repeat(1_025))));
    let changed = |at: usize, to: u8| {
        let mut row = put(None);
        row[at] = to;
        row
    };
    refused(changed(0, 0));
    refused(changed(0, 6));
    // The states of the embedding and of the document follow the action and the id (4 + 1 bytes).
    for at in [6, 7] {
        refused(changed(at, 1));
        refused(changed(at, 3));
    }
    refused(with_metadata(1, b"\x01\0\0\0a\0"));
    let patch = Patch { document: Change::Clear, embedding: Change::Clear, ..Patch::default() };
    assert!(one(row_of(&Op::patch("r", patch))).is_ok(), "a patch may remove");
    refused([put(None).as_slice(), &[0]].concat());
}

#[test]
fn ops_bear_revisions_together_or_not_at_all_and_an_add_never() {
    use crate::revision::Revision;
    let at = |op: Op| row_of(&op.at(Revision::new(u128::MAX)));
    let (with, without) = (at(Op::delete("r")), row_of(&Op::delete("r")));
    assert!(forge(&[with.clone(), with.clone()], &[], &[false, false]).unwrap().has_revisions());
    assert!(!forge(std::slice::from_ref(&without), &[], &[false]).unwrap().has_revisions());
    assert_eq!(forge(&[with.clone(), without.clone()], &[], &[false, false]).unwrap_err(), Kind::Invalid);
    assert_eq!(forge(&[without, with], &[], &[false, false]).unwrap_err(), Kind::Invalid);
    let add = at(Op::add("r", Record::default()));
    assert_eq!(forge(&[add], &[], &[false]).unwrap_err(), Kind::Invalid);
    assert_eq!(
        super::SegmentBody::encode(&[Op::delete("r"), Op::delete("r").at(Revision::new(1))], 1).unwrap_err().field(),
        "revision"
    );
}

/// A header of three ops of dimension 2, two of them with an embedding, with some numbers edited.
fn with_header(edit: impl FnOnce(&mut SegmentHeader)) -> crate::error::FormatError {
    let mut header = SegmentHeader {
        collection: Uid::new(1),
        sequence: Sequence::FIRST,
        writer: Uid::new(1),
        batch: 1,
        times: TimeRange::default(),
        marks: vec![mark("a")],
        passed: 0,
        ops: 3,
        digest: crate::Digest::default(),
        dimension: 2,
        vectors: 2,
    };
    edit(&mut header);
    SegmentHeader::decode(&header.encode()).err().unwrap_or_else(|| crate::error::FormatError::invalid("none", "none"))
}

fn mark(source: &str) -> super::SourceMark {
    super::SourceMark { source: source.to_owned(), position: 7 }
}

/// Each number of a header is checked alone: readers allocate and shift by them before they read a
/// row.
#[test]
fn each_number_of_a_header_is_checked() {
    use crate::limits::{MAX_DIMENSION, MAX_SEGMENT_MARKS, MAX_SEGMENT_OPS, MAX_SOURCE_BYTES};
    let (ops, dimension) = (u32::try_from(MAX_SEGMENT_OPS).unwrap(), u32::try_from(MAX_DIMENSION).unwrap());
    let is = |rule: &str, edit: &dyn Fn(&mut SegmentHeader)| {
        let error = with_header(|header| edit(header)).to_string();
        assert!(error.contains(rule), "{rule}: {error}");
    };
    let sound = "none";
    is(sound, &|_| ());
    is(sound, &|header| (header.ops, header.vectors) = (ops, ops));
    is(sound, &|header| header.dimension = dimension);
    is(sound, &|header| header.marks = vec![mark("a"); MAX_SEGMENT_MARKS]);
    is(sound, &|header| header.marks = vec![mark(&"s".repeat(MAX_SOURCE_BYTES))]);
    is("its sequence number is 0", &|header| header.sequence = Sequence::ZERO);
    is("counts no ops, too many", &|header| (header.ops, header.vectors) = (0, 0));
    is("counts no ops, too many", &|header| header.ops = ops + 1);
    is("more embeddings than ops", &|header| header.vectors = 4);
    is("its dimension is out of range", &|header| header.dimension = 0);
    is("its dimension is out of range", &|header| header.dimension = dimension + 1);
    is("too many source marks", &|header| header.marks = vec![mark("a"); MAX_SEGMENT_MARKS + 1]);
    is("one whose name is empty", &|header| header.marks.push(mark("")));
    is("one whose name is empty or too long", &|header| header.marks.push(mark(&"s".repeat(MAX_SOURCE_BYTES + 1))));
}
