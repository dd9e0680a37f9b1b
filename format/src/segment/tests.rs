use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::error::FormatErrorKind as Kind;
use crate::name::{Sequence, TimeRange, Timestamp, Uid};
use crate::op::{Action, Op};
use crate::record::{Change, Metadata, Patch, Record, Value};
use crate::revision::Revision;
use crate::strategies::action;
use crate::testing;

pub(super) fn stamp(sequence: u64) -> SegmentStamp {
    SegmentStamp {
        collection: Uid::new(1),
        sequence: Sequence::new(sequence).unwrap(),
        writer: Uid::new(2),
        batch: 3,
        times: TimeRange { first: Timestamp::from_millis(-4), last: Timestamp::from_millis(5) },
        marks: vec![SourceMark { source: "queue".to_owned(), position: u128::MAX }],
        passed: 0,
    }
}

fn embedding() -> impl Strategy<Value = Vec<f32>> {
    proptest::collection::vec(any::<f32>().prop_filter("finite", |f| f.is_finite()), 3)
}

pub(super) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = (".{1,12}", action(embedding, ".{1,6}"), any::<u128>());
    (proptest::collection::vec(op, 1..12), any::<bool>()).prop_map(|(ops, by_revision)| {
        let op = |(id, action, revision)| match action {
            Action::Add(record) if by_revision => Op::put(id, record).at(Revision::new(revision)),
            action if by_revision => Op::new(id, action).at(Revision::new(revision)),
            action => Op::new(id, action),
        };
        ops.into_iter().map(op).collect()
    })
}

/// The ops with their embeddings filled in.
fn read_back(segment: &Segment) -> Vec<Op> {
    segment.ops().map(|(_, op)| op.map_embedding(|row| segment.vector(row).to_vec())).collect()
}

pub(super) fn encode(ops: &[Op]) -> Bytes {
    SegmentBody::encode(ops, 3).unwrap().seal(stamp(7)).unwrap().to_bytes()
}

/// One op of each kind and one value of each type.
pub(super) fn sample() -> Vec<Op> {
    let metadata = Metadata::from([
        ("a".to_owned(), Value::String("é".to_owned())),
        ("b".to_owned(), Value::I64(-1)),
        ("c".to_owned(), Value::F64(0.5)),
        ("d".to_owned(), Value::Bool(true)),
        ("e".to_owned(), Value::Strings(vec!["x".to_owned(), String::new()])),
        ("f".to_owned(), Value::I64s(vec![1, 2])),
        ("g".to_owned(), Value::F64s(vec![-0.0])),
        ("h".to_owned(), Value::Bools(vec![false, true])),
    ]);
    let record = Record { embedding: Some(vec![1.0, -2.0, 3.5]), metadata, document: Some("text".to_owned()) };
    let patch = Patch {
        embedding: Change::Set(vec![0.0, -0.0, 9.0]),
        metadata: BTreeMap::from([("a".to_owned(), None), ("b".to_owned(), Some(Value::I64(2)))]),
        document: Change::Clear,
    };
    vec![
        Op::put("one", record),
        Op::patch("one", patch),
        Op::add("two", Record::default()),
        Op::upsert("three", Patch { embedding: Change::Clear, ..Patch::default() }),
        Op::delete("one"),
    ]
}

#[test]
fn a_segment_reads_as_written() {
    let body = SegmentBody::encode(&sample(), 3).unwrap();
    let encoded = body.seal(stamp(7)).unwrap();
    let segment = Segment::decode(encoded.to_bytes()).unwrap();
    assert_eq!(read_back(&segment), sample());
    let header = segment.header();
    assert_eq!((header.ops, header.vectors, header.dimension, header.batch), (5, 2, 3, 3));
    assert_eq!((header.sequence, header.digest), (Sequence::new(7).unwrap(), body.digest(Sequence::new(7).unwrap())));
    assert_eq!((header.times, &header.marks), (stamp(7).times, &stamp(7).marks));
    assert_eq!((segment.bytes(), segment.len(), body.ops()), (encoded.bytes, 5, 5));
    let envelope = crate::Envelope::parse(&encoded.to_bytes()).unwrap();
    let stored = |id| envelope.section(id).map_or(0, |section| section.stored);
    assert_eq!(body.stored_bytes(), stored(section::OPS) + stored(section::EMBEDDINGS));
    assert!(stored(section::OPS) > 1 && body.stored_bytes() < encoded.bytes);
    assert_eq!(segment.op(4), Some(Op::delete("one")));
    let ids: Vec<_> = (0..6).map(|op| segment.id(op)).collect();
    assert_eq!(ids, [Some("one"), Some("one"), Some("two"), Some("three"), Some("one"), None]);
    let vectors: Vec<_> = (0..6).map(|op| segment.vector_of(op)).collect();
    assert_eq!(vectors, [Some(0), Some(1), None, None, None, None]);
    assert_eq!((segment.op(5), segment.vector(2), segment.vectors().len()), (None, [].as_slice(), 6));
    let sum = (0..5).filter_map(|i| segment.op_digest(i)).reduce(crate::Digest::plus);
    assert_eq!(sum, Some(segment.header().digest));
    assert!(segment.expect_collection(Uid::new(1), 3).is_ok());
    assert!(segment.expect_collection(Uid::new(9), 3).unwrap_err().to_string().contains("belongs to collection"));
    assert!(segment.expect_collection(Uid::new(1), 4).unwrap_err().to_string().contains("dimension"));
}

