use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::error::{FormatError, FormatErrorKind as Kind};
use crate::testing;

fn build(dimension: u32, values: &[f32]) -> Result<Bytes, FormatError> {
    let mut builder = EmbeddingBuilder::new(dimension);
    for (number, row) in values.chunks(dimension.max(1) as usize).enumerate() {
        assert_eq!(builder.push(row) as usize, number);
    }
    builder.finish().map(|encoded| encoded.object.to_bytes())
}

fn read(object: Bytes) -> Result<Vec<f32>, FormatError> {
    let embeddings = Embeddings::open(object)?;
    let mut values = Vec::new();
    for row in 0..embeddings.rows() {
        values.extend_from_slice(&embeddings.row(row)?);
    }
    embeddings.verify_all()?;
    Ok(values)
}

/// Rows of more than one MiB; some of them lie across its end.
fn large() -> Vec<f32> {
    let value = |row: u16, i: u16| f32::from(row) * 1_000.0 + f32::from(i) - 150_000.0;
    (0..300).flat_map(|row| (0..1_000).map(move |i| value(row, i))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_and_signs_read_back(
        dimension in 1..200_u32,
        values in proptest::collection::vec(any::<f32>().prop_filter("finite", |f| f.is_finite()), 1..1_000),
    ) {
        let values = &values[..values.len() / dimension as usize * dimension as usize];
        prop_assume!(!values.is_empty());
        let object = build(dimension, values).unwrap();
        let embeddings = Embeddings::open(object.clone()).unwrap();
        let bits = embeddings.sign_bits().unwrap();
        let stride = bits.len() / embeddings.rows() as usize;
        prop_assert!(stride.is_multiple_of(8) && stride * 8 < dimension as usize + 64);
        for (number, row) in values.chunks(dimension as usize).enumerate() {
            let bits = &bits[number * stride..][..stride];
            for i in 0..stride * 8 {
                prop_assert_eq!(bits[i / 8] >> (i % 8) & 1 == 1, row.get(i).is_some_and(|value| *value < 0.0));
            }
        }
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read(object.clone()).unwrap()), bits(values));
        // Where the object lies at an odd address, rows are copies.
        let odd: Bytes = [b"x".as_slice(), &object].concat().into();
        prop_assert_eq!(bits(&read(odd.slice(1..)).unwrap()), bits(values));
    }
}

#[test]
fn aligned_rows_are_not_copied() {
    let object = build(100, &large()).unwrap();
    let mut words = vec![0_u64; object.len().div_ceil(8)];
    bytemuck::cast_slice_mut(&mut words)[..object.len()].copy_from_slice(&object);
    struct Words(Vec<u64>, usize);
    impl AsRef<[u8]> for Words {
        fn as_ref(&self) -> &[u8] {
            &bytemuck::cast_slice(&self.0)[..self.1]
        }
    }
    let embeddings = Embeddings::open(Bytes::from_owner(Words(words, object.len()))).unwrap();
    assert!(matches!(embeddings.row(7).unwrap(), std::borrow::Cow::Borrowed(row) if row == &large()[700..800]));
}

