//! Segments at their limits and one step beyond. A segment at a limit is written and read back.

use bytes::Bytes;

use super::header::MAX_HEADER_BYTES;
use super::tests::{encode, stamp};
use super::{Segment, SegmentBody, SegmentFront, SegmentStamp, SourceMark, section};
use crate::envelope::{Compress, Encoding, Envelope, EnvelopeReader, EnvelopeWriter, ObjectKind};
use crate::error::FormatErrorKind as Kind;
use crate::input_error::InputErrorKind;
use crate::limits::{
    MAX_DIMENSION, MAX_DOCUMENT_BYTES, MAX_SEGMENT_MARKS, MAX_SEGMENT_OPS, MAX_SEGMENT_SECTION_BYTES, MAX_SOURCE_BYTES,
};
use crate::op::Op;
use crate::record::Record;

fn with_document(bytes: usize) -> Op {
    Op::put("r", Record { document: Some("d".repeat(bytes)), ..Record::default() })
}

/// Bytes of a row with its length in front, without the document.
const AROUND_DOCUMENT: usize = 4 + 1 + 5 + 2 + 4 + 4;

fn with_embedding(embedding: Vec<f32>) -> Op {
    Op::put("r", Record { embedding: Some(embedding), ..Record::default() })
}

/// Encodes the ops, reads them back, and returns their number.
fn there_and_back(ops: &[Op], dimension: usize) -> usize {
    let body = SegmentBody::encode(ops, u32::try_from(dimension).unwrap()).unwrap();
    Segment::decode(body.seal(stamp(7)).unwrap().to_bytes()).unwrap().len()
}

fn refused(ops: &[Op], dimension: usize) -> InputErrorKind {
    SegmentBody::encode(ops, u32::try_from(dimension).unwrap()).unwrap_err().kind()
}

#[test]
fn a_segment_holds_the_most_ops_and_no_more() {
    let mut ops = vec![Op::delete("x"); MAX_SEGMENT_OPS];
    assert_eq!(there_and_back(&ops, 1), MAX_SEGMENT_OPS);
    ops.push(Op::delete("x"));
    let kind = InputErrorKind::TooMany { found: MAX_SEGMENT_OPS + 1, limit: MAX_SEGMENT_OPS };
    assert_eq!(refused(&ops, 1), kind);
}

#[test]
fn a_segment_holds_the_most_embedding_bytes_and_no_more() {
    let limit = MAX_SEGMENT_SECTION_BYTES;
    let mut ops = vec![with_embedding(vec![0.5; MAX_DIMENSION]); limit / (4 * MAX_DIMENSION)];
    assert_eq!(there_and_back(&ops, MAX_DIMENSION), ops.len());
    ops.push(with_embedding(vec![0.5; MAX_DIMENSION]));
    let found = limit + 4 * MAX_DIMENSION;
    assert_eq!(refused(&ops, MAX_DIMENSION), InputErrorKind::TooLong { found, limit });
}

#[test]
fn a_segment_holds_the_most_row_bytes_and_no_more() {
    let limit = MAX_SEGMENT_SECTION_BYTES;
    let mut ops = vec![with_document(MAX_DOCUMENT_BYTES - AROUND_DOCUMENT); 3];
    ops.push(with_document(limit - 3 * MAX_DOCUMENT_BYTES - AROUND_DOCUMENT));
    assert_eq!(there_and_back(&ops, 1), 4);
    ops[3] = with_document(limit - 3 * MAX_DOCUMENT_BYTES - AROUND_DOCUMENT + 1);
    assert_eq!(refused(&ops, 1), InputErrorKind::TooLong { found: limit + 1, limit });
}

#[test]
fn rows_are_compressed_from_16_kib() {
    let encoding = |rows: usize| {
        let object = encode(&[with_document(rows - AROUND_DOCUMENT)]);
        let envelope = Envelope::parse(&object).unwrap();
        let section = envelope.section(section::OPS).unwrap();
        (section.raw, section.encoding)
    };
    assert_eq!(encoding((16 << 10) - 1), ((16 << 10) - 1, Encoding::Raw));
    assert_eq!(encoding(16 << 10), (16 << 10, Encoding::Zstd));
}

#[test]
fn too_many_slots_passed_are_told_with_their_limit() {
    let body = SegmentBody::encode(&[Op::delete("x")], 1).unwrap();
    let error = body.seal(SegmentStamp { passed: 5, ..stamp(5) }).unwrap_err();
    assert_eq!(error.kind(), InputErrorKind::TooMany { found: 5, limit: 4 });
}

#[test]
fn a_segment_holds_the_most_marks_of_the_longest_names() {
    let mark = |number| SourceMark { source: format!("{number:0MAX_SOURCE_BYTES$}"), position: 1 };
    let marks: Vec<SourceMark> = (0..MAX_SEGMENT_MARKS).map(mark).collect();
    let object = SegmentBody::encode(&[Op::delete("x")], 1).unwrap().seal(SegmentStamp { marks, ..stamp(7) });
    let segment = Segment::decode(object.unwrap().to_bytes()).unwrap();
    assert_eq!(segment.header().marks.len(), MAX_SEGMENT_MARKS);
}

#[test]
fn a_front_takes_the_longest_header_and_none_longer() {
    let of = |bytes: usize| -> Bytes {
        let mut writer = EnvelopeWriter::new(ObjectKind::Segment);
        writer.section(section::HEADER, vec![0; bytes], Compress::Never);
        writer.finish().to_bytes()
    };
    let needed = SegmentFront::bytes_needed(of(MAX_HEADER_BYTES)).unwrap();
    assert!(needed > MAX_HEADER_BYTES as u64);
    let error = SegmentFront::bytes_needed(of(MAX_HEADER_BYTES + 1)).unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);
    assert!(error.to_string().contains(&(MAX_HEADER_BYTES + 1).to_string()), "{error}");
}

/// Readers skip the embeddings if the header counts none, so they would never read such a section.
#[test]
fn embeddings_that_the_header_does_not_count_are_refused() {
    let reader = EnvelopeReader::open_any(encode(&[Op::delete("x")])).unwrap();
    let mut writer = EnvelopeWriter::new(ObjectKind::Segment);
    for id in [section::HEADER, section::OPS] {
        writer.section(id, reader.section(id, "section", 1 << 20).unwrap(), Compress::Never);
    }
    writer.section(section::EMBEDDINGS, vec![0; 12], Compress::Never);
    let error = Segment::decode(writer.finish().to_bytes()).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "embeddings"));
}

/// A reader allocates for the ops that the header counts, so it first compares the count with the
/// rows.
#[test]
fn more_ops_than_there_are_rows_are_refused_by_number() {
    let counted = |ops: u32| {
        let object = crate::testing::with_section(&encode(&[Op::delete("x")]), section::HEADER, &|bytes| {
            bytes[64..68].copy_from_slice(&ops.to_le_bytes());
        });
        Segment::decode(object).unwrap_err().to_string()
    };
    assert!(counted(2).contains("the header counts more than a segment can hold"), "{}", counted(2));
}

#[test]
fn a_segment_tells_the_outline_and_embedding_of_its_ops_only() {
    let segment = Segment::decode(encode(&[with_embedding(vec![1.0, 2.0, 3.0])])).unwrap();
    assert_eq!((segment.vector_of(0), segment.vector_of(1)), (Some(0), None));
    let outline = segment.outline(0).and_then(|effect| effect.resolve());
    assert_eq!(outline.map(|stored| stored.changed), Some(segment.place(0)));
    assert!(segment.outline(1).is_none());
}
