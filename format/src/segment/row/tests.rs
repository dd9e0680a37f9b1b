use proptest::prelude::*;

use super::*;
use crate::codec::Writer;
use crate::limits::{
    MAX_DOCUMENT_BYTES, MAX_ID_BYTES, MAX_KEY_BYTES, MAX_LIST_LEN, MAX_METADATA_BYTES, MAX_METADATA_KEYS,
};
use crate::op::{Action, Op};
use crate::record::{Change, Metadata, Patch, Record, Value};
use crate::revision::Revision;
use crate::segment::tests::{ops, sample};
use crate::stamp::Place;

fn row_of<E>(op: &Op<E>) -> Vec<u8> {
    let mut out = Writer::default();
    write(&mut out, op);
    out.into_vec()
}

fn with(metadata: Metadata) -> Op<u32> {
    Op::put("r", Record { metadata, ..Record::default() })
}

/// The two sides of a limit: writers and readers accept an op at it, and refuse an op beyond it.
#[track_caller]
fn limit(at: &Op<u32>, beyond: &Op<u32>) {
    assert!(at.validate_fields(false).is_ok());
    assert_eq!(OpRow::check(&row_of(at)).unwrap().op(0).as_ref(), Ok(at));
    assert!(beyond.validate_fields(false).is_err());
    assert!(OpRow::check(&row_of(beyond)).is_err());
}

#[test]
fn rows_have_the_limits_of_ops() {
    let id = |len| Op::delete("x".repeat(len));
    limit(&id(MAX_ID_BYTES), &id(MAX_ID_BYTES + 1));
    let document = |len| Op::patch("r", Patch { document: Change::Set("d".repeat(len)), ..Patch::default() });
    limit(&document(MAX_DOCUMENT_BYTES), &document(MAX_DOCUMENT_BYTES + 1));
    let key = |len| with(Metadata::from([("k".repeat(len), Value::Bool(true))]));
    limit(&key(MAX_KEY_BYTES), &key(MAX_KEY_BYTES + 1));
    let keys = |count| with((0..count).map(|key| (format!("{key:04}"), Value::I64(1))).collect());
    limit(&keys(MAX_METADATA_KEYS), &keys(MAX_METADATA_KEYS + 1));
    let one = |value| with(Metadata::from([("k".to_owned(), value)]));
    let text = |len| one(Value::String("s".repeat(len - 1)));
    limit(&text(MAX_METADATA_BYTES), &text(MAX_METADATA_BYTES + 1));
    // A text of a list counts 8 bytes and its own.
    let texts = |len: usize| one(Value::Strings(vec!["é".to_owned(), "s".repeat(len - 1 - 2 - 16)]));
    limit(&texts(MAX_METADATA_BYTES), &texts(MAX_METADATA_BYTES + 1));
    let lists: [fn(usize) -> Value; 4] = [
        |len| Value::Strings(vec![String::new(); len]),
        |len| Value::I64s(vec![-1; len]),
        |len| Value::F64s(vec![-0.0; len]),
        |len| Value::Bools(vec![true; len]),
    ];
    for list in lists {
        limit(&one(list(MAX_LIST_LEN)), &one(list(MAX_LIST_LEN + 1)));
    }
    let lists: [fn(usize) -> Value; 3] =
        [|len| Value::F64s(vec![0.5; len]), |len| Value::I64s(vec![1; len]), |len| Value::Bools(vec![true; len])];
    for list in lists {
        let elements = |count: usize| {
            let full = |key: usize| (format!("{key:02}"), list(65_536 - 16));
            with((0..8).map(full).chain([("z".to_owned(), list(count))]).collect())
        };
        // 8 keys of 2 bytes and one of 1 leave room for this many elements.
        let left = (MAX_METADATA_BYTES - 17) / 8 - 8 * (65_536 - 16);
        limit(&elements(left), &elements(left + 1));
    }
    for number in [f64::NAN, f64::INFINITY] {
        limit(&one(Value::F64(0.0)), &one(Value::F64(number)));
        limit(&one(Value::F64s(vec![1.0, 2.0])), &one(Value::F64s(vec![1.0, number])));
    }
}

#[test]
fn a_row_equals_its_op() {
    for op in sample() {
        let bytes = row_of(&op);
        let row = OpRow::check(&bytes).unwrap();
        assert_eq!((row.id(), row.revision(), row.name()), (op.id.as_str(), op.revision, op.action.name()));
        assert_eq!(row.carries_embedding(), op.action.embedding().is_some());
        assert_eq!(row.op(7).unwrap(), op.map_embedding(|_| 7));
        assert_eq!(row.bytes(), bytes);
    }
}

#[test]
fn an_outline_resolves_to_the_presence_that_the_op_does() {
    use crate::effect::Effect;
    let place = Place::Log(crate::Position::from_bits(1 << 20));
    for op in sample() {
        let bytes = row_of(&op);
        let whole = Effect::from_op(op.action, place).resolve().map(|stored| (stored.inserted, stored.changed));
        let outline = OpRow::check(&bytes).unwrap().outline(place).resolve();
        assert_eq!(outline.map(|stored| (stored.inserted, stored.changed)), whole);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_row_that_is_taken_is_the_one_encoding_of_its_op(
        ops in ops(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
    ) {
        for op in ops {
            let mut bytes = row_of(&op);
            for (at, byte) in &edits {
                let at = at.index(bytes.len());
                bytes[at] ^= byte;
            }
            let Ok(row) = OpRow::check(&bytes) else {
                prop_assert!(!edits.is_empty());
                continue;
            };
            let op = row.op(0).unwrap();
            prop_assert!(op.validate_fields(op.revision.is_some()).is_ok());
            prop_assert_eq!(row_of(&op), bytes.clone());
            prop_assert_eq!(OpRow::checked(&bytes).map(|row| (row.id(), row.carries_embedding())),
                Some((row.id(), row.carries_embedding())));
        }
    }
}

#[test]
fn adds_bear_no_revision_and_others_may() {
    let at = |op: Op<u32>| row_of(&op.at(Revision::new(9)));
    assert!(OpRow::check(&at(Op::add("r", Record::default()))).is_err());
    let bytes = at(Op::new("r", Action::Delete));
    assert_eq!(OpRow::check(&bytes).unwrap().revision(), Some(Revision::new(9)));
}