#[test]
fn another_place_in_the_log_is_another_digest_and_the_same_ops() {
    let body = SegmentBody::encode(&sample(), 3).unwrap();
    let [seven, eight] = [7, 8].map(|n| Segment::decode(body.seal(stamp(n)).unwrap().to_bytes()).unwrap());
    assert_ne!(seven.header().digest, eight.header().digest);
    assert_eq!(read_back(&seven), read_back(&eight));
}

#[test]
fn the_encoder_refuses_values_that_decoders_refuse() {
    assert!(SegmentBody::encode(&[], 3).is_err());
    assert!(SegmentBody::encode(&sample(), 4).is_err());
    assert!(SegmentBody::encode(&[Op::delete("")], 3).is_err());
    assert!(SegmentBody::encode(&[Op::delete("x")], 0).is_err());
    assert!(SegmentBody::encode(&[Op::delete("x")], 65_537).is_err());
    let body = SegmentBody::encode(&sample(), 3).unwrap();
    assert!(body.seal(SegmentStamp { sequence: Sequence::ZERO, ..stamp(1) }).is_err());
    assert!(body.seal(SegmentStamp { passed: 1, ..stamp(1) }).is_err());
    assert!(body.seal(SegmentStamp { passed: 1, ..stamp(2) }).is_ok());
    let mark = |source: &str| SourceMark { source: source.to_owned(), position: 0 };
    assert!(body.seal(SegmentStamp { marks: vec![mark("")], ..stamp(1) }).is_err());
    assert!(body.seal(SegmentStamp { marks: vec![mark("s"); 4_097], ..stamp(1) }).is_err());
    assert!(body.seal(SegmentStamp { marks: vec![mark("s"); 4_096], ..stamp(1) }).is_ok());
}

#[test]
fn sections_that_contradict_each_other_are_refused() {
    let object = encode(&sample());
    let forge = |section, edit: &dyn Fn(&mut Vec<u8>)| {
        Segment::decode(testing::with_section(&object, section, edit)).unwrap_err().kind()
    };
    // Offsets in the header: ops at 64, dimension 68, vectors 72, digest 76, passed 92.
    for at in [16, 64, 68, 72, 76, 95] {
        assert_eq!(forge(section::HEADER, &|bytes| bytes[at] ^= 1), Kind::Invalid, "header byte {at}");
    }
    assert_eq!(forge(section::HEADER, &|bytes| bytes[16..24].fill(0)), Kind::Invalid, "sequence 0");
    assert_eq!(forge(section::HEADER, &|bytes| bytes[23] = 1), Kind::Invalid, "sequence too high");
    assert_eq!(forge(section::HEADER, &|bytes| bytes.push(0)), Kind::Invalid, "bytes after the end");
    assert_eq!(forge(section::OPS, &|bytes| bytes.truncate(bytes.len() - 1)), Kind::Invalid);
    assert_eq!(forge(section::OPS, &|bytes| bytes.push(0)), Kind::Invalid);
    assert_eq!(forge(section::EMBEDDINGS, &|bytes| bytes.extend([0; 12])), Kind::Invalid, "a row too many");
    assert_eq!(forge(section::EMBEDDINGS, &|bytes| bytes.truncate(12)), Kind::Invalid, "a row too few");
    assert_eq!(forge(section::EMBEDDINGS, &|bytes| bytes[3] ^= 0x80), Kind::Invalid, "the digest covers embeddings");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ops_come_back(ops in ops()) {
        prop_assert_eq!(read_back(&Segment::decode(encode(&ops)).unwrap()), ops);
    }

    #[test]
    fn different_ops_have_different_digests(a in ops(), b in ops()) {
        let digest = |ops: &[Op]| SegmentBody::encode(ops, 3).unwrap().digest(Sequence::FIRST);
        // Debug text distinguishes 0.0 from -0.0, as the digest does.
        prop_assert_eq!(digest(&a) == digest(&b), format!("{a:?}") == format!("{b:?}"));
    }

    #[test]
    fn forged_bytes_neither_panic_nor_change_ops(
        ops in ops(),
        section in 1u16..=3,
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let object = encode(&ops);
        let Some(_) = crate::Envelope::parse(&object).unwrap().section(section) else { return Ok(()) };
        let forged = testing::with_section(&object, section, &|bytes: &mut Vec<u8>| {
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            for (at, byte) in &edits {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] ^= byte;
                }
            }
        });
        if let Ok(segment) = Segment::decode(forged) {
            // A changed header field passes if nothing else in the object determines it. The digest
            // catches changed ops.
            prop_assert_eq!(format!("{:?}", read_back(&segment)), format!("{ops:?}"));
        }
    }
}
