//! Parts loaded piece by piece.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::tests::{at, build, rows};
use super::*;
use crate::effect::Effect;
use crate::envelope::EnvelopeReader;
use crate::error::FormatErrorKind as Kind;
use crate::name::{Nonce, Version};
use crate::op::Action;
use crate::record::{Change, Patch, Record, Value};
use crate::testing;
use crate::transition::{Stored, Transition};

fn range(object: &Bytes, range: std::ops::Range<u64>) -> Bytes {
    object.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap())
}

/// A part of rows `00000`, `00001`, …, with records from `make`.
fn part_of(count: usize, make: impl Fn(usize) -> Record<EmbeddingRef>) -> Bytes {
    let mut builder = PartBuilder::new();
    for row in 0..count {
        let stored = Stored { record: make(row), inserted: at(1), changed: at(1) };
        builder.push(&format!("{row:05}"), &Transition::Replace { record: Some(stored), renewed: false }).unwrap();
    }
    builder.finish().unwrap().object.to_bytes()
}

/// A part with two keys, one of them of two types, and three blocks of documents.
fn sample() -> Bytes {
    part_of(100, |row| {
        let two = if row % 2 == 0 { Value::I64(row as i64) } else { Value::String(format!("text {row}")) };
        let metadata = [("one".to_owned(), Value::Bool(row < 50)), ("two".to_owned(), two)].into();
        let document = (row % 4 == 0).then(|| format!("{row} {}", "d".repeat(6_000)));
        Record { embedding: None, metadata, document }
    })
}

fn opened(object: &Bytes) -> PartMeta {
    let whole = PartMeta::decode(object.clone()).unwrap();
    PartMeta::open(range(object, 0..whole.front_bytes())).unwrap()
}

fn load(part: &PartMeta, object: &Bytes, pieces: impl IntoIterator<Item = PartPiece>) -> PartMeta {
    part.with(pieces.into_iter().map(|piece| (piece, range(object, part.range(piece))))).unwrap()
}

fn kind<T: std::fmt::Debug>(result: Result<T, crate::FormatError>) -> Kind {
    result.unwrap_err().kind()
}

