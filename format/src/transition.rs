//! The effect of a series of ops on one id, in a form closed under composition.
//!
//! In general an op maps "absent" to a record or nothing, and "present" to a new record, to nothing
//! or to a patched record. Of the five ops, `put` and `delete` treat both cases alike. The other
//! three leave a present record in place. Composition keeps this rule: whenever the present case
//! *sets*, the absent case sets the same.
//!
//! So two shapes are enough: [`Transition::Replace`], where the old content does not matter, and
//! [`Transition::Modify`]. The two cases of a `Replace` differ only in the insertion position,
//! hence its `renewed` flag.

use crate::name::Position;
use crate::op::Action;
use crate::record::{Patch, Record};

/// A record with its place among the changes: in the log, or by revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored<E, P = Position> {
    /// The record.
    pub record: Record<E>,
    /// The place of its insertion. In log order, updates keep it, and an insertion after a delete
    /// renews it. By revision: [`Revised::inserted`](crate::Revised::inserted).
    pub inserted: P,
    /// Its last change.
    pub changed: P,
}

/// The effect of a series of ops on one id.
#[derive(Debug, Clone, PartialEq)]
pub enum Transition<E> {
    /// The id becomes absent or gets this record, whatever it held before.
    Replace {
        /// The record; `None` for a tombstone. Its `inserted` applies if the id was absent before
        /// or `renewed` is set.
        record: Option<Stored<E>>,
        /// One of the ops is a delete, so a present record's insertion position is not kept.
        renewed: bool,
    },
    /// Patches a present record. An absent one becomes `absent`.
    Modify {
        /// The result for an absent id.
        absent: Option<Stored<E>>,
        /// The change of a present record.
        patch: Patch<E>,
        /// The position of the last op that changes a present record; `None` only with an empty
        /// patch.
        changed: Option<Position>,
    },
}

impl<E: Clone> Transition<E> {
    /// The id becomes absent.
    pub const TOMBSTONE: Self = Self::Replace { record: None, renewed: true };

    /// Whether it hides the older content, so that older transitions need not be read for the
    /// content. The insertion position may still come from an older one, unless the id is gone or
    /// renewed.
    pub fn is_replace(&self) -> bool {
        matches!(self, Self::Replace { .. })
    }

    /// Whether it hides everything of an older state, even the insertion position.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Replace { record: None, .. } | Self::Replace { renewed: true, .. })
    }

    /// The state after these ops, applied to `old`.
    pub fn resolve(self, old: Option<Stored<E>>) -> Option<Stored<E>> {
        match self {
            Self::Replace { record, renewed } => record.map(|mut new| {
                if let Some(old) = old
                    && !renewed
                {
                    new.inserted = old.inserted;
                }
                new
            }),
            Self::Modify { absent, patch, changed } => match old {
                None => absent,
                Some(old) => Some(patched(old, patch, changed)),
            },
        }
    }

    /// These ops, then `newer`. Associative, and `a.then(b).resolve(s) == b.resolve(a.resolve(s))`.
    #[must_use]
    pub fn then(self, newer: Self) -> Self {
        match (self, newer) {
            (Self::Replace { record, renewed }, newer) => {
                let renewed = renewed || newer.is_final();
                match (record, newer) {
                    // The tombstone makes the id absent before `newer` inserts, so both cases are
                    // the absent one.
                    (None, newer) => Self::Replace { record: newer.resolve(None), renewed: true },
                    (Some(old), newer) => Self::Replace { record: newer.resolve(Some(old)), renewed },
                }
            }
            (Self::Modify { absent, .. }, Self::Replace { record, renewed }) => match (absent, record) {
                (Some(old), Some(mut new)) if !renewed => {
                    new.inserted = old.inserted;
                    Self::Replace { record: Some(new), renewed }
                }
                (_, record) => Self::Replace { record, renewed },
            },
            (
                Self::Modify { absent, patch, changed },
                Self::Modify { absent: newer_absent, patch: newer, changed: last },
            ) => Self::Modify {
                absent: match absent {
                    None => newer_absent,
                    Some(old) => Some(patched(old, newer.clone(), last)),
                },
                patch: patch.then(newer),
                changed: last.or(changed),
            },
        }
    }

    /// The effect of one op at `position`.
    pub fn from_op(action: Action<E>, position: Position) -> Self {
        let stored = |record| Stored { record, inserted: position, changed: position };
        match action {
            Action::Put(record) => Self::Replace { record: Some(stored(record)), renewed: false },
            Action::Delete => Self::TOMBSTONE,
            Action::Patch(patch) => Self::Modify { absent: None, patch, changed: Some(position) },
            Action::Add(record) => {
                Self::Modify { absent: Some(stored(record)), patch: Patch::default(), changed: None }
            }
            Action::Upsert(patch) => Self::Modify {
                absent: Some(stored(patch.clone().apply(Record::default()))),
                patch,
                changed: Some(position),
            },
        }
    }
}

impl<E> Transition<E> {
    /// Its embeddings: at most two, of the absent and of the present case.
    pub fn embeddings(&self) -> impl Iterator<Item = &E> {
        let (stored, patch) = match self {
            Self::Replace { record, .. } => (record.as_ref(), None),
            Self::Modify { absent, patch, .. } => (absent.as_ref(), patch.embedding.value()),
        };
        stored.and_then(|stored| stored.record.embedding.as_ref()).into_iter().chain(patch)
    }

