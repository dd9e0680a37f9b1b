//! Encodings of sections that the format does not allow, under right checksums.

use bytes::Bytes;

use crate::error::FormatErrorKind as Kind;
use crate::op::Op;
use crate::record::Record;
use crate::testing::with_frame;
use crate::{
    Claim, CollectionConfig, EmbeddingBuilder, Embeddings, FormatError, Head, HeadPlace, Manifest, Metric, Ordering,
    Rotation, Segment, SegmentBody, SegmentFront, SegmentStamp, Sequence, TimeRange, Timestamp, Uid, Version,
};

/// An empty skippable frame.
const SKIPPABLE: [u8; 8] = [0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0];

fn segment(ops: &[Op]) -> Bytes {
    let stamp = SegmentStamp {
        collection: Uid::new(1),
        sequence: Sequence::FIRST,
        writer: Uid::new(2),
        batch: 1,
        times: TimeRange::default(),
        marks: Vec::new(),
        passed: 0,
    };
    SegmentBody::encode(ops, 2).unwrap().seal(stamp).unwrap().to_bytes()
}

fn ops() -> [Op; 2] {
    let record = Record { embedding: Some(vec![1.0, 2.0]), document: Some("word ".repeat(9_000)), ..Record::default() };
    [Op::put("a", record), Op::delete("b")]
}

/// Story: readers accepted a skippable or an empty frame behind the one that SPEC allows.
#[test]
fn a_frame_beside_the_one_is_refused() {
    let object = segment(&ops());
    type Edit<'a> = &'a dyn Fn(Vec<u8>) -> Vec<u8>;
    let read = |edit: Edit<'_>| Segment::decode(with_frame(&object, 2, edit)).map(|_| ());
    read(&|frame| frame).unwrap();
    let empty = zstd::bulk::compress(&[], 1).unwrap();
    let beside: [(&str, Edit<'_>); 6] = [
        ("skippable behind", &|frame| [frame.as_slice(), &SKIPPABLE].concat()),
        ("skippable before", &|frame| [&SKIPPABLE, frame.as_slice()].concat()),
        ("empty behind", &|frame| [frame.as_slice(), &empty].concat()),
        ("empty before", &|frame| [empty.as_slice(), &frame].concat()),
        ("a byte behind", &|frame| [frame.as_slice(), &[0]].concat()),
        ("no last byte", &|frame| frame[..frame.len() - 1].to_vec()),
    ];
    for (place, edit) in beside {
        let error = read(edit).expect_err(place);
        assert_eq!((error.kind(), error.what()), (Kind::Invalid, "ops"), "{place}: {error}");
    }
}

/// Story: readers accepted zstd where SPEC says raw, so a range read of a header was not reliable.
#[test]
fn zstd_is_refused_where_the_format_says_raw() {
    let uid = Uid::new(1);
    let config = CollectionConfig {
        uid,
        dimension: 2,
        metric: Metric::L2,
        shards: 1,
        ordering: Ordering::Log,
        created: Timestamp::from_millis(1),
        heads: HeadPlace::Store,
        rotation: 1,
    };
    let claim = Claim { collection: uid, claimant: Uid::new(2), version: Version::ZERO, beat: 1 };
    let manifest = Manifest { config: Some(config.clone()), version: Version::new(1), ..Manifest::empty(uid) };
    let mut rows = EmbeddingBuilder::new(Rotation::new(2, 1));
    rows.push(&[1.0, 2.0]);
    let rows = rows.finish().unwrap().object.to_bytes();
    type Read = fn(Bytes) -> Result<(), FormatError>;
    let segment = segment(&ops());
    let cases: [(&str, Bytes, u16, Read); 9] = [
        ("head", Head::empty(uid).encode(), 1, |object| Head::decode(object).map(drop)),
        ("collection register", config.encode(), 1, |object| CollectionConfig::decode(object).map(drop)),
        ("claim", claim.encode(), 1, |object| Claim::decode(object).map(drop)),
        ("segment header", segment.clone(), 1, |object| Segment::decode(object).map(drop)),
        ("segment header", segment.clone(), 1, |object| SegmentFront::decode(object).map(drop)),
        ("embeddings", segment, 3, |object| Segment::decode(object).map(drop)),
        ("embeddings header", rows.clone(), 1, |object| Embeddings::open(object).map(drop)),
        ("checksum table", rows, 2, |object| Embeddings::open(object).map(drop)),
        ("manifest", manifest.encode().unwrap().to_bytes(), 3, |object| Manifest::decode(object).map(drop)),
    ];
    for (what, object, section, read) in cases {
        read(object.clone()).unwrap();
        let error = read(with_frame(&object, section, &|frame| frame)).expect_err(what);
        assert_eq!((error.kind(), error.what()), (Kind::Invalid, what), "{error}");
        assert!(error.to_string().contains("compressed"), "{error}");
    }
}

/// Story: an empty section 3 passed in a segment without embeddings, though SPEC says it is absent.
#[test]
fn an_empty_section_of_embeddings_is_refused() {
    use crate::envelope::{Compress, EnvelopeReader, EnvelopeWriter, ObjectKind};
    let reader = EnvelopeReader::open_any(segment(&[Op::delete("b")])).unwrap();
    let mut writer = EnvelopeWriter::new(ObjectKind::Segment);
    for id in [1, 2] {
        writer.section(id, reader.section(id, "section", 1 << 20).unwrap(), Compress::Never);
    }
    let error = Segment::decode(writer.section(3, Vec::<u8>::new(), Compress::Never).finish().to_bytes()).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "embeddings"));
}
