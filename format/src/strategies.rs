//! Any values, records and actions, for property tests.

use std::fmt::Debug;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::op::Action;
use crate::record::{Change, Patch, Record, Value};

/// A value of any type.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    let float = any::<f64>().prop_filter("finite", |f| f.is_finite());
    let list = 0..4usize;
    prop_oneof![
        ".{0,9}".prop_map(Value::String),
        any::<i64>().prop_map(Value::I64),
        float.clone().prop_map(Value::F64),
        any::<bool>().prop_map(Value::Bool),
        vec(".{0,5}", list.clone()).prop_map(Value::Strings),
        vec(any::<i64>(), list.clone()).prop_map(Value::I64s),
        vec(float, list.clone()).prop_map(Value::F64s),
        vec(any::<bool>(), list).prop_map(Value::Bools),
    ]
}

/// Any change of a field.
pub(crate) fn change<T: Debug + Clone + 'static>(of: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Change<T>> {
    prop_oneof![Just(Change::Keep), Just(Change::Clear), of.prop_map(Change::Set)].boxed()
}

/// Any action, with embeddings of this strategy and keys of this pattern.
pub(crate) fn action<E: Debug + Clone + 'static, S: Strategy<Value = E> + 'static>(
    embedding: impl Fn() -> S,
    keys: &'static str,
) -> impl Strategy<Value = Action<E>> {
    let map = btree_map(keys, value(), 0..4);
    let record = (option::of(embedding()), map, option::of(".{0,20}"))
        .prop_map(|(embedding, metadata, document)| Record { embedding, metadata, document })
        .boxed();
    let map = btree_map(keys, option::of(value()), 0..4);
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