#[test]
fn a_front_tells_all_but_metadata_and_documents() {
    let object = sample();
    let (front, whole) = (opened(&object), PartMeta::decode(object.clone()).unwrap());
    assert_eq!((front.rows(), front.crc32(), front.resolved()), (100, whole.crc32(), true));
    assert_eq!(front.keys().collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(front.document_rows().count(), 25);
    assert_eq!(PartSummary::of(&front), PartSummary::of(&whole));
    for row in 0..100 {
        assert_eq!(front.id(row), whole.id(row));
        assert_eq!(front.outline(row), whole.outline(row));
        assert_eq!(front.find(whole.id(row)), Ok(row));
    }
    assert!(front.memory_bytes() < whole.memory_bytes() / 2);
    let (last_column, first_block) = (front.range(PartPiece::Column(2)), front.range(PartPiece::Documents(0)));
    assert!(front.columns_end() == last_column.end && last_column.end <= first_block.start);
    assert_eq!(
        (front.has_documents(), whole.has_documents(), whole.without_documents().has_documents()),
        (false, true, false)
    );
}

#[test]
fn no_accessor_answers_for_a_piece_that_is_not_loaded() {
    let object = sample();
    let front = opened(&object);
    assert_eq!(kind(front.transition(0)), Kind::NotLoaded);
    assert_eq!(kind(front.effect(1)), Kind::NotLoaded);
    assert_eq!(front.metadata_columns("one").err().unwrap().kind(), Kind::NotLoaded);
    assert_eq!(front.metadata_columns("none").unwrap().len(), 0);
    assert_eq!(kind(front.document_of(0)), Kind::NotLoaded);
    assert_eq!(front.document_of(1).unwrap(), None);
    assert_eq!(kind(PartBuilder::new().copy_row(&front, 1, None)), Kind::NotLoaded);
    // A row without a document needs only the columns.
    let columns = load(&front, &object, front.unloaded_columns());
    assert!(columns.has_all_columns() && !front.has_all_columns() && !columns.has_all_documents());
    assert!(columns.transition(1).is_ok());
    let Effect::Log(Transition::Replace { record: Some(emptied), .. }) = columns.effect_without_documents(0).unwrap()
    else {
        panic!("the row is put")
    };
    assert_eq!(emptied.record.document.as_deref(), Some(""));
    assert_eq!(kind(front.effect_without_documents(0)), Kind::NotLoaded);
    assert_eq!(kind(columns.transition(0)), Kind::NotLoaded);
    assert_eq!(kind(PartBuilder::new().copy_row(&columns, 0, None)), Kind::NotLoaded);
    PartBuilder::new().copy_row(&columns, 1, None).unwrap();
}

#[test]
fn a_record_with_some_fields_needs_the_pieces_of_those() {
    let object = sample();
    let front = opened(&object);
    let whole = PartMeta::decode(object.clone()).unwrap();
    let full = whole.effect(44).unwrap().resolve().unwrap();
    let fields = |metadata, document| PartFields { metadata, document };
    let bare = front.resolved_record(44, fields(false, false)).unwrap().unwrap();
    assert_eq!((bare.inserted, bare.changed, bare.record), (full.inserted, full.changed, Record::default()));
    assert_eq!(kind(front.resolved_record(44, fields(true, false))), Kind::NotLoaded);
    assert_eq!(kind(front.resolved_record(44, fields(false, true))), Kind::NotLoaded);
    let columns = load(&front, &object, front.unloaded_columns());
    let metadata = columns.resolved_record(44, fields(true, false)).unwrap().unwrap().record;
    assert_eq!((metadata.metadata, metadata.document), (full.record.metadata.clone(), None));
    let block = load(&front, &object, front.unloaded_documents_of(44));
    let document = block.resolved_record(44, fields(false, true)).unwrap().unwrap().record;
    assert_eq!((document.metadata.len(), document.document), (0, full.record.document.clone()));
    assert_eq!(whole.resolved_record(44, PartFields::ALL).unwrap(), Some(full));
}

#[test]
fn a_key_needs_its_own_columns_only() {
    let object = sample();
    let front = opened(&object);
    let of_one: Vec<_> = front.unloaded_columns_of("one").collect();
    assert_eq!(of_one, [PartPiece::Column(0)]);
    let part = load(&front, &object, of_one);
    assert_eq!(part.metadata_columns("one").unwrap().len(), 1);
    assert_eq!(part.metadata_columns("two").err().unwrap().kind(), Kind::NotLoaded);
    assert_eq!(part.unloaded_columns_of("one").count(), 0);
    assert_eq!(part.unloaded_columns_of("two").collect::<Vec<_>>(), [PartPiece::Column(1), PartPiece::Column(2)]);
    assert_eq!(part.unloaded_columns_of("three").count(), 0);
}

#[test]
fn a_document_needs_its_own_block_only() {
    let object = sample();
    let front = opened(&object);
    let blocks = front.unloaded_documents().count();
    assert_eq!(blocks, 3, "25 documents of 6,000 bytes, ten in a block of 64 KiB");
    let of_row = |part: &PartMeta, row| part.unloaded_documents_of(row).collect::<Vec<_>>();
    assert_eq!([0, 36, 40, 96].map(|row| of_row(&front, row)), [0, 0, 1, 2].map(|block| [PartPiece::Documents(block)]));
    assert_eq!((of_row(&front, 1), of_row(&front, 100)), (vec![], vec![]));
    assert!((6_000..6_100).contains(&front.document_bytes(40)), "{}", front.document_bytes(40));
    assert_eq!((front.document_bytes(1), front.document_bytes(100)), (0, 0));
    let part = load(&front, &object, of_row(&front, 44));
    assert!(part.document_of(44).unwrap().unwrap().starts_with("44 "));
    assert!(part.document_of(76).unwrap().unwrap().starts_with("76 "));
    assert_eq!(kind(part.document_of(0)), Kind::NotLoaded);
    assert_eq!(part.without_documents().unloaded_documents().count(), 3);
    let other = load(&front, &object, of_row(&front, 0));
    let both = part.union(&other);
    assert!(both.document_of(0).is_ok() && both.document_of(44).is_ok() && both.document_of(96).is_err());
}

/// A row that is added or else patched sets a document in both cases, each in a block of its own
/// here. The payload behind the last row is no row.
#[test]
fn a_split_row_needs_the_blocks_of_both_cases() {
    let long = |text: &str| text.repeat(70_000);
    let record = |text: &str| Record { document: Some(long(text)), ..Record::default() };
    let patch = Patch { document: Change::Set(long("c")), ..Patch::default() };
    let added = Record { metadata: [("key".to_owned(), Value::Bool(true))].into(), ..record("b") };
    let split = Transition::from_op(Action::Add(added), at(1));
    let split = split.then(Transition::from_op(Action::Patch(patch), at(2)));
    let put = Transition::from_op(Action::Put(record("a")), at(1));
    let object = build(&[("0".to_owned(), put), ("1".to_owned(), split)].into()).object.to_bytes();
    let front = opened(&object);
    let of_row = |row| front.unloaded_documents_of(row).collect::<Vec<_>>();
    assert_eq!(of_row(0), [PartPiece::Documents(0)]);
    assert_eq!(of_row(1), [PartPiece::Documents(1), PartPiece::Documents(2)]);
    assert_eq!((of_row(2), front.document_bytes(2)), (vec![], 0));
    assert!((70_000..70_100).contains(&front.document_bytes(1)));
    let part = load(&front, &object, front.unloaded_columns().chain(front.unloaded_documents_of(1)));
    assert!(part.effect(1).is_ok());
}

/// The limit of a block is the sum of its documents' bytes.
#[test]
fn documents_of_64_kib_together_share_a_block() {
    let blocks = |last: usize| {
        let object = part_of(2, |row| {
            let len = if row == 0 { 1 << 15 } else { last };
            Record { document: Some("x".repeat(len)), ..Record::default() }
        });
        opened(&object).unloaded_documents().count()
    };
    assert_eq!((blocks(1 << 15), blocks((1 << 15) + 1)), (1, 2));
}

#[test]
fn a_part_lists_the_places_of_its_embeddings() {
    let place = |row| EmbeddingRef { object: ObjectName { version: Version::new(7), nonce: Nonce::new(5) }, row };
    let object =
        part_of(5, |row| Record { embedding: (row % 2 == 0).then(|| place(row as u32 + 40)), ..Record::default() });
    assert_eq!(opened(&object).embedding_refs().collect::<Vec<_>>(), [40, 42, 44].map(place));
}

#[test]
fn a_document_longer_than_a_block_is_a_block_alone() {
    let object = part_of(3, |row| {
        let len = if row == 1 { 100_000 } else { 10 };
        Record { document: Some("x".repeat(len)), ..Record::default() }
    });
    let front = opened(&object);
    assert_eq!(front.unloaded_documents().count(), 3);
    let part = load(&front, &object, front.unloaded_documents());
    assert_eq!([0, 1, 2].map(|row| part.document_of(row).unwrap().unwrap().len()), [10, 100_000, 10]);
}

#[test]
fn bytes_of_another_place_are_no_piece() {
    let object = sample();
    let front = opened(&object);
    let [one, two] = [PartPiece::Column(0), PartPiece::Column(1)];
    assert_eq!(kind(front.with([(one, range(&object, front.range(two)))])), Kind::Truncated);
    let mut flipped = range(&object, front.range(one)).to_vec();
    flipped[0] ^= 1;
    assert_eq!(kind(front.with([(one, flipped.into())])), Kind::Checksum);
    for piece in [PartPiece::Column(3), PartPiece::Documents(3)] {
        assert_eq!(front.range(piece), 0..0);
        assert_eq!(kind(front.with([(piece, Bytes::new())])), Kind::Invalid);
    }
}

#[test]
fn sections_in_another_order_are_refused() {
    let object = sample();
    let reader = EnvelopeReader::open_any(object).unwrap();
    let mut out = crate::envelope::EnvelopeWriter::new(crate::ObjectKind::PartMeta);
    for section in [ROWS, VALUES, DIRECTORY, DOCUMENTS] {
        let bytes = reader.section(section.id, section.name, 1 << 30).unwrap();
        out.section(section.id, bytes, crate::envelope::Compress::Never);
    }
    let error = PartMeta::decode(out.finish().to_bytes()).unwrap_err();
    assert!(error.to_string().contains("not in the order of their ids"), "{error}");
}

#[test]
fn compressed_sections_of_pieces_are_refused() {
    let object = sample();
    for section in [VALUES, DOCUMENTS] {
        let error = PartMeta::decode(testing::with_frame(&object, section.id, &|frame| frame)).unwrap_err();
        assert_eq!((error.kind(), error.what()), (Kind::Invalid, DIRECTORY.name), "{error}");
        assert!(error.to_string().contains("compressed"), "{error}");
    }
}

/// The directory of [`sample`] with one change, and right checksums.
#[track_caller]
fn directory_refused(rule: &str, edit: impl Fn(&mut Vec<u8>)) {
    let object = sample();
    let forged = testing::with_section(&object, DIRECTORY.id, &edit);
    for error in [PartMeta::decode(forged.clone()).unwrap_err(), PartMeta::open(forged).unwrap_err()] {
        assert_eq!((error.kind(), error.what()), (Kind::Invalid, DIRECTORY.name), "{error}");
        assert!(error.to_string().contains(rule), "{error}");
    }
}

/// The first column of [`sample`] has the 3-byte key `one`. Its fields begin here.
const KIND: usize = 4 + 4 + 3;
const PRESENT: usize = KIND + 1;
const ELEMENTS: usize = PRESENT + 4;
const STORED: usize = ELEMENTS + 4;
const RAW: usize = STORED + 4;
const SUMMARY: usize = RAW + 8;

#[test]
fn each_rule_of_the_directory_is_checked() {
    directory_refused("of no known type", |directory| directory[KIND] = 9);
    directory_refused("is empty", |directory| directory[PRESENT] = 0);
    directory_refused("too many elements", |directory| directory[ELEMENTS] = 99);
    directory_refused("more values than there are payloads", |directory| {
        directory[PRESENT] = 101;
        directory[ELEMENTS] = 101;
    });
    directory_refused("a piece has no bytes", |directory| directory[STORED..RAW].fill(0));
    directory_refused("more of them than it has when decoded", |directory| directory[RAW..RAW + 4].fill(0));
    directory_refused("do not fill their section", |directory| directory[STORED] -= 1);
    directory_refused("summary is of no known form", |directory| directory[SUMMARY] = 3);
    directory_refused("summary is of no known form", |directory| directory[SUMMARY] = 2);
    directory_refused("counts more than there is", |directory| directory[SUMMARY + 1] = 101);
    directory_refused("follow its end", |directory| directory.push(0));
    directory_refused("one document for each payload", |directory| {
        let last = directory.len() - 16;
        directory[last] -= 1;
    });
    directory_refused("a block of documents is empty", |directory| {
        let last = directory.len() - 16;
        directory[last] = 0;
    });
}

/// The place of the `nth` column of the key `two` in a directory of [`sample`].
fn column_two(directory: &[u8], nth: usize) -> usize {
    let name = [3, 0, 0, 0, b't', b'w', b'o'];
    let mut found = (0..directory.len()).filter(|at| directory[*at..].starts_with(&name));
    found.nth(nth).unwrap()
}

/// A directory that keeps its own rules and lists other pieces than there are. Loading a piece
/// detects it.
#[test]
fn pieces_that_the_directory_does_not_list_are_refused() {
    let refused = |section: PartSection, rule: &str, piece: PartPiece, edit: &dyn Fn(&mut Vec<u8>)| {
        let forged = testing::with_section(&sample(), DIRECTORY.id, edit);
        let front = PartMeta::open(forged.clone()).unwrap();
        let loaded = front.with([(piece, range(&forged, front.range(piece)))]).map(drop);
        for error in [PartMeta::decode(forged).map(drop).unwrap_err(), loaded.unwrap_err()] {
            assert_eq!((error.kind(), error.what()), (Kind::Invalid, section.name), "{error}");
            assert!(error.to_string().contains(rule), "{error}");
        }
    };
    let kinds = opened(&sample()).directory().columns.iter().map(|column| column.kind).collect::<Vec<_>>();
    assert_eq!(kinds, [values::BOOL, values::STRING, values::I64]);
    let [text, number] = [PartPiece::Column(1), PartPiece::Column(2)];
    let counts = "not as many values as the directory lists";
    for (nth, piece) in [(0, text), (1, number)] {
        refused(VALUES, counts, piece, &|directory| {
            let present = column_two(directory, nth) + 8;
            (directory[present], directory[present + 4]) = (49, 49);
        });
    }
    refused(VALUES, "not of the type that the directory lists", number, &|directory| {
        let kind = column_two(directory, 1) + 7;
        directory[kind] = u8::try_from(values::F64).unwrap();
    });
    refused(DOCUMENTS, "not as many documents as the directory lists", PartPiece::Documents(2), &|directory| {
        let last = directory.len() - 16;
        (directory[last], directory[last - 16]) = (directory[last] + 1, directory[last - 16] - 1);
    });
}

#[test]
fn pieces_and_their_sections_are_there_together() {
    let rule = "it lists pieces of no section, or a section has no pieces";
    directory_refused(rule, |directory| {
        let blocks = directory.len() - 4 - 3 * 16;
        directory.drain(4..blocks);
        directory[..4].fill(0);
    });
    directory_refused(rule, |directory| {
        directory.truncate(directory.len() - 3 * 16);
        let count = directory.len() - 4;
        directory[count..].fill(0);
    });
    let object = sample();
    let reader = EnvelopeReader::open_any(object).unwrap();
    for gone in [VALUES, DOCUMENTS] {
        let mut out = crate::envelope::EnvelopeWriter::new(crate::ObjectKind::PartMeta);
        for section in SECTIONS.into_iter().filter(|section| *section != gone && *section != REVISIONS) {
            let bytes = reader.section(section.id, section.name, 1 << 30).unwrap();
            out.section(section.id, bytes, crate::envelope::Compress::Never);
        }
        let error = PartMeta::decode(out.finish().to_bytes()).unwrap_err();
        assert!(error.to_string().contains(rule), "{error}");
    }
}

/// A compressed piece may claim any length. A part of such pieces would take gigabytes once loaded.
#[test]
fn pieces_too_long_to_be_loaded_are_refused() {
    let forged = testing::with_section(&sample(), DIRECTORY.id, &|directory| directory[RAW..RAW + 4].fill(0xff));
    for error in [PartMeta::decode(forged.clone()).unwrap_err(), PartMeta::open(forged).unwrap_err()] {
        assert_eq!((error.kind(), error.what()), (Kind::TooLarge, "part"), "{error}");
    }
}

#[test]
fn more_documents_than_numbers_are_refused() {
    directory_refused("too many documents", |directory| {
        let last = directory.len() - 16;
        directory[last..last + 4].fill(0xff);
    });
}

/// A text longer than 64 bytes, and a summary of a column without values.
#[test]
fn summaries_that_no_writer_makes_are_refused() {
    let refused = |value: Value, rule: &str, summary: &[u8]| {
        let object = part_of(1, |_| Record { metadata: [("k".to_owned(), value.clone())].into(), ..Record::default() });
        let forged = testing::with_section(&object, DIRECTORY.id, &|directory| {
            directory.truncate(4 + 4 + 1 + 1 + 8 + 12);
            directory.extend(summary);
            directory.extend(0_u32.to_le_bytes());
        });
        let error = PartMeta::open(forged).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(rule) && error.is_empty() == rule.is_empty(), "{error}");
    };
    let text = |len: u8| [&[len, 0, 0, 0][..], &vec![b't'; len.into()]].concat();
    let bounds = |min: u8, max: u8| [&[1][..], &text(min), &text(max), &[0]].concat();
    let swapped = [&[1][..], &[1, 0, 0, 0, b'b', 1, 0, 0, 0, b'a', 0]].concat();
    let one = || Value::String("text".to_owned());
    refused(one(), "", &bounds(64, 64));
    refused(one(), "crossed or too long", &swapped);
    refused(one(), "crossed or too long", &bounds(64, 65));
    refused(one(), "crossed or too long", &bounds(65, 65));
    refused(one(), "crossed or too long", &[&[2, 1, 0, 0, 0][..], &text(65)].concat());
    let sums_up_nothing = [&[1][..], &[0; 16]].concat();
    refused(Value::I64s(vec![1]), "", &sums_up_nothing);
    refused(Value::I64s(Vec::new()), "sums up nothing", &sums_up_nothing);
}