#[test]
fn damage_is_found_where_it_is_touched_and_nowhere_else() {
    let object = build(1_000, &large()).unwrap();
    let whole = Embeddings::open(object.clone()).unwrap();
    assert_eq!((whole.rows(), whole.dimension()), (300, 1_000));
    assert_eq!(whole.crc32(), crate::Envelope::parse(&object).unwrap().crc32());
    let rows = crate::Envelope::parse(&object).unwrap().section(ROWS).copied().unwrap();
    let mut damaged = object.to_vec();
    // The last byte of the first MiB: rows 0 to 262, the last of which lies across its end.
    damaged[usize::try_from(rows.offset).unwrap() + BLOCK - 1] ^= 0x40;
    let embeddings = Embeddings::open(damaged.into()).unwrap();
    for row in [0, 261, 262] {
        let error = embeddings.row(row).unwrap_err();
        assert_eq!((error.kind(), error.what()), (Kind::Checksum, "embedding rows"));
    }
    for row in [263, 299] {
        assert_eq!(embeddings.row(row), whole.row(row));
    }
    // Sound rows that were touched before do not hide it.
    assert_eq!(embeddings.verify_all().unwrap_err().kind(), Kind::Checksum);
    assert_eq!(whole.row(300).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(whole.row(u32::MAX).unwrap_err().kind(), Kind::Invalid);
}

/// A row lies across two MiB and the damage is in the second. A reader that checks only the MiB in which a row
/// begins returns wrong floats.
#[test]
fn damage_in_the_second_mib_of_a_row_is_found() {
    let object = build(1_000, &large()).unwrap();
    let whole = Embeddings::open(object.clone()).unwrap();
    let rows = crate::Envelope::parse(&object).unwrap().section(ROWS).copied().unwrap();
    let mut damaged = object.to_vec();
    // The first byte of the second MiB: row 262 begins before it, 263 to 299 lie behind it.
    damaged[usize::try_from(rows.offset).unwrap() + BLOCK] ^= 0x40;
    let embeddings = Embeddings::open(damaged.into()).unwrap();
    for row in [262, 263, 299] {
        assert_eq!(embeddings.row(row).unwrap_err().kind(), Kind::Checksum, "row {row}");
    }
    for row in [0, 261] {
        assert_eq!(embeddings.row(row), whole.row(row));
    }
    // A row whose first MiB was found sound before is no exception.
    assert_eq!(embeddings.row(262).unwrap_err().kind(), Kind::Checksum);
}

/// A row that ends with its MiB does not depend on the next one.
#[test]
fn a_row_is_as_sound_as_the_mib_it_lies_in() {
    let rows: Vec<f32> = (0..300_u16).flat_map(|row| vec![f32::from(row); 1_024]).collect();
    let object = build(1_024, &rows).unwrap();
    let section = crate::Envelope::parse(&object).unwrap().section(ROWS).copied().unwrap();
    let mut damaged = object.to_vec();
    damaged[usize::try_from(section.offset).unwrap() + BLOCK] ^= 0x40;
    let embeddings = Embeddings::open(damaged.into()).unwrap();
    assert_eq!(embeddings.row(255).unwrap(), &rows[255 * 1_024..256 * 1_024]);
    assert_eq!(embeddings.row(256).unwrap_err().kind(), Kind::Checksum);
}

/// The last MiB is damaged and the first was touched. One MiB that is sound says nothing of another.
#[test]
fn each_mib_is_checked_by_itself() {
    let mut builder = EmbeddingBuilder::new(65_536);
    // Four rows of this dimension take a MiB.
    let rows = embedding_object_rows(65_536);
    for row in 0..rows {
        builder.push(&vec![row as f32; 65_536]);
    }
    let last = rows - 4;
    let object = builder.finish().unwrap().object.to_bytes();
    let section = crate::Envelope::parse(&object).unwrap().section(ROWS).copied().unwrap();
    let mut damaged = object.to_vec();
    damaged[usize::try_from(section.offset + section.stored).unwrap() - 1] ^= 1;
    let embeddings = Embeddings::open(damaged.into()).unwrap();
    for row in 0..last {
        assert_eq!(embeddings.row(row).unwrap()[0].to_bits(), (row as f32).to_bits());
    }
    for row in last..rows {
        assert_eq!(embeddings.row(row).unwrap_err().kind(), Kind::Checksum, "row {row}");
    }
}

#[test]
fn a_builder_refuses_what_no_reader_would_take() {
    let kind = |dimension, values: &[f32]| build(dimension, values).unwrap_err().kind();
    assert_eq!(kind(3, &[]), Kind::Invalid);
    assert_eq!(kind(3, &[1.0, 2.0]), Kind::Invalid);
    assert_eq!(kind(0, &[]), Kind::Invalid);
    assert_eq!(kind(65_537, &vec![0.0; 65_537]), Kind::Invalid);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(kind(3, &[1.0, bad, 2.0]), Kind::Invalid);
    }
    assert_eq!(kind(1, &vec![0.0; 65_537]), Kind::TooLarge);
    // A row too short and one too long must not pass for two right ones.
    let mut ragged = EmbeddingBuilder::new(2);
    ragged.push(&[1.0]);
    ragged.push(&[1.0; 2]);
    assert_eq!(ragged.finish().unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn an_object_is_full_at_16_mib_or_65536_rows() {
    let rows = [1, 64, 65, 384, 1_536, 65_536].map(embedding_object_rows);
    assert_eq!(rows, [65_536, 65_536, 64_527, 10_922, 2_730, 64]);
    let mut builder = EmbeddingBuilder::new(65_536);
    while !builder.is_full() {
        builder.push(&[0.5; 65_536]);
    }
    assert_eq!(builder.rows(), 64);
    assert!(builder.finish().is_ok());
}

/// Objects that a broken writer could make: every checksum of the envelope is right.
#[test]
fn what_contradicts_itself_is_refused_though_its_checksums_match() {
    let object = build(3, &[1.0, -2.0, 0.5, -0.0, 7.0, -7.0]).unwrap();
    assert!(read(object.clone()).is_ok());
    let refused = |id, edit: &dyn Fn(&mut Vec<u8>), what| {
        let error = read(testing::with_section(&object, id, edit)).unwrap_err();
        assert_eq!((error.kind(), error.what()), (Kind::Invalid, what), "{error}");
    };
    refused(HEADER, &|header| header[0] = 4, "embedding rows");
    refused(HEADER, &|header| header[0] = 0, "embeddings header");
    refused(HEADER, &|header| header[2] = 2, "embeddings header");
    refused(HEADER, &|header| header[4] = 0, "embeddings header");
    refused(HEADER, &|header| header[6] = 2, "embeddings header");
    refused(HEADER, &|header| header.truncate(7), "embeddings header");
    refused(ROWS, &|rows| rows.truncate(20), "embedding rows");
    refused(CHECKSUMS, &|table| table.truncate(3), "checksum table");
    let two_mib = testing::with_section(&build(1_000, &large()).unwrap(), CHECKSUMS, &|table| table.truncate(4));
    let error = Embeddings::open(two_mib).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "checksum table"));
    refused(SIGNS, &|signs| signs.truncate(15), "sign bits");
    refused(SIGNS, &|signs| signs[0] ^= 4, "sign bits");
    // Bits behind the last dimension.
    refused(SIGNS, &|signs| signs[0] ^= 8, "sign bits");
    let longer = testing::with_section(&object, CHECKSUMS, &|table| table.extend([0; 4]));
    assert_eq!(read(longer).unwrap_err().kind(), Kind::TooLarge);
    // The rows' own checksum differs from the envelope's.
    let changed = testing::with_section(&object, ROWS, &|rows| rows[0] ^= 1);
    assert_eq!(read(changed).unwrap_err().kind(), Kind::Checksum);
    let infinite = |rows: &mut Vec<u8>| rows[..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let mut rows: Vec<u8> =
        [1.0_f32, -2.0, 0.5, -0.0, 7.0, -7.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    infinite(&mut rows);
    let table = testing::with_section(&object, CHECKSUMS, &|table| {
        table.copy_from_slice(&crc32fast::hash(&rows).to_le_bytes());
    });
    let error = read(testing::with_section(&table, ROWS, &infinite)).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "embedding rows"));
    // Two that are not finite, so that one does not hide the other.
    let infinite = |rows: &mut Vec<u8>| {
        rows[..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
        rows[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
    };
    infinite(&mut rows);
    let table = testing::with_section(&object, CHECKSUMS, &|table| {
        table.copy_from_slice(&crc32fast::hash(&rows).to_le_bytes());
    });
    let error = read(testing::with_section(&table, ROWS, &infinite)).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "embedding rows"));
}
