use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::error::FormatErrorKind as Kind;

fn object(kind: ObjectKind, sections: &[(u16, Vec<u8>, Compress)]) -> Bytes {
    let mut writer = EnvelopeWriter::new(kind);
    for (id, data, compress) in sections {
        writer.section(*id, data.clone(), *compress);
    }
    let encoded = writer.finish();
    let object = encoded.to_bytes();
    assert_eq!(object.len() as u64, encoded.bytes);
    assert_eq!(Envelope::parse(&object).unwrap().crc32(), encoded.crc32);
    object
}

fn two_sections() -> Bytes {
    let text = b"which shrinks, ".repeat(20);
    object(ObjectKind::Segment, &[(1, vec![7; 70], Compress::Never), (2, text, Compress::WhenSmaller)])
}

/// Reads both sections of [`two_sections`].
fn read(object: Bytes) -> Result<(Bytes, Bytes), crate::FormatError> {
    let reader = EnvelopeReader::open(object, ObjectKind::Segment)?;
    Ok((reader.section(1, "one", 1_000)?, reader.section(2, "two", 1_000)?))
}

#[test]
fn sections_are_padded_to_64_bytes_except_the_last() {
    let object = two_sections();
    let envelope = Envelope::parse(&object).unwrap();
    let [one, two] = envelope.sections() else { panic!("two sections") };
    assert_eq!(envelope.envelope_len(), 24 + 2 * 32 + 4);
    assert_eq!((one.offset, one.stored, one.raw, one.encoding), (128, 70, 70, Encoding::Raw));
    assert_eq!((two.offset, two.raw, two.encoding), (256, 300, Encoding::Zstd));
    assert!(two.stored < 64);
    assert_eq!(envelope.bytes(), two.offset + two.stored);
    assert_eq!((envelope.kind(), envelope.version()), (ObjectKind::Segment, 1));
    assert_eq!((one.encoding.name(), two.encoding.name()), ("raw", "zstd"));
}

#[test]
fn the_longest_envelope_is_as_long_as_its_limit() {
    let sections: Vec<_> = (1..=MAX_SECTIONS as u16).map(|id| (id, vec![7], Compress::Never)).collect();
    let object = object(ObjectKind::Segment, &sections);
    let envelope = Envelope::parse(&object[..MAX_ENVELOPE_BYTES]).unwrap();
    assert_eq!((envelope.sections().len(), envelope.envelope_len()), (MAX_SECTIONS, MAX_ENVELOPE_BYTES));
}

#[test]
fn a_section_that_does_not_shrink_is_stored_raw() {
    let object = object(ObjectKind::Segment, &[(9, vec![1, 2, 3], Compress::WhenSmaller)]);
    assert_eq!(Envelope::parse(&object).unwrap().sections()[0].encoding, Encoding::Raw);
}

/// Errors and listings use these names for objects. The numbers are in `SPEC.md`.
#[test]
fn each_kind_has_its_name_and_number() {
    let all = ObjectKind::ALL.map(|kind| (kind.number(), kind.name(), kind.to_string()));
    let expected = ["segment", "part", "embedding object", "manifest", "head", "collection register", "claim"];
    for ((number, name, text), (place, expected)) in all.into_iter().zip((1..).zip(expected)) {
        assert_eq!((number, name, text.as_str()), (place, expected, expected));
    }
    assert_eq!(
        [Encoding::Raw, Encoding::Zstd].map(|encoding| (encoding.number(), encoding.name())),
        [(0, "raw"), (1, "zstd")]
    );
}

