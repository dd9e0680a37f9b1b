//! Segments read from their first bytes alone.

use bytes::Bytes;

use super::tests::{encode, sample, stamp};
use super::{Segment, SegmentBody, SegmentFront, SegmentIds, SourceMark, section};
use crate::envelope::{Compress, EnvelopeReader, EnvelopeWriter, MAX_ENVELOPE_BYTES, ObjectKind};
use crate::error::FormatErrorKind as Kind;
use crate::op::Op;
use crate::record::Record;
use crate::register::Head;

#[test]
fn the_front_of_a_segment_is_its_header_and_lengths() {
    let marks = (0..100).map(|at| SourceMark { source: format!("source {at}"), position: at }).collect();
    let stamp = super::SegmentStamp { marks, ..stamp(7) };
    let object = SegmentBody::encode(&sample(), 3).unwrap().seal(stamp).unwrap().to_bytes();
    let needed = SegmentFront::bytes_needed(object.slice(..MAX_ENVELOPE_BYTES)).unwrap();
    let needed = usize::try_from(needed).unwrap();
    assert!(needed < object.len());
    let segment = Segment::decode(object.clone()).unwrap();
    for prefix in [object.slice(..needed), object.slice(..needed + 1), object.clone()] {
        let front = SegmentFront::decode(prefix).unwrap();
        assert_eq!(front.header(), segment.header());
        assert_eq!((front.bytes(), front.decoded_bytes()), (segment.bytes(), segment.decoded_bytes()));
    }
    assert_eq!(SegmentFront::decode(object.slice(..needed - 1)).unwrap_err().kind(), Kind::Truncated);
    assert_eq!(SegmentFront::bytes_needed(object.slice(..10)).unwrap_err().kind(), Kind::Truncated);
}

#[test]
fn no_flipped_bit_of_a_front_goes_unnoticed() {
    let object = encode(&sample());
    let needed = usize::try_from(SegmentFront::bytes_needed(object.clone()).unwrap()).unwrap();
    let front = SegmentFront::decode(object.clone()).unwrap();
    for at in 0..needed {
        for bit in 0..8 {
            let mut flipped = object.to_vec();
            flipped[at] ^= 1 << bit;
            // No checksum covers the padding between envelope and header, and no reader uses it.
            let decoded = SegmentFront::decode(flipped.into());
            assert!(decoded.is_err() || decoded == Ok(front.clone()), "bit {bit} of byte {at}");
        }
    }
    let head = SegmentFront::decode(Head::empty(crate::Uid::new(1)).encode());
    assert!(matches!(head.unwrap_err().kind(), Kind::WrongKind { expected: ObjectKind::Segment, .. }));
}

#[test]
fn a_segment_whose_header_is_not_first_is_refused() {
    let object = encode(&sample());
    let reader = EnvelopeReader::open_any(object).unwrap();
    let mut writer = EnvelopeWriter::new(ObjectKind::Segment);
    for id in [section::OPS, section::HEADER, section::EMBEDDINGS] {
        writer.section(id, reader.section(id, "section", 1 << 20).unwrap(), Compress::Never);
    }
    let moved = writer.finish().to_bytes();
    for error in [
        Segment::decode(moved.clone()).unwrap_err(),
        SegmentFront::decode(moved.clone()).unwrap_err(),
        SegmentFront::bytes_needed(moved).unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.what()), (Kind::Invalid, "segment header"));
    }
}

#[test]
fn a_header_beyond_the_limit_is_refused_unread() {
    let object = |header: Vec<u8>| -> Bytes {
        let mut writer = EnvelopeWriter::new(ObjectKind::Segment);
        writer.section(section::HEADER, header, Compress::WhenSmaller);
        writer.finish().to_bytes()
    };
    let error = SegmentFront::bytes_needed(object(vec![0; 2 << 20])).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::TooLarge, "segment header"));
}

#[test]
fn decoded_bytes_count_sections_at_full_length() {
    // Story: a segment of 54 KB that held 100 documents of 15 MiB counted as 54 KB, and folding it
    // took 3.3 GiB.
    let document = "the same words again and again ".repeat(40_000);
    let record = |embedding| Record { embedding, document: Some(document.clone()), ..Record::default() };
    let decode = |ops: &[Op]| Segment::decode(encode(ops)).unwrap();
    let compressed = decode(&[Op::put("a", record(None))]);
    assert!(compressed.bytes() < 10_000, "{}", compressed.bytes());
    let expected = document.len() as u64..document.len() as u64 + 100;
    assert!(expected.contains(&compressed.decoded_bytes()), "{}", compressed.decoded_bytes());
    // A raw section is read in place, so it keeps the object in memory beside the decompressed
    // bytes.
    let both = decode(&[Op::put("a", record(Some(vec![1.0, 2.0, 3.0])))]);
    let expected = expected.start + both.bytes()..expected.end + both.bytes();
    assert!(expected.contains(&both.decoded_bytes()), "{}", both.decoded_bytes());
    let small = decode(&sample());
    assert_eq!(small.decoded_bytes(), small.bytes() + 4 * 5);
}

