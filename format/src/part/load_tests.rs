//! Parts loaded piece by piece.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::tests::{at, build, rows};
use super::*;
use crate::effect::Effect;
use crate::error::FormatErrorKind as Kind;
use crate::name::{Nonce, Version};
use crate::op::Action;
use crate::record::{Change, Patch, Record, Value};
use crate::transition::{Stored, Transition};

pub(super) fn range(object: &Bytes, range: std::ops::Range<u64>) -> Bytes {
    object.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap())
}

/// A part of rows `00000`, `00001`, …, with records from `make`.
pub(super) fn part_of(count: usize, make: impl Fn(usize) -> Record<EmbeddingRef>) -> Bytes {
    let mut builder = PartBuilder::new();
    for row in 0..count {
        let stored = Stored { record: make(row), inserted: at(1), changed: at(1) };
        builder.push(&format!("{row:05}"), &Transition::Replace { record: Some(stored), renewed: false }).unwrap();
    }
    builder.finish().unwrap().object.to_bytes()
}

/// A part with two keys, one of them of two types, and three blocks of documents.
pub(super) fn sample() -> Bytes {
    part_of(100, |row| {
        let two = if row % 2 == 0 { Value::I64(row as i64) } else { Value::String(format!("text {row}")) };
        let metadata = [("one".to_owned(), Value::Bool(row < 50)), ("two".to_owned(), two)].into();
        let document = (row % 4 == 0).then(|| format!("{row} {}", "d".repeat(6_000)));
        Record { embedding: None, metadata, document }
    })
}

pub(super) fn opened(object: &Bytes) -> PartMeta {
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
/// here. The payload behind the last row is not a row.
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
