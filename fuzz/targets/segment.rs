//! Segments. A decoded segment encodes again to the same header, the same rows and the same
//! embeddings, at any address in memory.
#![no_main]

use bytes::Bytes;
use deltafold::format::{Inspection, ObjectKind, Op, Segment, SegmentBody, SegmentHeader, SegmentStamp, limits};
use deltafold_fuzz::memory::Bounded;
use deltafold_fuzz::{mutation, object, seeds};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};

#[global_allocator]
static MEMORY: Bounded<{ limits::MAX_SEGMENT_SECTION_BYTES }> = Bounded;

fuzz_target!(init: seeds::write_if_asked(seeds), |input: &[u8]| -> Corpus {
    mutation::kept(input.first(), check(object::from_input(ObjectKind::Segment, input)))
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutation::mutated(data, size, max_size, seed)
});

fn seeds() -> Vec<Vec<u8>> {
    let all = seeds::golden().into_iter().chain(seeds::objects());
    all.filter(|seed| object::kind(seed) == Some(ObjectKind::Segment))
        .flat_map(|seed| object::to_inputs(&seed))
        .collect()
}

/// Whether the object is a segment.
fn check(object: Bytes) -> bool {
    let decoded = Segment::decode(object.clone());
    let inspection = Inspection::of(object.clone());
    // One byte further on, so that nothing is aligned.
    let shifted = Bytes::from([&[0][..], &object].concat()).slice(1..);
    let Ok(segment) = decoded else {
        assert!(Segment::decode(shifted).is_err(), "whether it decodes depends on where it lies");
        return false;
    };
    assert!(inspection.is_ok_and(|inspection| inspection.envelope.kind() == ObjectKind::Segment));
    let ops = ops(&segment);
    assert_eq!(ops.len(), segment.len());
    let again = encoded(segment.header(), &ops);
    for id in 1..=3 {
        let bytes = (object::section(&object, id), object::section(&again, id));
        assert!(bytes.0 == bytes.1 || bytes.1.is_none() && bytes.0.is_some_and(|bytes| bytes.is_empty()));
    }
    // A writer may leave the hashes of ids out.
    if let (Some(hashes), Some(again)) = (object::section(&object, 4), object::section(&again, 4)) {
        assert!(hashes == again, "one id has one hash");
    }
    for other in [Segment::decode(shifted), Segment::decode(again.clone())] {
        let other = other.expect("it is the same segment");
        assert_eq!(other.header(), segment.header());
        assert_eq!(self::ops(&other), ops);
        let bits = |segment: &Segment| segment.vectors().iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&other), bits(&segment));
        for index in 0..segment.len() {
            assert_eq!(other.op_digest(index), segment.op_digest(index));
            assert_eq!(other.place(index), segment.place(index));
        }
    }
    assert_eq!(encoded(segment.header(), &ops), again, "one value has one encoding");
    true
}

fn ops(segment: &Segment) -> Vec<Op> {
    segment.ops().map(|(_, op)| op.map_embedding(|row| segment.vector(row).to_vec())).collect()
}

fn encoded(header: &SegmentHeader, ops: &[Op]) -> Bytes {
    let body = SegmentBody::encode(ops, header.dimension).expect("a decoded object can be encoded");
    assert_eq!(body.digest(header.sequence), header.digest);
    let stamp = SegmentStamp {
        collection: header.collection,
        sequence: header.sequence,
        writer: header.writer,
        batch: header.batch,
        times: header.times,
        marks: header.marks.clone(),
        passed: header.passed,
    };
    body.seal(stamp).expect("its header was sound").to_bytes()
}