/// Only a raw section can be empty: zstd encodes nothing as a frame, and no writer stores that.
#[test]
fn a_compressed_section_is_never_empty() {
    let object = two_sections();
    let at = |section: usize, field: usize| 24 + section * 32 + field;
    for (what, field) in [("stored", 16), ("raw", 24)] {
        let error = Envelope::parse(&forged(&object, at(1, field), &[0; 8])).unwrap_err();
        assert!(error.to_string().contains("a section's entry is malformed"), "{what}: {error}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    let object = two_sections();
    for len in 0..object.len() {
        assert_eq!(read(object.slice(..len)).unwrap_err().kind(), Kind::Truncated, "at {len}");
    }
    let longer = [object.as_ref(), &[0]].concat();
    assert_eq!(read(longer.into()).unwrap_err().kind(), Kind::Damaged);
}

/// Story: a flip in a gap, or in the count of sections, was reported as the fault of a broken
/// writer. A flip in the magic bytes was reported as another program's file, without a word of
/// damage.
#[test]
fn every_bit_flip_is_an_error_that_names_damage() {
    let object = two_sections();
    for bit in 0..object.len() * 8 {
        let mut flipped = object.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = read(flipped.into()).unwrap_err();
        let expected = match bit / 8 {
            0..8 => Kind::NotDeltafold,
            12..14 if error.kind() == Kind::Truncated => Kind::Truncated,
            12..14 if error.kind() == Kind::Damaged => Kind::Damaged,
            92..128 | 198..256 => Kind::Damaged,
            _ => Kind::Checksum,
        };
        assert_eq!(error.kind(), expected, "bit {bit}: {error}");
        assert!(error.to_string().ends_with("restore the object from a copy"), "bit {bit}: {error}");
    }
}

/// `object` with other bytes at `at`, and the crc32 of the envelope corrected.
fn forged(object: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let end = 24 + 32 * usize::from(object[12]);
    let mut forged = object.to_vec();
    forged[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32fast::hash(&forged[..end]);
    forged[end..end + 4].copy_from_slice(&crc.to_le_bytes());
    forged.into()
}

#[test]
fn each_forgery_has_its_error() {
    let object = two_sections();
    let kind = |at, bytes: &[u8]| read(forged(&object, at, bytes)).unwrap_err().kind();
    let (expected, found) = (ObjectKind::Segment, ObjectKind::Head);
    assert_eq!(read(b"SQLite format 3".as_slice().into()).unwrap_err().kind(), Kind::NotDeltafold);
    assert_eq!(kind(8, &[5, 0]), Kind::WrongKind { expected, found });
    assert_eq!(kind(8, &[99, 0]), Kind::Invalid);
    assert_eq!(kind(10, &[2, 0]), Kind::NewerFormat { found: 2 });
    assert_eq!(kind(10, &[0, 0]), Kind::Invalid);
    assert_eq!(kind(14, &[1]), Kind::Invalid, "reserved");
    assert_eq!(kind(16, &u64::MAX.to_le_bytes()), Kind::Invalid, "length");
    let two = 24 + 32;
    let twice = read(forged(&object, two, &[1, 0])).unwrap_err();
    assert_eq!((twice.kind(), twice.reason()), (Kind::Invalid, "it lists section 1 twice"));
    assert_eq!(kind(two, &[3, 0]), Kind::Invalid, "a missing section");
    assert_eq!(kind(two + 2, &[2]), Kind::Invalid, "an unknown encoding");
    assert_eq!(kind(two + 3, &[2]), Kind::Invalid, "reserved");
    assert_eq!(kind(two + 8, &[0; 8]), Kind::Invalid, "offset");
    assert_eq!(kind(24 + 16, &u64::MAX.to_le_bytes()), Kind::Invalid, "stored length");
    assert_eq!(kind(two + 24, &u64::MAX.to_le_bytes()), Kind::TooLarge, "raw length over the cap");
    assert_eq!(kind(two + 24, &301u64.to_le_bytes()), Kind::Invalid, "raw length other than the frame's");
    let mut many = object.to_vec();
    many[12] = 17;
    assert_eq!(Envelope::parse(&many).unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn a_section_outside_its_layout_is_refused() {
    let object = two_sections();
    let two = *Envelope::parse(&object).unwrap().section(2).unwrap();
    let at = usize::try_from(two.offset).unwrap();
    let moved = Bytes::from([&object[..at], &[0; 64], &object[at..]].concat());
    let moved = forged(&moved, 16, &(object.len() as u64 + 64).to_le_bytes());
    let moved = forged(&moved, 24 + 32 + 8, &(two.offset + 64).to_le_bytes());
    assert_eq!(read(moved).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn a_frame_that_does_not_state_its_length_is_refused() {
    let text = b"which shrinks, ".repeat(20);
    let mut encoder = zstd::bulk::Compressor::new(1).unwrap();
    encoder.include_contentsize(false).unwrap();
    let frame = encoder.compress(&text).unwrap();
    assert_eq!(zstd_pool::content_size(&frame), None);
    let object = object(ObjectKind::Segment, &[(1, vec![7; 70], Compress::Never), (2, frame.clone(), Compress::Never)]);
    let object = forged(&object, 24 + 32 + 2, &[1]);
    let object = forged(&object, 24 + 32 + 24, &300u64.to_le_bytes());
    assert_eq!(read(object).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn a_frame_that_is_no_zstd_is_an_error_though_its_crc_matches() {
    let object = two_sections();
    let reader = EnvelopeReader::open(object.clone(), ObjectKind::Segment).unwrap();
    let two = *reader.envelope().section(2).unwrap();
    let at = usize::try_from(two.offset).unwrap();
    for i in 0..usize::try_from(two.stored).unwrap() {
        let mut bad = object.to_vec();
        bad[at + i] ^= 0x55;
        let crc = crc32fast::hash(&bad[at..]);
        let bad = forged(&bad.into(), 24 + 32 + 4, &crc.to_le_bytes());
        if let Ok((_, two)) = read(bad) {
            assert_eq!(two.len(), 300);
        }
    }
}

#[test]
fn sections_are_aligned_wherever_the_object_lies() {
    let object = two_sections();
    for shift in 0..17 {
        let moved = Bytes::from([vec![0; shift].as_slice(), &object].concat()).slice(shift..);
        let reader = EnvelopeReader::open(moved.clone(), ObjectKind::Segment).unwrap();
        let one = reader.section(1, "one", 70).unwrap();
        assert_eq!((one.as_ref(), one.as_ptr() as usize % 16), ([7; 70].as_slice(), 0));
        assert!(reader.section(2, "two", 300).unwrap().as_ptr().addr().is_multiple_of(16));
        let raw = reader.raw_section(1, "one", 70).unwrap();
        assert_eq!(raw.as_ptr(), moved[128..].as_ptr());
    }
    let reader = EnvelopeReader::open(object, ObjectKind::Segment).unwrap();
    assert_eq!(reader.raw_section(2, "two", 300).unwrap_err().kind(), Kind::Invalid, "compressed");
    assert_eq!(reader.raw_section(1, "one", 69).unwrap_err().kind(), Kind::TooLarge);
    assert!(reader.check(1, "one").is_ok());
}

#[test]
fn big_chunks_are_handed_on_as_they_are() {
    let big = Bytes::from(vec![3; 1 << 20]);
    let mut writer = EnvelopeWriter::new(ObjectKind::Embeddings);
    writer.section(1, vec![big.clone(), Bytes::from_static(b"tail")], Compress::Never);
    writer.sealed(2, SealedSection::raw(vec![big.clone()], crc32fast::hash(&big)));
    let encoded = writer.finish();
    assert_eq!(encoded.chunks.iter().filter(|chunk| chunk.as_ptr() == big.as_ptr()).count(), 2);
    let reader = EnvelopeReader::open(encoded.to_bytes(), ObjectKind::Embeddings).unwrap();
    assert!(reader.check(2, "two").is_ok());
    assert_eq!(reader.section(1, "one", 2 << 20).unwrap().len(), (1 << 20) + 4);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sections_come_back(
        sections in proptest::collection::vec((proptest::collection::vec(0u8..4, 0..300), any::<bool>()), 0..=MAX_SECTIONS),
    ) {
        let sections: Vec<_> = sections.into_iter().zip(0u16..).map(|((data, compress), id)| {
            (id, data, if compress { Compress::WhenSmaller } else { Compress::Never })
        }).collect();
        let reader = EnvelopeReader::open(object(ObjectKind::Manifest, &sections), ObjectKind::Manifest).unwrap();
        for (id, data, _) in &sections {
            prop_assert_eq!(reader.section(*id, "section", 300).unwrap(), Bytes::from(data.clone()));
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..700), magic in any::<bool>()) {
        let bytes = if magic { [MAGIC.as_slice(), &bytes].concat() } else { bytes };
        prop_assert!(Envelope::parse(&bytes).is_err());
    }
}

#[test]
fn kinds_have_distinct_numbers_and_names() {
    for (i, kind) in ObjectKind::ALL.into_iter().enumerate() {
        assert_eq!(usize::from(kind.number()), i + 1);
        assert!(!kind.to_string().is_empty());
    }
}
