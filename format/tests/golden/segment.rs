//! Segments, in both orderings.

use std::collections::BTreeMap;

use bytes::Bytes;
use deltafold_format::{
    Action, Change, Digest, Encoding, Envelope, FormatError, FormatErrorKind as Kind, ObjectKind, Op, Patch, Place,
    Record, Revision, Segment, SegmentBody, SegmentHeader, SegmentStamp, SourceMark, Uid, Value,
};

use crate::kept::{flipped, forge, golden, survives};
use crate::{COLLECTION, sequence, times};

/// The digests of the golden segments, and the ties of the ops by revision. They are written down,
/// not computed: another hash would contradict the digests of every log there is.
const SEGMENT: u128 = 0x2da8_19e4_5f47_95d9_9ef1_f020_f3b5_0fba;
const SEGMENT_BY_REVISION: u128 = 0x5181_0aab_c473_4a82_d17f_d92d_baa6_0a91;

const TIES: [u64; 5] = [
    3_026_517_539_011_935_223,
    8_233_880_070_295_303_564,
    2_033_580_601_229_064_432,
    6_280_286_337_571_068_862,
    9_711_972_683_250_475_185,
];

/// Each op, each state of a field, each type of value.
pub(crate) fn ops() -> Vec<Op> {
    let metadata = BTreeMap::from([
        ("bool".to_owned(), Value::Bool(true)),
        ("bools".to_owned(), Value::Bools(vec![true, false])),
        ("f64".to_owned(), Value::F64(-0.0)),
        ("f64s".to_owned(), Value::F64s(vec![1.5, f64::MAX])),
        ("i64".to_owned(), Value::I64(i64::MIN)),
        ("i64s".to_owned(), Value::I64s(vec![-1, 0, 1])),
        ("string".to_owned(), Value::String("naïve".to_owned())),
        ("strings".to_owned(), Value::Strings(vec![String::new(), "δ".to_owned()])),
    ]);
    let whole = Record { embedding: Some(vec![1.0, -0.0, 3.25]), metadata, document: Some("a document".to_owned()) };
    let patch = Patch {
        embedding: Change::Set(vec![0.5, 0.25, -1.0]),
        metadata: BTreeMap::from([("bool".to_owned(), None), ("i64".to_owned(), Some(Value::I64(7)))]),
        document: Change::Clear,
    };
    let document = Change::Set("another".to_owned());
    vec![
        Op::put("first", whole),
        Op::patch("first", patch),
        Op::add("second", Record::default()),
        Op::upsert("third", Patch { embedding: Change::Clear, document, ..Patch::default() }),
        Op::delete("first"),
    ]
}

/// The golden ops as they are in a collection that is ordered by revision, which has no `add`; two
/// of one revision.
pub(crate) fn ops_by_revision() -> Vec<Op> {
    let revisions = [7, u128::MAX, 7, 1 << 64, 8];
    let op = |(op, revision): (Op, u128)| {
        let action = if let Action::Add(record) = op.action { Action::Put(record) } else { op.action };
        Op::new(op.id, action).at(Revision::new(revision))
    };
    ops().into_iter().zip(revisions).map(op).collect()
}

pub(crate) fn stamp() -> SegmentStamp {
    let marks = vec![SourceMark { source: "orders.fifo".to_owned(), position: u128::MAX - 1 }];
    SegmentStamp {
        collection: COLLECTION,
        sequence: sequence(71),
        writer: Uid::new(42),
        batch: 6,
        times: times(),
        marks,
        passed: 3,
    }
}

/// The header of both golden segments.
fn header(digest: u128) -> SegmentHeader {
    let SegmentStamp { collection, sequence, writer, batch, times, marks, passed } = stamp();
    let digest = Digest::from_bits(digest);
    SegmentHeader {
        collection,
        sequence,
        writer,
        batch,
        times,
        marks,
        ops: 5,
        digest,
        dimension: 3,
        vectors: 2,
        passed,
    }
}

/// A segment as plain values.
fn plain(object: Bytes) -> Result<(SegmentHeader, Vec<Op>), FormatError> {
    let segment = Segment::decode(object)?;
    let ops = segment.ops().map(|(_, op)| op.map_embedding(|row| segment.vector(row).to_vec())).collect();
    Ok((segment.header().clone(), ops))
}

#[test]
fn segment_v1() {
    let object = golden("segment", || SegmentBody::encode(&ops(), 3).unwrap().seal(stamp()).unwrap().to_bytes());
    survives(&object, ObjectKind::Segment, &(header(SEGMENT), ops()), plain);
    let twin = golden("segment.checksum", || flipped(&object, (object.len() - 1) * 8));
    assert_eq!(plain(twin).unwrap_err().kind(), Kind::Checksum);
    // Every checksum is right and the header's digest is not that of the ops: a writer that mixed
    // up two batches.
    let twin = golden("segment.invalid", || {
        let section = Envelope::parse(&object).unwrap().sections()[0];
        let [start, len] = [section.offset, section.stored].map(|n| usize::try_from(n).unwrap());
        let forged = flipped(&object, (start + 76) * 8);
        forge(&forged, 24 + 4, &crc32fast::hash(&forged[start..start + len]).to_le_bytes())
    });
    let error = plain(twin).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "ops"));
}

#[test]
fn segment_by_revision_v1() {
    let make = || SegmentBody::encode(&ops_by_revision(), 3).unwrap().seal(stamp()).unwrap().to_bytes();
    let object = golden("segment-revision", make);
    survives(&object, ObjectKind::Segment, &(header(SEGMENT_BY_REVISION), ops_by_revision()), plain);
    // The ties decide which op wins.
    let segment = Segment::decode(object.clone()).unwrap();
    let ties = (0..5).map(|index| match segment.place(index) {
        Place::Revision(stamp) => stamp.tie,
        Place::Log(position) => panic!("op {position} has no revision"),
    });
    assert_eq!(ties.collect::<Vec<_>>(), TIES);
    // Every checksum is right, and one op says that it bears no revision.
    let twin = golden("segment-revision.invalid", || {
        let section = *Envelope::parse(&object).unwrap().section(2).unwrap();
        assert_eq!(section.encoding, Encoding::Raw);
        let [start, len] = [section.offset, section.stored].map(|n| usize::try_from(n).unwrap());
        let mut forged = object.to_vec();
        forged[start + 4] &= 0x7f;
        let crc32 = crc32fast::hash(&forged[start..start + len]);
        forge(&forged.into(), 24 + 32 + 4, &crc32.to_le_bytes())
    });
    let error = plain(twin).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "ops"));
}
