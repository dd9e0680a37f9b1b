use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::effect::Effect;
use crate::error::FormatErrorKind as Kind;
use crate::name::{Nonce, Position, Sequence, Version};
use crate::op::Action;
use crate::record::{Change, Patch, Record, Value};
use crate::strategies;
use crate::transition::Transition;

pub(super) type T = Transition<EmbeddingRef>;

pub(super) fn at(sequence: u64) -> Position {
    Position::new(Sequence::new(sequence).unwrap(), 5).unwrap()
}

/// A row of an object of this version.
pub(super) fn embedding_at(version: u64, row: u32) -> EmbeddingRef {
    EmbeddingRef { object: ObjectName { version: Version::new(version), nonce: Nonce::new(5) }, row }
}

fn embedding() -> impl Strategy<Value = EmbeddingRef> {
    (0..3u64, 0..2u64, 0..100u32).prop_map(|(version, nonce, row)| EmbeddingRef {
        object: ObjectName { version: Version::new(version), nonce: Nonce::new(nonce) },
        row,
    })
}

pub(super) fn action() -> impl Strategy<Value = Action<EmbeddingRef>> {
    strategies::action(embedding, "[a-e]")
}

/// The result of one to four ops on an id: every form, in every state.
pub(super) fn transition() -> impl Strategy<Value = T> {
    proptest::collection::vec(action(), 1..5).prop_map(|actions| {
        let ops = actions.into_iter().zip(1..).map(|(action, i)| Transition::from_op(action, at(i)));
        ops.reduce(Transition::then).unwrap()
    })
}

pub(super) fn rows(most: usize) -> impl Strategy<Value = BTreeMap<String, T>> {
    proptest::collection::btree_map(".{1,8}", transition(), 1..most)
}

pub(super) fn build(rows: &BTreeMap<String, T>) -> EncodedPart {
    let mut builder = PartBuilder::new();
    for (id, transition) in rows {
        builder.push(id, transition).unwrap();
    }
    builder.finish().unwrap()
}

/// A decoded part of these rows. Checks that they read back as written.
fn part(rows: &[(&str, T)]) -> PartMeta {
    let rows: BTreeMap<String, T> = rows.iter().map(|(id, t)| ((*id).to_owned(), t.clone())).collect();
    PartMeta::decode(build(&rows).object.to_bytes()).unwrap()
}

fn put(record: Record<EmbeddingRef>) -> T {
    Transition::from_op(Action::Put(record), at(1))
}

