//! What a collection must hold, kept as plainly as the documentation of the five ops says it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses some of it")]

use std::collections::BTreeMap;

use deltafold::Entry;
use deltafold::format::{Action, Op, Position, Record, ShardId};
use proptest::prelude::*;

/// The records by id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    pub records: BTreeMap<String, Entry>,
    /// Every op ever applied.
    pub ops: u64,
}

impl Model {
    pub fn apply(&mut self, op: Op, shard: ShardId, at: Position) {
        self.ops += 1;
        let Op { id, action } = op;
        let old = self.records.remove(&id);
        let inserted = old.as_ref().map_or(at, |old| old.inserted);
        let entry = |record| Some(Entry { id: id.clone(), record, inserted, changed: at, shard });
        let new = match (action, old) {
            (Action::Delete, _) | (Action::Patch(_), None) => None,
            (Action::Put(record), _) | (Action::Add(record), None) => entry(record),
            (Action::Add(_), Some(old)) => Some(old),
            (Action::Upsert(patch), None) => entry(patch.apply(Record::default())),
            (Action::Patch(patch) | Action::Upsert(patch), Some(old)) => entry(patch.apply(old.record)),
        };
        self.records.extend(new.map(|entry| (id, entry)));
    }

    /// In id order.
    pub fn by_id(&self) -> Vec<Entry> {
        self.records.values().cloned().collect()
    }

    /// In the order of insertion.
    pub fn by_insertion(&self) -> Vec<Entry> {
        let mut all = self.by_id();
        all.sort_by_key(|entry| (entry.inserted, entry.shard));
        all
    }
}

/// Some op on one of few ids, so that they meet. Embeddings are of dimension 2.
pub fn op() -> impl Strategy<Value = Op> {
    use deltafold::format::{Change, Patch, Value};
    fn change<T: std::fmt::Debug + Clone + 'static>(
        of: impl Strategy<Value = T> + 'static,
    ) -> BoxedStrategy<Change<T>> {
        prop_oneof![Just(Change::Keep), Just(Change::Clear), of.prop_map(Change::Set)].boxed()
    }
    let embedding = || (-4..4i8, -4..4i8).prop_map(|(x, y)| vec![f32::from(x), f32::from(y)]);
    let value = || prop_oneof![any::<i64>().prop_map(Value::I64), "[xy]{0,2}".prop_map(Value::String)];
    let metadata = proptest::collection::btree_map("[k-m]", value(), 0..3);
    let record = (proptest::option::of(embedding()), metadata, proptest::option::of("[xyä]{0,2}"))
        .prop_map(|(embedding, metadata, document)| Record { embedding, metadata, document })
        .boxed();
    let metadata = proptest::collection::btree_map("[k-m]", proptest::option::of(value()), 0..3);
    let patch = (change(embedding()), metadata, change("[xyä]{0,2}"))
        .prop_map(|(embedding, metadata, document)| Patch { embedding, metadata, document })
        .boxed();
    let action = prop_oneof![
        record.clone().prop_map(Action::Put),
        record.prop_map(Action::Add),
        patch.clone().prop_map(Action::Upsert),
        patch.prop_map(Action::Patch),
        Just(Action::Delete),
    ];
    ("[a-dé]{1,2}", action).prop_map(|(id, action)| Op { id, action })
}