/// Ops about these ids, large enough for hashes.
fn large(ids: usize) -> Vec<Op> {
    let record = Record { embedding: Some(vec![1.0; 512]), ..Record::default() };
    (0..ids).map(|id| Op::put(format!("record {id}"), record.clone())).collect()
}

fn sealed(ops: &[Op], dimension: u32) -> Bytes {
    SegmentBody::encode(ops, dimension).unwrap().seal(stamp(7)).unwrap().to_bytes()
}

#[test]
fn hashes_tell_whether_an_op_is_about_an_id() {
    let object = sealed(&large(40), 512);
    let segment = Segment::decode(object.clone()).unwrap();
    let needed = SegmentIds::bytes_needed(object.slice(..MAX_ENVELOPE_BYTES)).unwrap().unwrap();
    let needed = usize::try_from(needed).unwrap();
    assert!(needed < 1_024, "they follow the header");
    for prefix in [object.slice(..needed), object.slice(..needed + 1), object.clone()] {
        let ids = SegmentIds::decode(prefix).unwrap();
        assert_eq!(ids.header(), segment.header());
        assert!((0..segment.len()).all(|op| ids.may_concern(segment.id(op).unwrap())));
        assert!(!ids.may_concern("") && !ids.may_concern("record 40"));
    }
    assert_eq!(SegmentIds::decode(object.slice(..needed - 1)).unwrap_err().kind(), Kind::Truncated);
    // A format of its own: the upper half of xxh3_64, little-endian.
    let first = (xxhash_rust::xxh3::xxh3_64(b"record 0") >> 32) as u32;
    assert_eq!(object.slice(needed - 160..needed - 156), first.to_le_bytes()[..]);
}

#[test]
fn a_small_segment_has_no_hashes() {
    // 32 embeddings of 2,048 bytes are 64 KiB, and their ops are more.
    for (ids, hashed) in [(31, false), (32, true)] {
        let object = sealed(&large(ids), 512);
        assert_eq!(SegmentIds::bytes_needed(object.clone()).unwrap().is_some(), hashed, "{ids} ops");
        assert_eq!(SegmentIds::decode(object.clone()).is_ok(), hashed);
        assert_eq!(Segment::decode(object).unwrap().len(), ids);
    }
}

#[test]
fn no_flipped_bit_of_hashes_goes_unnoticed() {
    let object = sealed(&large(40), 512);
    let needed = usize::try_from(SegmentIds::bytes_needed(object.clone()).unwrap().unwrap()).unwrap();
    let segment = Segment::decode(object.clone()).unwrap();
    for at in 0..needed {
        let mut flipped = object.slice(..needed).to_vec();
        flipped[at] ^= 1;
        // No checksum covers the padding between sections, and no reader uses it.
        if let Ok(ids) = SegmentIds::decode(flipped.into()) {
            assert_eq!(ids.header(), segment.header(), "byte {at}");
            assert!((0..segment.len()).all(|op| ids.may_concern(segment.id(op).unwrap())), "byte {at}");
        }
    }
}

/// A reader of one record relies on the hashes, so a reader of all ops refuses wrong ones.
#[test]
fn hashes_that_are_not_of_the_ids_are_refused() {
    let object = sealed(&large(40), 512);
    let forged = |change: &dyn Fn(&mut Vec<u8>)| {
        let reader = EnvelopeReader::open_any(object.clone()).unwrap();
        let mut writer = EnvelopeWriter::new(ObjectKind::Segment);
        for id in [section::HEADER, section::IDS, section::OPS, section::EMBEDDINGS] {
            let mut bytes = reader.section(id, "section", 1 << 20).unwrap().to_vec();
            if id == section::IDS {
                change(&mut bytes);
            }
            writer.section(id, bytes, Compress::Never);
        }
        Segment::decode(writer.finish().to_bytes()).map_err(|error| (error.kind(), error.what()))
    };
    assert!(forged(&|_| {}).is_ok());
    let refused = Err((Kind::Invalid, "hashes of ids"));
    let refuses = |change: &dyn Fn(&mut Vec<u8>)| assert_eq!(forged(change).map(|_| ()), refused);
    refuses(&|bytes| bytes[5] ^= 1);
    refuses(&|bytes| bytes.swap(0, 4));
    refuses(&|bytes| bytes.truncate(156));
    refuses(&|bytes| bytes.extend([0; 4]));
    refuses(&|bytes| bytes.clear());
}
