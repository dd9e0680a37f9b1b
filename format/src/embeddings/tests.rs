use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::codes::{CodeEncoder, Rotation, sign_bytes};
use crate::error::{FormatError, FormatErrorKind as Kind};
use crate::testing;

const SEED: u64 = 0x5eed;

fn build(dimension: u32, values: &[f32]) -> Result<Bytes, FormatError> {
    let mut builder = EmbeddingBuilder::new(Rotation::new(dimension, SEED));
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

/// The object with a byte of a section flipped. The envelope's checksums stay as they were.
fn damaged(object: &Bytes, section: EmbeddingSection, byte: usize) -> Bytes {
    let entry = *crate::Envelope::parse(object).unwrap().section(section.id()).unwrap();
    let mut damaged = object.to_vec();
    damaged[usize::try_from(entry.offset).unwrap() + byte] ^= 0x40;
    damaged.into()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Rows of more than one block. Some rows cross the end of a block.
fn large() -> Vec<f32> {
    let value = |row: u16, i: u16| f32::from(row) * 1_000.0 + f32::from(i) - 150_000.0;
    (0..30).flat_map(|row| (0..1_000).map(move |i| value(row, i))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_and_codes_read_back(
        dimension in 1..200_u32,
        values in proptest::collection::vec(any::<f32>().prop_filter("finite", |f| f.is_finite()), 1..1_000),
    ) {
        let values = &values[..values.len() / dimension as usize * dimension as usize];
        prop_assume!(!values.is_empty());
        let object = build(dimension, values).unwrap();
        let embeddings = Embeddings::open(object.clone()).unwrap();
        prop_assert_eq!(embeddings.rotation(), SEED);
        let mut encoder = CodeEncoder::new(Rotation::new(dimension, SEED));
        let (mut signs, mut bytes) = (vec![0; sign_bytes(dimension)], vec![0; dimension as usize]);
        for (number, row) in (0..).zip(values.chunks(dimension as usize)) {
            let factors = encoder.encode(row, &mut signs, &mut bytes);
            let codes = embeddings.codes(number).unwrap();
            prop_assert_eq!((codes.signs, codes.bytes, codes.factors), (&signs[..], &bytes[..], factors));
            let rotated: Vec<i8> = embeddings.byte_codes(number..number + 1).unwrap().to_vec();
            prop_assert_eq!(bytemuck::cast_slice::<i8, u8>(&rotated), &bytes[..]);
        }
        prop_assert_eq!(bits(&read(object.clone()).unwrap()), bits(values));
        // If the object lies at an odd address, rows are copies.
        let odd: Bytes = [b"x".as_slice(), &object].concat().into();
        prop_assert_eq!(bits(&read(odd.slice(1..)).unwrap()), bits(values));
    }

    #[test]
    fn ranges_equal_the_whole_object(
        dimension in 1..300_u32,
        rows in 1..200_u32,
        from in any::<u32>(),
        len in any::<u32>(),
    ) {
        let values: Vec<f32> = (0..dimension * rows).map(|i| (i % 977) as f32 - 400.0).collect();
        let object = build(dimension, &values).unwrap();
        let whole = Embeddings::open(object.clone()).unwrap();
        let cut = |range: std::ops::Range<u64>| {
            object.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap())
        };
        let front = EmbeddingsFront::open(cut(0..EmbeddingsFront::bytes(dimension, rows))).unwrap();
        prop_assert_eq!((front.dimension(), front.rows(), front.rotation()), (dimension, rows, SEED));
        prop_assert_eq!(front.crc32(), whole.crc32());
        let from = from % (rows + 1);
        let wanted = from..from + len % (rows - from + 1);
        let mut end = 0;
        for section in EmbeddingSection::ALL {
            let range = front.range(section, wanted.clone());
            prop_assert!(range.end - range.start <= (wanted.len() * section.stride(dimension) + 2 * BLOCK) as u64);
            let fetched = cut(range);
            let verified = front.verified(section, wanted.clone(), &fetched).unwrap();
            prop_assert_eq!(&verified[..], whole.section(section, wanted.clone()).unwrap());
            // The ranges computed before any request match the object.
            let all = front.range(section, 0..rows);
            prop_assert_eq!(all.end, EmbeddingsFront::bytes_through(dimension, rows, section));
            prop_assert_eq!(&all, &EmbeddingsFront::written_range(dimension, rows, section..=section));
            prop_assert_eq!(&all, &front.sections_range(section..=section));
            if section == EmbeddingSection::Rows && !wanted.is_empty() {
                let written = EmbeddingsFront::written_rows(dimension, rows, wanted.clone());
                prop_assert_eq!(written, front.range(section, wanted.clone()));
            }
            prop_assert!(end <= all.start);
            end = all.end;
        }
        prop_assert_eq!(end, object.len() as u64);
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
    assert!(matches!(embeddings.row(7).unwrap(), Cow::Borrowed(row) if row == &large()[700..800]));
    let norms = embeddings.numbers(EmbeddingSection::Norms, 0..300).unwrap();
    assert!(matches!(norms, Cow::Borrowed(norms) if norms.len() == 300));
}

#[test]
fn damage_is_found_where_it_is_touched_and_nowhere_else() {
    let object = build(1_000, &large()).unwrap();
    let whole = Embeddings::open(object.clone()).unwrap();
    assert_eq!((whole.rows(), whole.dimension()), (30, 1_000));
    assert_eq!(whole.crc32(), crate::Envelope::parse(&object).unwrap().crc32());
    // The last byte of the first block, which holds rows 0 to 4. Row 4 crosses its end.
    let embeddings = Embeddings::open(damaged(&object, EmbeddingSection::Rows, BLOCK - 1)).unwrap();
    for row in [0, 3, 4] {
        let error = embeddings.row(row).unwrap_err();
        assert_eq!((error.kind(), error.what()), (Kind::Checksum, "embedding rows"));
    }
    for row in [5, 29] {
        assert_eq!(embeddings.row(row), whole.row(row));
    }
    // Earlier reads of sound rows do not hide it.
    assert_eq!(embeddings.verify_all().unwrap_err().kind(), Kind::Checksum);
    assert_eq!(whole.row(30).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(whole.row(u32::MAX).unwrap_err().kind(), Kind::Invalid);
}

/// A row crosses two blocks, and the damage is in the second. A reader that checks only the block
/// in which a row begins returns wrong floats.
#[test]
fn damage_in_the_second_block_of_a_row_is_found() {
    let object = build(1_000, &large()).unwrap();
    let whole = Embeddings::open(object.clone()).unwrap();
    // The first byte of the second block: row 4 begins before it, 5 to 7 lie behind it.
    let embeddings = Embeddings::open(damaged(&object, EmbeddingSection::Rows, BLOCK)).unwrap();
    for row in [4, 5, 7] {
        assert_eq!(embeddings.row(row).unwrap_err().kind(), Kind::Checksum, "row {row}");
    }
    for row in [0, 3, 9] {
        assert_eq!(embeddings.row(row), whole.row(row));
    }
    // The check of the row's first block does not vouch for the second.
    assert_eq!(embeddings.row(4).unwrap_err().kind(), Kind::Checksum);
}

/// A reader that copies rows from the file asks first whether they were verified.
#[test]
fn rows_are_verified_once_all_their_blocks_were_read() {
    let object = build(1_000, &large()).unwrap();
    let embeddings = Embeddings::open(object.clone()).unwrap();
    let is_verified = |rows| embeddings.verified(EmbeddingSection::Rows, rows).unwrap().is_some();
    embeddings.row(0).unwrap();
    // Row 4 lies in the first block and in the second.
    assert!(is_verified(0..4) && !is_verified(4..5) && !is_verified(0..5) && !is_verified(6..7));
    let row = embeddings.row(4).unwrap();
    let bytes = embeddings.verified(EmbeddingSection::Rows, 4..5).unwrap().unwrap();
    assert_eq!(bytes, row.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>());
    assert!(is_verified(0..8) && !is_verified(8..9));
    assert_eq!(embeddings.verified(EmbeddingSection::Bytes, 0..1), Ok(None));
    assert_eq!(embeddings.verified(EmbeddingSection::Rows, 9..99).unwrap_err().kind(), Kind::Invalid);
    let front = embeddings.without_sections(EmbeddingSection::ALL[0]..=*EmbeddingSection::ALL.last().unwrap());
    assert_eq!(front.verified(EmbeddingSection::Rows, 0..1), Ok(None));
}

/// A row that ends with its block does not depend on the next one.
#[test]
fn a_row_is_as_sound_as_the_block_it_lies_in() {
    let rows: Vec<f32> = (0..12_u16).flat_map(|row| vec![f32::from(row); 1_024]).collect();
    let object = build(1_024, &rows).unwrap();
    let embeddings = Embeddings::open(damaged(&object, EmbeddingSection::Rows, BLOCK)).unwrap();
    assert_eq!(embeddings.row(3).unwrap(), &rows[3 * 1_024..4 * 1_024]);
    assert_eq!(embeddings.row(4).unwrap_err().kind(), Kind::Checksum);
}

#[test]
fn damage_of_codes_and_factors_is_found_by_its_block() {
    let rows: Vec<f32> = (0..9_000_u16).flat_map(|row| [f32::from(row), 1.0, -2.0]).collect();
    let object = build(3, &rows).unwrap();
    let front = EmbeddingsFront::open(object.clone()).unwrap();
    for section in EmbeddingSection::ALL {
        // The second block of each section. The last row of the section lies in it or in a third
        // one.
        let twin = damaged(&object, section, BLOCK);
        let embeddings = Embeddings::open(twin.clone()).unwrap();
        let touched = u32::try_from(BLOCK / section.stride(3)).unwrap() + 1;
        assert!(embeddings.section(section, 0..touched - 2).is_ok());
        let error = embeddings.section(section, touched..touched + 1).unwrap_err();
        assert_eq!((error.kind(), error.what()), (Kind::Checksum, section.name()));
        assert_eq!(embeddings.verify_all().unwrap_err().kind(), Kind::Checksum);
        for other in EmbeddingSection::ALL.into_iter().filter(|other| *other != section) {
            assert!(embeddings.section(other, 0..9_000).is_ok());
        }
        let range = front.range(section, touched..touched + 1);
        let cut = |range: std::ops::Range<u64>| twin.slice(range.start as usize..range.end as usize);
        let error = front.verified(section, touched..touched + 1, &cut(range.clone())).unwrap_err();
        assert_eq!((error.kind(), error.what()), (Kind::Checksum, section.name()));
        let short = front.verified(section, touched..touched + 1, &cut(range.start..range.end - 1)).unwrap_err();
        assert_eq!(short.kind(), Kind::Truncated);
        let beyond = front.verified(section, 8_999..9_001, &Bytes::new()).unwrap_err();
        assert_eq!(beyond.kind(), Kind::Invalid);
        assert!(front.range(section, 8_999..9_001).is_empty());
    }
}

#[test]
fn a_front_that_is_cut_short_is_truncated() {
    let object = build(100, &large()).unwrap();
    let len = usize::try_from(EmbeddingsFront::bytes(100, 300)).unwrap();
    assert!(EmbeddingsFront::open(object.slice(..len)).is_ok());
    assert_eq!(EmbeddingsFront::open(object.slice(..len - 1)).unwrap_err().kind(), Kind::Truncated);
}

#[test]
fn sections_fetched_apart_read_as_the_whole_object() {
    use EmbeddingSection::{Bytes as Codes, Norms, Rows, Scales, Signs};
    let object = build(100, &large()).unwrap();
    let whole = Embeddings::open(object.clone()).unwrap();
    let cut = |range: std::ops::Range<u64>| object.slice(range.start as usize..range.end as usize);
    let prefix = cut(0..EmbeddingsFront::bytes_through(100, 300, Signs));
    let signs = Embeddings::open_prefix(prefix.clone()).unwrap();
    let held = EmbeddingSection::ALL.map(|section| signs.holds(section));
    assert_eq!(held, [true, true, true, false, false, false, false]);
    assert_eq!(signs.byte_codes(0..300).unwrap_err().kind(), Kind::Truncated);
    assert_eq!(signs.row(0).unwrap_err().kind(), Kind::Truncated);
    let range = signs.front().sections_range(Scales..=Codes);
    let both = signs.with_sections(Scales..=Codes, &cut(range.clone())).unwrap();
    let all = both.with_sections(Rows..=Rows, &cut(both.front().sections_range(Rows..=Rows))).unwrap();
    for section in EmbeddingSection::ALL {
        assert_eq!(all.section(section, 0..300), whole.section(section, 0..300));
        assert_eq!(both.holds(section), section != Rows);
    }
    let short = signs.with_sections(Scales..=Codes, &cut(range.start..range.end - 1)).unwrap_err();
    assert_eq!((short.kind(), short.what()), (Kind::Truncated, "scales"));
    // A section that is cut short is not held, while those before it are.
    let norms = Embeddings::open_prefix(prefix.slice(..prefix.len() - 1)).unwrap();
    assert!(norms.holds(Norms) && !norms.holds(Signs));
    let without = all.without_sections(Scales..=Codes);
    assert_eq!(
        EmbeddingSection::ALL.map(|section| without.holds(section)),
        [true, true, true, false, false, false, true]
    );
    // The block checksums find damage in a fetched section.
    let mut twin = cut(range).to_vec();
    twin[0] ^= 1;
    let error = signs.with_sections(Scales..=Codes, &twin.into()).unwrap().numbers(Scales, 0..1).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Checksum, "scales"));
}

#[test]
fn a_copied_row_keeps_its_codes() {
    let from = Embeddings::open(build(100, &large()).unwrap()).unwrap();
    let mut copied = EmbeddingBuilder::new(Rotation::new(100, SEED));
    let mut pushed = EmbeddingBuilder::new(Rotation::new(100, SEED));
    for row in (0..300).rev() {
        // Copied rows and pushed rows may alternate.
        let number =
            if row % 3 == 0 { copied.push(&from.row(row).unwrap()) } else { copied.push_copy(&from, row).unwrap() };
        assert_eq!(pushed.push(&from.row(row).unwrap()), number);
    }
    assert_eq!(copied.estimated_bytes(), pushed.estimated_bytes());
    let [copied, pushed] = [copied, pushed].map(|builder| builder.finish().unwrap().object.to_bytes());
    assert!(copied == pushed);
    // Codes of another rotation are of no use.
    let mut other = EmbeddingBuilder::new(Rotation::new(100, SEED + 1));
    other.push_copy(&from, 0).unwrap();
    assert!(read(other.finish().unwrap().object.to_bytes()).is_ok());
    let mut other = EmbeddingBuilder::new(Rotation::new(100, SEED));
    assert_eq!(other.push_copy(&from, 300).unwrap_err().kind(), Kind::Invalid);
    let twin = Embeddings::open(damaged(&build(100, &large()).unwrap(), EmbeddingSection::Bytes, 0)).unwrap();
    assert_eq!(other.push_copy(&twin, 0).unwrap_err().kind(), Kind::Checksum);
    assert_eq!(other.rows(), 0);
}

#[test]
fn a_builder_refuses_unreadable_rows() {
    let kind = |dimension, values: &[f32]| build(dimension, values).unwrap_err().kind();
    assert_eq!(kind(3, &[]), Kind::Invalid);
    assert_eq!(kind(3, &[1.0, 2.0]), Kind::Invalid);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(kind(3, &[1.0, bad, 2.0]), Kind::Invalid);
    }
    assert_eq!(kind(1, &vec![0.0; 65_537]), Kind::TooLarge);
    // A row too short and one too long must not pass as two right ones.
    let mut ragged = EmbeddingBuilder::new(Rotation::new(2, SEED));
    ragged.push(&[1.0]);
    ragged.push(&[1.0; 2]);
    assert_eq!(ragged.finish().unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn an_object_is_full_at_16_mib_or_65536_rows() {
    let rows = [1, 48, 49, 384, 1_536, 65_536].map(embedding_object_rows);
    assert_eq!(rows, [65_536, 63_550, 62_368, 8_456, 2_126, 49]);
    let mut builder = EmbeddingBuilder::new(Rotation::new(65_536, SEED));
    while !builder.is_full() {
        builder.push(&[0.5; 65_536]);
    }
    assert_eq!(builder.rows(), 49);
    assert!(builder.estimated_bytes() <= 16 << 20);
    assert!(builder.finish().is_ok());
}

/// Compaction decides by the estimate whether small objects go into one.
#[test]
fn an_estimate_is_near_the_bytes_of_the_object() {
    for (dimension, rows) in [(1, 3_000), (3, 1_000), (100, 300), (1_024, 20)] {
        let mut builder = EmbeddingBuilder::new(Rotation::new(dimension, SEED));
        for _ in 0..rows {
            builder.push(&vec![0.5; dimension as usize]);
        }
        let estimate = builder.estimated_bytes();
        let bytes = builder.finish().unwrap().object.to_bytes().len();
        // Besides the rows: envelope, header, gaps and the checksum table.
        assert!((estimate..estimate + 2_048).contains(&bytes), "{rows} rows of {dimension}: {estimate} for {bytes}");
    }
}

/// Objects that a broken writer could make: every checksum of the envelope is right.
#[test]
fn contradictions_under_right_checksums_are_refused() {
    let object = build(3, &[1.0, -2.0, 0.5, -0.0, 7.0, -7.0]).unwrap();
    assert!(read(object.clone()).is_ok());
    let refused = |id, edit: &dyn Fn(&mut Vec<u8>), what| {
        let error = read(testing::with_section(&object, id, edit)).unwrap_err();
        assert_eq!((error.kind(), error.what()), (Kind::Invalid, what), "{error}");
    };
    refused(HEADER, &|header| header[0] = 4, "8-bit codes");
    refused(HEADER, &|header| header[0] = 0, "embeddings header");
    refused(HEADER, &|header| header[2] = 2, "embeddings header");
    refused(HEADER, &|header| header[4] = 0, "embeddings header");
    refused(HEADER, &|header| header[4] = 1, "norms");
    refused(HEADER, &|header| header[6] = 2, "embeddings header");
    refused(HEADER, &|header| header.truncate(15), "embeddings header");
    refused(CHECKSUMS, &|table| table.truncate(27), "checksum table");
    refused(CHECKSUMS, &|table| table.truncate(24), "checksum table");
    let longer = testing::with_section(&object, CHECKSUMS, &|table| table.extend([0; 4]));
    assert_eq!(read(longer).unwrap_err().kind(), Kind::TooLarge);
    for section in EmbeddingSection::ALL {
        refused(section.id(), &|bytes| bytes.truncate(bytes.len() - 1), section.name());
        // The block's own checksum differs from the envelope's.
        let changed = testing::with_section(&object, section.id(), &|bytes| bytes[0] ^= 1);
        assert_eq!(read(changed).unwrap_err().kind(), Kind::Checksum);
    }
}

/// Ranges of rows are read in place, so a compressed section has none.
#[test]
fn a_compressed_section_of_rows_or_codes_is_refused() {
    let object = build(3, &[1.0, -2.0, 0.5, -0.0, 7.0, -7.0]).unwrap();
    for section in EmbeddingSection::ALL {
        let packed = testing::with_frame(&object, section.id(), &|frame| frame);
        let front = EmbeddingsFront::open(packed.clone()).unwrap_err();
        for error in [Embeddings::open(packed).unwrap_err(), front] {
            assert_eq!((error.kind(), error.what()), (Kind::Invalid, section.name()), "{error}");
            assert!(error.to_string().contains("compressed"), "{error}");
        }
    }
}

/// The front of an object whose sections have so many rows, each of zeros. No other byte is made.
fn front_of(dimension: u32, rows: u32) -> Result<EmbeddingsFront, FormatError> {
    use crate::envelope::{Compress, EnvelopeWriter, ObjectKind, SealedSection};
    let zeros = Bytes::from(vec![0; 1 << 20]);
    let header = [&dimension.to_le_bytes()[..], &rows.to_le_bytes(), &SEED.to_le_bytes()].concat();
    let lengths = EmbeddingSection::ALL.map(|section| rows as usize * section.stride(dimension));
    let blocks = lengths.iter().map(|len| len.div_ceil(BLOCK)).sum::<usize>();
    let mut out = EnvelopeWriter::new(ObjectKind::Embeddings);
    out.section(HEADER, header, Compress::Never).section(CHECKSUMS, vec![0; 4 * blocks], Compress::Never);
    for (section, len) in EmbeddingSection::ALL.into_iter().zip(lengths) {
        let mut chunks = vec![zeros.clone(); len >> 20];
        chunks.push(zeros.slice(..len % (1 << 20)));
        out.sealed(section.id(), SealedSection::raw(chunks, 0));
    }
    let mut front = Vec::new();
    for chunk in out.finish().chunks {
        if (front.len() as u64) < EmbeddingsFront::bytes(dimension, rows) {
            front.extend_from_slice(&chunk);
        }
    }
    EmbeddingsFront::open(front.into())
}

#[test]
fn a_section_longer_than_256_mib_is_refused() {
    // 65,536 rows of 1,024 numbers are 256 MiB to the byte.
    assert!(front_of(1_024, 65_536).is_ok());
    let error = front_of(1_025, 65_536).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::TooLarge, "embedding rows"), "{error}");
}

/// The object with a section changed and every checksum right, those of blocks too.
fn consistent(object: &Bytes, section: EmbeddingSection, edit: &dyn Fn(&mut Vec<u8>)) -> Bytes {
    let changed = testing::with_section(object, section.id(), edit);
    let entry = *crate::Envelope::parse(&changed).unwrap().section(section.id()).unwrap();
    // Each section of a small object is one block.
    testing::with_section(&changed, CHECKSUMS, &|table| {
        table[section.place() * 4..][..4].copy_from_slice(&entry.crc32.to_le_bytes());
    })
}

#[test]
fn codes_that_are_not_those_of_the_rows_are_refused() {
    let object = build(3, &[1.0, -2.0, 0.5, -0.0, 7.0, -7.0]).unwrap();
    assert!(read(consistent(&object, EmbeddingSection::Rows, &|_| {})).is_ok());
    for section in EmbeddingSection::ALL {
        let error = read(consistent(&object, section, &|bytes| bytes[0] ^= 1)).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        if section != EmbeddingSection::Rows {
            assert_eq!(error.what(), section.name(), "{error}");
        }
    }
    // Bits behind the last dimension.
    let error = read(consistent(&object, EmbeddingSection::Signs, &|bytes| bytes[7] ^= 0x80)).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "sign bits"));
    let error = read(consistent(&object, EmbeddingSection::Bytes, &|bytes| bytes[0] = 0x80)).unwrap_err();
    assert!(error.to_string().contains("-128"), "{error}");
}

