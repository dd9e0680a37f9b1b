//! The expected content of a collection, computed as simply as the documentation defines the five
//! ops.

use std::collections::BTreeMap;

use deltafold::Entry;
use deltafold::format::{Action, Op, Place, Position, Record, Revision, ShardId, Stamp};
use proptest::prelude::*;

/// The records by id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    pub records: BTreeMap<String, Entry>,
    /// Every op ever applied.
    pub ops: u64,
    /// In collections ordered by revision: all ops of each id, by revision and kind.
    histories: BTreeMap<String, BTreeMap<(Revision, u8), Op>>,
}

impl Model {
    pub fn apply(&mut self, op: Op, shard: ShardId, at: Position) {
        self.ops += 1;
        let Op { id, action, .. } = op;
        let old = self.records.remove(&id);
        let at = Place::Log(at);
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

    /// Notes an op with a revision; the order of calls does not matter. Do not give it two
    /// different ops of one kind for one id at one revision: the model cannot rank them.
    pub fn revise(&mut self, op: Op, shard: ShardId) {
        self.ops += 1;
        let id = op.id.clone();
        let history = self.histories.entry(id.clone()).or_default();
        history.insert(key(&op), op);
        self.records.remove(&id);
        self.records.extend(by_the_book(history.values()).map(|(record, inserted, changed)| {
            let place = |revision| Place::Revision(Stamp { revision, tie: 0 });
            (id.clone(), Entry { id, record, inserted: place(inserted), changed: place(changed), shard })
        }));
    }

    /// Whether a different op of the same kind has the same id and revision.
    pub fn collides(&self, op: &Op) -> bool {
        self.histories.get(&op.id).and_then(|history| history.get(&key(op))).is_some_and(|known| known != op)
    }

    /// In id order.
    pub fn by_id(&self) -> Vec<Entry> {
        self.records.values().cloned().collect()
    }

    /// In the order of insertion.
    pub fn by_insertion(&self) -> Vec<Entry> {
        let mut all = self.by_id();
        // A stable sort: at one revision by id.
        all.sort_by_key(|entry| (entry.inserted, entry.shard));
        all
    }
}

/// The order of ops on one id: by revision, then by kind.
fn key(op: &Op) -> (Revision, u8) {
    let rank = match op.action {
        Action::Put(_) | Action::Add(_) => 0,
        Action::Patch(_) | Action::Upsert(_) => 1,
        Action::Delete => 2,
    };
    (op.revision.expect("it has a revision"), rank)
}

/// The result of ops in the order of their revisions: the record, and the revisions of its
/// insertion and of its last change. A put sets the record, and a delete removes it and all its
/// fields. A patch writes fields whether or not there is a record. An upsert does too, and makes
/// the record exist.
pub fn by_the_book<'a>(ops: impl IntoIterator<Item = &'a Op>) -> Option<(Record, Revision, Revision)> {
    let mut fields = Record::default();
    let (mut present, mut put) = (false, false);
    let (mut inserted, mut changed) = (Revision::default(), Revision::default());
    for op in ops {
        let at = op.revision.expect("it has a revision");
        match op.action.clone() {
            Action::Put(record) | Action::Add(record) => (fields, present, put, inserted) = (record, true, true, at),
            Action::Delete => (fields, present, put) = (Record::default(), false, false),
            Action::Patch(patch) if patch.is_empty() => continue,
            Action::Patch(patch) => fields = patch.apply(fields),
            Action::Upsert(patch) => {
                fields = patch.apply(fields);
                present = true;
                inserted = if put { inserted } else { at };
            }
        }
        changed = at;
    }
    present.then_some((fields, inserted, changed))
}

/// An entry without the tie-break between ops of one revision, which the model does not know.
pub fn untied(mut entry: Entry) -> Entry {
    for place in [&mut entry.inserted, &mut entry.changed] {
        if let Place::Revision(stamp) = place {
            stamp.tie = 0;
        }
    }
    entry
}

/// A random op on one of few ids, so that ops meet. Embeddings are of dimension 2.
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
    ("[a-dé]{1,2}", action).prop_map(|(id, action)| Op::new(id, action))
}