/// A sound summary of another column. The directory alone cannot tell, but loading the column does.
#[test]
fn a_summary_that_is_not_that_of_its_column_is_refused() {
    let object = sample();
    let forged = testing::with_section(&object, DIRECTORY.id, &|directory| directory[SUMMARY + 1] -= 1);
    let front = PartMeta::open(forged.clone()).unwrap();
    let piece = PartPiece::Column(0);
    for error in [
        PartMeta::decode(forged.clone()).unwrap_err(),
        front.with([(piece, range(&forged, front.range(piece)))]).unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.what()), (Kind::Invalid, VALUES.name), "{error}");
        assert!(error.to_string().contains("summary"), "{error}");
    }
}

#[test]
fn summaries_with_lists_or_bounds_that_cannot_be_are_refused() {
    let refused = |values: [i64; 2], rule: &str, form: u8, listed: &[i64]| {
        let object = part_of(2, |row| Record {
            metadata: [("k".to_owned(), Value::I64(values[row]))].into(),
            ..Record::default()
        });
        let forged = testing::with_section(&object, DIRECTORY.id, &|directory| {
            let summary = 4 + 4 + 1 + 1 + 8 + 12;
            directory.truncate(summary);
            directory.push(form);
            if form == 2 {
                directory.extend(u32::try_from(listed.len()).unwrap().to_le_bytes());
            }
            listed.iter().for_each(|value| directory.extend(value.to_le_bytes()));
            directory.extend(0_u32.to_le_bytes());
        });
        let error = PartMeta::open(forged).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(rule) && error.is_empty() == rule.is_empty(), "{error}");
    };
    refused([1, 2], "", 2, &[1, 2]);
    refused([1, 2], "not in their order", 2, &[2, 1]);
    refused([1, 2], "not in their order", 2, &[1, 1]);
    refused([1, 2], "too many", 2, &[1, 2, 3]);
    refused([1, 2], "lists no values", 2, &[]);
    refused([1, 2], "", 1, &[1, 2]);
    refused([1, 2], "crossed", 1, &[2, 1]);
    refused([1, 2], "", 0, &[]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// A record with some fields equals the whole record in these fields, for any ops.
    #[test]
    fn a_record_with_some_fields_is_a_cut_of_the_whole(rows in rows(40)) {
        let part = PartMeta::decode(build(&rows).object.to_bytes()).unwrap();
        for row in 0..part.rows() {
            let whole = part.effect(row).unwrap().resolve();
            for (metadata, document) in [(true, true), (true, false), (false, true), (false, false)] {
                let cut = part.resolved_record(row, PartFields { metadata, document }).unwrap();
                let wanted = |stored: Stored<EmbeddingRef, _>| {
                    let Record { embedding, metadata: keys, document: text } = stored.record;
                    (stored.inserted, stored.changed, embedding, metadata.then_some(keys), text.filter(|_| document))
                };
                prop_assert_eq!(cut.map(wanted), whole.clone().map(wanted), "row {}", row);
            }
        }
    }

    #[test]
    fn pieces_in_any_order_make_the_whole_part(rows in rows(40), seed in any::<u64>()) {
        let encoded = build(&rows);
        let object = encoded.object.to_bytes();
        let front = PartMeta::open(range(&object, 0..encoded.front_bytes)).unwrap();
        prop_assert_eq!((front.front_bytes(), front.columns_end()), (encoded.front_bytes, encoded.columns_end));
        let mut pieces: Vec<PartPiece> = front.unloaded_columns().chain(front.unloaded_documents()).collect();
        let ends: Vec<u64> = pieces.iter().map(|piece| front.range(*piece).end).collect();
        prop_assert!(ends.is_sorted() && ends.last().is_none_or(|end| *end == object.len() as u64));
        pieces.sort_by_key(|piece| crc32fast::hash(format!("{seed}{piece:?}").as_bytes()));
        let mut part = front;
        for piece in pieces {
            let read: BTreeMap<String, Option<super::tests::T>> =
                (0..part.rows()).map(|row| (part.id(row).to_owned(), part.transition(row).ok())).collect();
            for (id, transition) in read {
                prop_assert!(transition.is_none_or(|transition| transition == rows[&id]));
            }
            part = load(&part, &object, [piece]);
        }
        prop_assert!(part.has_all_columns() && part.has_all_documents());
        for (row, transition) in rows.values().enumerate() {
            prop_assert_eq!(&part.transition(row).unwrap(), transition);
        }
    }
}