#[test]
fn numbers_that_no_writer_writes_are_refused_when_touched() {
    use EmbeddingSection::{Estimators, Norms, Residuals, Rows, Scales};
    let object = build(3, &[1.0, -2.0, 0.5, -0.0, 7.0, -7.0]).unwrap();
    let touched = |section, number: f32| {
        let edit = move |bytes: &mut Vec<u8>| bytes[4..8].copy_from_slice(&number.to_le_bytes());
        let embeddings = Embeddings::open(consistent(&object, section, &edit)).unwrap();
        embeddings.section(section, 0..1).map(|_| ())
    };
    for section in [Norms, Estimators, Scales, Residuals, Rows] {
        let error = touched(section, f32::NAN).unwrap_err();
        assert_eq!((error.kind(), error.what()), (Kind::Invalid, section.name()));
        assert_eq!(touched(section, f32::INFINITY).is_ok(), matches!(section, Norms | Residuals));
        assert_eq!(touched(section, -1.0).is_ok(), section == Rows);
        assert!(touched(section, 3.0).is_ok());
    }
    // Two values with the same fault, so that one does not hide the other.
    for section in [Norms, Estimators, Scales, Residuals] {
        for number in [-1.0_f32, f32::NAN] {
            let number = number.to_le_bytes();
            let edit = |bytes: &mut Vec<u8>| bytes[..8].copy_from_slice(&[number, number].concat());
            let embeddings = Embeddings::open(consistent(&object, section, &edit)).unwrap();
            let error = embeddings.section(section, 0..1).map(|_| ()).unwrap_err();
            assert_eq!((error.kind(), error.what()), (Kind::Invalid, section.name()));
        }
    }
    let edit = |bytes: &mut Vec<u8>| bytes[..2].fill(0x80);
    let embeddings = Embeddings::open(consistent(&object, EmbeddingSection::Bytes, &edit)).unwrap();
    let error = embeddings.section(EmbeddingSection::Bytes, 0..1).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("-128"), "{error}");
    let edit = |bytes: &mut Vec<u8>| {
        bytes[..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
        bytes[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
    };
    let error = read(consistent(&object, Rows, &edit)).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "embedding rows"));
}