fn with(key: &str, value: Value) -> Record<EmbeddingRef> {
    Record { metadata: [(key.to_owned(), value)].into(), ..Record::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_read_back_as_they_were_written(rows in rows(80)) {
        let encoded = build(&rows);
        let part = PartMeta::decode(encoded.object.to_bytes()).unwrap();
        prop_assert_eq!(part.rows(), rows.len());
        prop_assert_eq!((part.crc32(), encoded.rows as usize), (encoded.object.crc32, rows.len()));
        for (number, (id, transition)) in rows.iter().enumerate() {
            prop_assert_eq!(part.id(number), id);
            prop_assert_eq!(part.find(id), Ok(number));
            prop_assert_eq!(&part.transition(number).unwrap(), transition);
            prop_assert_eq!(part.id_bytes(number), id.as_bytes());
            let alone = Effect::Log(transition.clone()).resolve();
            prop_assert_eq!(part.resolved_place(number), alone.as_ref().map(|stored| stored.inserted));
            prop_assert_eq!(part.resolved_record(number, PartFields::ALL).unwrap(), alone);
        }
    }

    #[test]
    fn copied_rows_give_the_part_that_pushed_ones_give(rows in rows(60), picks in proptest::collection::vec(any::<bool>(), 60)) {
        let part = PartMeta::decode(build(&rows).object.to_bytes()).unwrap();
        let picked: BTreeMap<String, T> =
            rows.iter().zip(&picks).filter(|(_, pick)| **pick).map(|((id, t), _)| (id.clone(), t.clone())).collect();
        prop_assume!(!picked.is_empty());
        let mut builder = PartBuilder::new();
        for id in picked.keys() {
            builder.copy_row(&part, part.find(id).unwrap(), None).unwrap();
        }
        let copied = builder.finish().unwrap();
        prop_assert_eq!(copied.object.to_bytes(), build(&picked).object.to_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

    /// Compaction cuts parts by this estimate, whether rows are copied or made anew.
    #[test]
    fn copied_rows_are_estimated_as_pushed_ones(actions in proptest::collection::btree_map(".{1,8}", action(), 1..40)) {
        let rows: BTreeMap<String, T> =
            actions.into_iter().map(|(id, action)| (id, Transition::from_op(action, at(1)))).collect();
        let mut pushed = PartBuilder::new();
        for (id, transition) in &rows {
            pushed.push(id, transition).unwrap();
        }
        let part = PartMeta::decode(build(&rows).object.to_bytes()).unwrap();
        let mut copied = PartBuilder::new();
        for row in 0..part.rows() {
            copied.copy_row(&part, row, None).unwrap();
        }
        prop_assert_eq!(copied.estimated_bytes(), pushed.estimated_bytes());
    }
}

/// A thousand rows of each shape. One term of the estimate outweighs the others in each.
#[test]
fn an_estimate_is_near_the_bytes_that_the_columns_take() {
    type Make = fn(usize) -> T;
    fn of(value: Value) -> T {
        put(with("k", value))
    }
    let shapes: [(&str, Make); 14] = [
        ("string", |_| of(Value::String("s".repeat(60)))),
        ("i64", |n| of(Value::I64(n as i64))),
        ("f64", |_| of(Value::F64(1.5))),
        ("bool", |_| of(Value::Bool(true))),
        ("strings", |_| of(Value::Strings(vec!["s".repeat(60); 3]))),
        ("empty strings", |_| of(Value::Strings(vec![String::new(); 100]))),
        ("i64s", |_| of(Value::I64s(vec![1; 100]))),
        ("f64s", |_| of(Value::F64s(vec![1.5; 100]))),
        ("bools", |_| of(Value::Bools(vec![true; 100]))),
        ("document", |_| put(Record { document: Some("d".repeat(100)), ..Record::default() })),
        ("embedding", |n| put(Record { embedding: Some(embedding_at(n as u64 + 1, 3)), ..Record::default() })),
        ("delete", |_| Transition::TOMBSTONE),
        ("cleared", |_| {
            let patch = Patch { document: Change::Clear, ..Patch::default() };
            Transition::from_op(Action::Patch(patch), at(1))
        }),
        ("split", |_| {
            let add = Transition::from_op(Action::Add(with("other", Value::Bool(true))), at(1));
            let values = Some(Value::Strings(vec!["s".repeat(30); 3]));
            let metadata = [("key".repeat(9), values)].into();
            let patch = Patch { metadata, document: Change::Set("d".repeat(200)), ..Patch::default() };
            add.then(Transition::from_op(Action::Patch(patch), at(2)))
        }),
    ];
    for (shape, make) in shapes {
        let mut builder = PartBuilder::new();
        for n in 0..1_000 {
            builder.push(&format!("{n:04}"), &make(n)).unwrap();
        }
        let estimate = builder.estimated_bytes();
        let bytes = builder.into_draft().seal().unwrap().raw_bytes();
        // The estimate for rows of two payloads is a little higher.
        let most = bytes + if shape == "split" { 50_000 } else { 10_000 };
        assert!(estimate + 500 >= bytes && estimate <= most, "{shape}: {estimate} for {bytes}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_miss_tells_where_the_id_would_be(rows in rows(40), ids in proptest::collection::vec(".{0,8}", 20)) {
        let part = PartMeta::decode(build(&rows).object.to_bytes()).unwrap();
        for id in ids {
            let below = rows.range(..id.clone()).count();
            prop_assert_eq!(part.find(&id), if rows.contains_key(&id) { Ok(below) } else { Err(below) });
        }
    }

    #[test]
    fn a_copied_row_can_refer_to_another_embedding(rows in rows(40)) {
        let part = PartMeta::decode(build(&rows).object.to_bytes()).unwrap();
        let to = embedding_at(99, 7);
        let mut builder = PartBuilder::new();
        let mut expected = Vec::new();
        for (row, (id, old)) in rows.iter().enumerate() {
            let one = part.embedding_ref(row).is_some() && part.form(row) != Form::Split;
            prop_assert_eq!(builder.copy_row(&part, row, Some(to)).is_ok(), one);
            if one {
                expected.push((id, old.clone()));
            }
        }
        prop_assume!(!expected.is_empty());
        let copied = builder.finish().unwrap();
        prop_assert_eq!(&copied.references, &[(to.object, expected.len() as u32)]);
        let copied = PartMeta::decode(copied.object.to_bytes()).unwrap();
        for (row, (id, old)) in expected.iter().enumerate() {
            prop_assert_eq!(copied.id(row), *id);
            prop_assert_eq!(copied.embedding_ref(row), Some(to));
            prop_assert_eq!((copied.inserted(row), copied.changed(row)), {
                let row = part.find(id).unwrap();
                (part.inserted(row), part.changed(row))
            });
            // Everything else is the same: the old reference gives the old row.
            let back = match (copied.transition(row).unwrap(), old) {
                (Transition::Replace { record: Some(mut new), renewed }, Transition::Replace { record: Some(old), .. }) => {
                    new.record.embedding = old.record.embedding;
                    Transition::Replace { record: Some(new), renewed }
                }
                (Transition::Modify { absent, mut patch, changed }, Transition::Modify { absent: was, patch: old, .. }) => {
                    let absent = absent.zip(was.as_ref()).map(|(mut new, old)| {
                        new.record.embedding = old.record.embedding;
                        new
                    });
                    patch.embedding = old.embedding.clone();
                    Transition::Modify { absent, patch, changed }
                }
                (other, _) => other,
            };
            prop_assert_eq!(&back, old);
        }
    }
}

#[test]
fn accessors_tell_of_each_form_without_reading_the_row() {
    let renewed = T::TOMBSTONE.then(put(Record { embedding: Some(embedding_at(1, 4)), ..Record::default() }));
    let patch = Patch { embedding: Change::Set(embedding_at(2, 5)), ..Patch::default() };
    let patched = Transition::from_op(Action::Patch(patch.clone()), at(2));
    // Only the absent case has a document.
    let split = Transition::from_op(Action::Add(Record { document: Some("d".to_owned()), ..Record::default() }), at(3));
    let split = split.then(patched.clone());
    let part =
        part(&[("a", put(Record::default())), ("b", renewed), ("c", T::TOMBSTONE), ("d", patched), ("e", split)]);
    let forms = [Form::Put, Form::Put, Form::Delete, Form::Patch, Form::Split];
    assert_eq!([0, 1, 2, 3, 4].map(|row| part.form(row)), forms);
    assert_eq!([0, 1, 2, 3, 4].map(|row| part.renewed(row)), [false, true, false, false, false]);
    assert_eq!([0, 1, 2, 3, 4].map(|row| part.is_tombstone(row)), [false, false, true, false, false]);
    let zero = Position::ZERO;
    assert_eq!([0, 1, 2, 3, 4].map(|row| part.inserted(row)), [at(1), at(1), zero, zero, at(3)]);
    assert_eq!([0, 1, 2, 3, 4].map(|row| part.changed(row)), [at(1), at(1), zero, at(2), at(2)]);
    let embeddings = [None, Some(embedding_at(1, 4)), None, Some(embedding_at(2, 5)), Some(embedding_at(2, 5))];
    assert_eq!([0, 1, 2, 3, 4].map(|row| part.embedding_ref(row)), embeddings);
    // A split row whose two cases give one embedding refers to it once.
    let counts: Vec<_> = part.references().collect();
    assert_eq!(counts, [(embedding_at(1, 0).object, 1), (embedding_at(2, 0).object, 2)]);
    assert!(!part.resolved());
    assert!(part.memory_bytes() > 0 && format!("{part:?}").contains("rows: 5"));
    // Rows out of range.
    assert_eq!((part.id(5), part.form(5), part.transition(9).unwrap()), ("", Form::Delete, T::TOMBSTONE));
}

#[test]
fn a_part_of_whole_records_is_resolved() {
    let renewed = T::TOMBSTONE.then(put(with("k", Value::Bool(true))));
    assert!(part(&[("a", put(Record::default())), ("b", renewed)]).resolved());
    assert!(!part(&[("a", put(Record::default())), ("b", T::TOMBSTONE)]).resolved());
}

#[test]
fn rows_from_many_parts_go_into_one() {
    // More parts than a builder remembers the columns of. Each has a column that the others lack.
    let parts: Vec<(String, PartMeta)> = (0..80)
        .map(|i| {
            let id = format!("{i:03}");
            let rows = [
                (id.as_str(), put(with(&format!("key {}", i % 40), Value::I64(i)))),
                ("z", put(with("other", Value::I64(i)))),
            ];
            let part = part(&rows);
            (id, part)
        })
        .collect();
    let mut builder = PartBuilder::new();
    for (_, part) in &parts {
        builder.copy_row(part, 0, None).unwrap();
    }
    let expected: BTreeMap<String, T> =
        parts.iter().map(|(id, part)| (id.clone(), part.transition(0).unwrap())).collect();
    assert_eq!(builder.finish().unwrap().object.to_bytes(), build(&expected).object.to_bytes());
}

#[test]
fn a_builder_refuses_rows_out_of_order_and_goes_on() {
    let mut builder = PartBuilder::default();
    builder.push("b", &T::TOMBSTONE).unwrap();
    for id in ["b", "a", ""] {
        assert_eq!(builder.push(id, &T::TOMBSTONE).unwrap_err().kind(), Kind::Invalid);
    }
    let other = part(&[("a", T::TOMBSTONE)]);
    for row in [0, 1, usize::MAX] {
        assert_eq!(builder.copy_row(&other, row, None).unwrap_err().kind(), Kind::Invalid);
    }
    // Zero means "none", so it would read back as another transition.
    let nowhere = Transition::from_op(Action::Put(Record::default()), Position::ZERO);
    assert_eq!(builder.push("c", &nowhere).unwrap_err().kind(), Kind::Invalid);
    let nowhere = Transition::Modify { absent: None, patch: Patch::default(), changed: Some(Position::ZERO) };
    assert_eq!(builder.push("c", &nowhere).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(builder.rows(), 1);
    builder.push("c", &T::TOMBSTONE).unwrap();
    let encoded = builder.finish().unwrap();
    assert_eq!((encoded.rows, encoded.min_id.as_str(), encoded.max_id.as_str()), (2, "b", "c"));
}

/// Otherwise a fold could publish a part that no reader can open.
#[test]
fn a_part_that_could_not_be_read_is_not_written() {
    assert_eq!(PartBuilder::new().finish().unwrap_err().kind(), Kind::Invalid);
    let kind = |id: &str, record| {
        let mut builder = PartBuilder::new();
        builder.push(id, &put(record)).unwrap();
        builder.finish().unwrap_err().kind()
    };
    assert_eq!(kind("", Record::default()), Kind::Invalid);
    assert_eq!(kind(&"i".repeat(1_025), Record::default()), Kind::Invalid);
    assert_eq!(kind("a", with("", Value::Bool(true))), Kind::Invalid);
    assert_eq!(kind("a", with(&"k".repeat(257), Value::Bool(true))), Kind::Invalid);
    assert_eq!(kind("a", with("k", Value::F64(f64::NAN))), Kind::Invalid);
    assert_eq!(kind("a", with("k", Value::Bools(vec![true; 65_537]))), Kind::Invalid);
    assert_eq!(kind("a", Record { embedding: Some(embedding_at(1, 65_536)), ..Record::default() }), Kind::Invalid);
    assert_eq!(kind("a", Record { document: Some("d".repeat((16 << 20) + 1)), ..Record::default() }), Kind::Invalid);
}

#[test]
fn a_full_part_takes_no_row() {
    let mut builder = PartBuilder::new();
    for i in 0..65_536 {
        assert!(!builder.is_full());
        builder.push(&format!("{i:05}"), &T::TOMBSTONE).unwrap();
    }
    assert!(builder.is_full());
    let error = builder.push("x", &T::TOMBSTONE).unwrap_err();
    assert_eq!((error.kind(), error.reason()), (Kind::TooLarge, "it holds 65537, the limit is 65536"));
    assert_eq!(PartMeta::decode(builder.finish().unwrap().object.to_bytes()).unwrap().rows(), 65_536);

    let mut builder = PartBuilder::new();
    let large = put(Record { document: Some("d".repeat(16 << 20)), ..Record::default() });
    for i in 0..16 {
        assert!(!builder.is_full());
        builder.push(&format!("{i:02}"), &large).unwrap();
    }
    assert!(builder.is_full());
    assert_eq!(builder.push("x", &large).unwrap_err().kind(), Kind::TooLarge);
}

#[test]
fn an_estimate_is_no_less_than_the_columns() {
    let mut builder = PartBuilder::new();
    for i in 0..5_000_i64 {
        let mut record = with("n", Value::I64(i));
        record.metadata.insert("s".to_owned(), Value::Strings(vec!["ab".to_owned(); (i % 3) as usize]));
        record.metadata.insert(format!("k{}", i % 50), Value::F64s(vec![0.5]));
        record.document = (i % 2 == 0).then(|| "text".to_owned());
        record.embedding = Some(embedding_at(1, i as u32));
        builder.push(&format!("{i:05}"), &put(record)).unwrap();
    }
    let estimate = builder.estimated_bytes();
    let bytes = PartMeta::decode(builder.finish().unwrap().object.to_bytes()).unwrap().memory_bytes();
    assert!((bytes..bytes * 2).contains(&estimate), "{estimate} for {bytes}");
}