    /// The same transition with its embeddings mapped to another form.
    pub fn map_embedding<F>(self, map: &mut impl FnMut(E) -> F) -> Transition<F> {
        match self {
            Self::Replace { record, renewed } => {
                Transition::Replace { record: record.map(|stored| stored.map_embedding(&mut *map)), renewed }
            }
            Self::Modify { absent, patch, changed } => Transition::Modify {
                absent: absent.map(|stored| stored.map_embedding(&mut *map)),
                patch: patch.map_embedding(map),
                changed,
            },
        }
    }
}

impl<E, P> Stored<E, P> {
    /// The same record with its embedding mapped to another form.
    pub fn map_embedding<F>(self, map: impl FnOnce(E) -> F) -> Stored<F, P> {
        Stored { record: self.record.map_embedding(map), inserted: self.inserted, changed: self.changed }
    }

    /// The same record with its places mapped to another form.
    pub fn map_places<Q>(self, map: impl Fn(P) -> Q) -> Stored<E, Q> {
        Stored { record: self.record, inserted: map(self.inserted), changed: map(self.changed) }
    }
}

/// `old` after a patch whose last op is at `changed`.
fn patched<E>(old: Stored<E>, patch: Patch<E>, changed: Option<Position>) -> Stored<E> {
    Stored { record: patch.apply(old.record), inserted: old.inserted, changed: changed.unwrap_or(old.changed) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::name::Sequence;
    use crate::record::Value;
    use crate::strategies::change;

    type Store = Option<Stored<u8>>;

    /// The five ops as the documentation defines them, without transitions.
    fn by_the_book(state: Store, action: Action<u8>, at: Position) -> Store {
        let insert = |record| Some(Stored { record, inserted: at, changed: at });
        match (action, state) {
            (Action::Put(record), Some(old)) => Some(Stored { record, inserted: old.inserted, changed: at }),
            (Action::Put(record), None) | (Action::Add(record), None) => insert(record),
            (Action::Add(_), present) => present,
            (Action::Delete, _) | (Action::Patch(_), None) => None,
            (Action::Upsert(patch), None) => insert(patch.apply(Record::default())),
            (Action::Patch(patch) | Action::Upsert(patch), Some(old)) => {
                Some(Stored { record: patch.apply(old.record), inserted: old.inserted, changed: at })
            }
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![any::<i64>().prop_map(Value::I64), "[ab]".prop_map(Value::String)]
    }

    fn record() -> impl Strategy<Value = Record<u8>> {
        let metadata = proptest::collection::btree_map("[a-c]", value(), 0..3);
        (proptest::option::of(any::<u8>()), metadata, proptest::option::of("[xy]"))
            .prop_map(|(embedding, metadata, document)| Record { embedding, metadata, document })
    }

    fn patch() -> impl Strategy<Value = Patch<u8>> {
        let metadata = proptest::collection::btree_map("[a-c]", proptest::option::of(value()), 0..3);
        (change(any::<u8>()), metadata, change("[xy]")).prop_map(|(embedding, metadata, document)| Patch {
            embedding,
            metadata,
            document,
        })
    }

    fn action() -> impl Strategy<Value = Action<u8>> {
        prop_oneof![
            record().prop_map(Action::Put),
            record().prop_map(Action::Add),
            patch().prop_map(Action::Upsert),
            patch().prop_map(Action::Patch),
            Just(Action::Delete),
        ]
    }

    fn at(sequence: usize) -> Position {
        Position::new(Sequence::new(sequence as u64 + 1).unwrap(), 0).unwrap()
    }

    fn transitions(actions: &[Action<u8>]) -> Vec<Transition<u8>> {
        actions.iter().cloned().enumerate().map(|(i, action)| Transition::from_op(action, at(i + 1))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_grouping_of_ops_gives_the_state_of_the_ops_one_by_one(
            start in proptest::option::of(record()),
            actions in proptest::collection::vec(action(), 1..7),
            cut in any::<proptest::sample::Index>(),
        ) {
            let start: Store = start.map(|record| Stored { record, inserted: at(0), changed: at(0) });
            let expected = actions.iter().cloned().enumerate()
                .fold(start.clone(), |state, (i, action)| by_the_book(state, action, at(i + 1)));
            let all = transitions(&actions);
            let fold = |some: &[Transition<u8>]| some.iter().cloned().reduce(Transition::then);
            let whole = fold(&all).unwrap();
            prop_assert_eq!(&whole.clone().resolve(start.clone()), &expected);
            let (left, right) = all.split_at(cut.index(all.len()));
            let grouped = [fold(left), fold(right)].into_iter().flatten().reduce(Transition::then).unwrap();
            prop_assert_eq!(grouped, whole);
        }

        #[test]
        fn composing_is_associative(a in action(), b in action(), c in action()) {
            let [a, b, c]: [_; 3] = transitions(&[a, b, c]).try_into().unwrap();
            prop_assert_eq!(a.clone().then(b.clone()).then(c.clone()), a.then(b.then(c)));
        }
    }

    #[test]
    fn a_put_keeps_the_insertion_position_and_a_delete_renews_it() {
        let put = |i| Transition::from_op(Action::<u8>::Put(Record::default()), at(i));
        let inserted = |t: Transition<u8>| t.resolve(put(0).resolve(None)).map(|stored| stored.inserted);
        assert_eq!(inserted(put(1)), Some(at(0)));
        assert_eq!(inserted(Transition::TOMBSTONE.then(put(1)).then(put(2))), Some(at(1)));
    }

    #[test]
    fn a_patch_with_null_removes_the_key() {
        let patch = Patch { metadata: BTreeMap::from([("k".to_owned(), None)]), ..Patch::<u8>::default() };
        let metadata = BTreeMap::from([("k".to_owned(), Value::Bool(true))]);
        assert!(patch.apply(Record { metadata, ..Record::default() }).metadata.is_empty());
    }
}
