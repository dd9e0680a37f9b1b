use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::name::{Nonce, Position, Sequence, Version};
use crate::op::Action;
use crate::record::{Change, Patch, Record, Value};
use crate::transition::Transition;

pub(super) type T = Transition<EmbeddingRef>;

pub(super) fn at(sequence: u64) -> Position {
    Position::new(Sequence::new(sequence).unwrap(), 5).unwrap()
}

fn value() -> impl Strategy<Value = Value> {
    let float = any::<f64>().prop_filter("finite", |f| f.is_finite());
    let list = 0..4usize;
    prop_oneof![
        ".{0,9}".prop_map(Value::String),
        any::<i64>().prop_map(Value::I64),
        float.clone().prop_map(Value::F64),
        any::<bool>().prop_map(Value::Bool),
        proptest::collection::vec(".{0,5}", list.clone()).prop_map(Value::Strings),
        proptest::collection::vec(any::<i64>(), list.clone()).prop_map(Value::I64s),
        proptest::collection::vec(float, list.clone()).prop_map(Value::F64s),
        proptest::collection::vec(any::<bool>(), list).prop_map(Value::Bools),
    ]
}

fn embedding() -> impl Strategy<Value = EmbeddingRef> {
    (0..3u64, 0..2u64, 0..100u32).prop_map(|(version, nonce, row)| EmbeddingRef {
        object: ObjectName { version: Version::new(version), nonce: Nonce::new(nonce) },
        row,
    })
}

fn change<V: std::fmt::Debug + Clone + 'static>(of: impl Strategy<Value = V> + 'static) -> BoxedStrategy<Change<V>> {
    prop_oneof![Just(Change::Keep), Just(Change::Clear), of.prop_map(Change::Set)].boxed()
}

fn action() -> impl Strategy<Value = Action<EmbeddingRef>> {
    let map = proptest::collection::btree_map("[a-e]", value(), 0..4);
    let record = (proptest::option::of(embedding()), map, proptest::option::of(".{0,20}"))
        .prop_map(|(embedding, metadata, document)| Record { embedding, metadata, document })
        .boxed();
    let map = proptest::collection::btree_map("[a-e]", proptest::option::of(value()), 0..4);
    let patch = (change(embedding()), map, change(".{0,20}"))
        .prop_map(|(embedding, metadata, document)| Patch { embedding, metadata, document })
        .boxed();
    prop_oneof![
        record.clone().prop_map(Action::Put),
        record.prop_map(Action::Add),
        patch.clone().prop_map(Action::Upsert),
        patch.prop_map(Action::Patch),
        Just(Action::Delete),
    ]
}

/// What one to four ops on an id compose to: every form, and every state that it can be in.
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
            prop_assert_eq!(&part.transition(number), transition);
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
