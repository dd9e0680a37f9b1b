//! Compares the algebra with a model that sorts the ops and applies them one by one.

use proptest::prelude::*;

use super::*;
use crate::digest::OpHash;
use crate::op::Op;
use crate::revision::Revision;
use crate::strategies;
use crate::transition::Transition;

type R = Revised<u8>;

/// An op with its stamp. Equal ops have equal stamps, others different ones.
#[derive(Debug, Clone, PartialEq)]
struct Stamped(Action<u8>, Stamp);

fn stamped(action: Action<u8>, revision: u128) -> Stamped {
    let hash = OpHash::of(format!("{action:?}").as_bytes(), &[]);
    let op = Op::new("a", action).at(Revision::new(revision));
    let stamp = Stamp::of(&op.action, op.revision.unwrap(), hash);
    Stamped(op.action, stamp)
}

/// The result of the ops as documented: in the order of their stamps, each once. A put sets the
/// record, and a delete removes it with all its fields. A patch writes fields whether or not there
/// is a record. An upsert does so, too, and makes the record present.
fn by_the_book(ops: &[Stamped]) -> Option<Stored<u8, Stamp>> {
    let mut ops = ops.to_vec();
    ops.sort_by_key(|op| op.1);
    ops.dedup();
    let (mut fields, mut present, mut put, mut inserted, mut changed) = (Record::default(), false, false, None, None);
    for Stamped(action, at) in ops {
        match action {
            Action::Put(record) => (fields, present, put, inserted) = (record, true, true, Some(at)),
            Action::Delete => (fields, present, put, inserted) = (Record::default(), false, false, None),
            // A patch without fields changes nothing, not even the change position.
            Action::Patch(patch) if patch.is_empty() => continue,
            Action::Patch(patch) => fields = patch.apply(fields),
            Action::Upsert(patch) => {
                fields = patch.apply(fields);
                present = true;
                if !put {
                    inserted = Some(at);
                }
            }
            Action::Add(_) => unreachable!("no op with a revision is an add"),
        }
        changed = Some(at);
    }
    present.then(|| Stored { record: fields, inserted: inserted.unwrap(), changed: changed.unwrap() })
}

fn join(ops: &[Stamped]) -> R {
    ops.iter().map(|op| R::from_op(op.0.clone(), op.1)).reduce(R::join).unwrap_or_default()
}

/// Every state keeps this invariant: nothing lies below its base.
fn is_normal(state: &R) -> bool {
    let base = state.base.map(|base| base.at);
    state.slots().all(|at| base.is_none_or(|base| at >= base)) && state.upserted.is_none_or(|at| Some(at) > base)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![(0..3i64).prop_map(Value::I64), "[ab]".prop_map(Value::String)]
}

fn action() -> impl Strategy<Value = Action<u8>> {
    let metadata = proptest::collection::btree_map("[a-c]", value(), 0..3);
    let record = (proptest::option::of(0..4u8), metadata, proptest::option::of("[xy]"))
        .prop_map(|(embedding, metadata, document)| Record { embedding, metadata, document });
    let metadata = proptest::collection::btree_map("[a-c]", proptest::option::of(value()), 0..3);
    let patch = (strategies::change(0..4u8), metadata, strategies::change("[xy]"))
        .prop_map(|(embedding, metadata, document)| Patch { embedding, metadata, document })
        .boxed();
    prop_oneof![
        1 => record.prop_map(Action::Put),
        1 => patch.clone().prop_map(Action::Upsert),
        2 => patch.prop_map(Action::Patch),
        1 => Just(Action::Delete),
    ]
}

/// Few distinct revisions, so that some are equal.
fn op() -> impl Strategy<Value = Stamped> {
    (action(), 0..6u128).prop_map(|(action, revision)| stamped(action, revision))
}

/// Every order of `ops`, by Heap's algorithm.
fn permutations(ops: &mut Vec<Stamped>, of_first: usize, each: &mut impl FnMut(&[Stamped])) {
    if of_first <= 1 {
        return each(ops);
    }
    for i in 0..of_first {
        permutations(ops, of_first - 1, each);
        let swapped = if of_first.is_multiple_of(2) { i } else { 0 };
        ops.swap(swapped, of_first - 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_order_of_a_small_history_ends_alike(ops in proptest::collection::vec(op(), 1..6)) {
        let expected = by_the_book(&ops);
        let state = join(&ops);
        prop_assert!(is_normal(&state), "{state:?}");
        let mut all = ops;
        let most = all.len();
        permutations(&mut all, most, &mut |ops| {
            let joined = join(ops);
            assert_eq!(joined, state, "{ops:?}");
            assert_eq!(joined.resolve(), expected, "{ops:?}");
        });
    }

    #[test]
    fn joining_is_commutative_associative_and_idempotent(
        a in proptest::collection::vec(op(), 0..6),
        b in proptest::collection::vec(op(), 0..6),
        c in proptest::collection::vec(op(), 0..6),
    ) {
        let all = join(&[a.clone(), b.clone(), c.clone()].concat());
        let [a, b, c] = [a, b, c].map(|ops| join(&ops));
        prop_assert_eq!(a.clone().join(b.clone()), b.clone().join(a.clone()));
        prop_assert_eq!(a.clone().join(b.clone()).join(c.clone()), a.clone().join(b.clone().join(c.clone())));
        prop_assert_eq!(a.clone().join(a.clone()), a.clone());
        prop_assert_eq!(a.clone().join(R::default()), a.clone());
        // Joining a state that it contains changes nothing.
        prop_assert_eq!(all.clone().join(b.clone()), all.clone());
        prop_assert_eq!(c.join(a).join(b), all);
    }

    /// Shuffled with repetitions, and joined in random groups.
    #[test]
    fn a_large_history_in_any_order_and_grouping(
        ops in proptest::collection::vec((action(), 0..60u128), 20..60),
        order in proptest::collection::vec((any::<proptest::sample::Index>(), 1..5usize), 60..120),
    ) {
        let ops: Vec<Stamped> = ops.into_iter().map(|(action, revision)| stamped(action, revision)).collect();
        let mut delivered: Vec<(Stamped, usize)> =
            order.iter().map(|(pick, group)| (ops[pick.index(ops.len())].clone(), *group)).collect();
        delivered.extend(ops.iter().rev().map(|op| (op.clone(), 3)));
        let mut groups: Vec<R> = Vec::new();
        let mut rest = &delivered[..];
        while let Some((_, most)) = rest.first() {
            let (group, after) = rest.split_at((*most).min(rest.len()));
            groups.push(join(&group.iter().map(|(op, _)| op.clone()).collect::<Vec<_>>()));
            rest = after;
        }
        // Joins neighbours first, then their results, as tiers do.
        while groups.len() > 1 {
            let pairs = groups.chunks(2).map(|pair| pair.iter().cloned().reduce(R::join).unwrap());
            groups = pairs.collect();
        }
        prop_assert_eq!(&groups[0], &join(&ops));
        prop_assert_eq!(groups[0].clone().resolve(), by_the_book(&ops));
    }

    /// Ops that arrive in the order of their revisions give the same result as in log order, if no
    /// patch meets an absent record.
    #[test]
    fn in_their_own_order_both_orderings_agree(actions in proptest::collection::vec(action(), 1..8)) {
        let mut there = false;
        let lawful = actions.into_iter().filter(|action| {
            let takes_part = there || !matches!(action, Action::Patch(_));
            there = if takes_part { !matches!(action, Action::Delete) } else { there };
            takes_part
        });
        let ops: Vec<Stamped> = lawful.zip(1..).map(|(action, revision)| stamped(action, revision)).collect();
        let at = |i: u64| crate::Position::from_bits(i << 20);
        let log = ops.iter().zip(1..).map(|(op, i)| Transition::from_op(op.0.clone(), at(i))).reduce(Transition::then);
        let log = log.and_then(|log| log.resolve(None)).map(|stored| stored.record);
        prop_assert_eq!(join(&ops).resolve().map(|stored| stored.record), log);
    }
}

fn patch(key: &str, value: Option<i64>) -> Patch<u8> {
    Patch { metadata: [(key.to_owned(), value.map(Value::I64))].into(), ..Patch::default() }
}

fn put(key: &str, value: i64) -> Action<u8> {
    let metadata = [(key.to_owned(), Value::I64(value))].into();
    Action::Put(Record { metadata, ..Record::default() })
}

fn keys(state: R) -> Option<String> {
    Some(state.resolve()?.record.metadata.into_keys().collect())
}

#[test]
fn a_delete_drops_older_ops_and_newer_ones_wait_for_a_record() {
    let deleted = [stamped(put("a", 1), 1), stamped(Action::Delete, 5)];
    assert_eq!(keys(join(&deleted)), None);
    for late in [stamped(Action::Patch(patch("b", Some(2))), 4), stamped(Action::Upsert(patch("b", Some(2))), 4)] {
        let state = join(&[&deleted[..], &[late]].concat());
        assert_eq!(state, join(&deleted[1..]), "an older op leaves no trace");
    }
    let pending = [&deleted[..], &[stamped(Action::Patch(patch("b", Some(2))), 7)]].concat();
    assert_eq!(keys(join(&pending)), None, "a patch does not make a record");
    let upserted = [&pending[..], &[stamped(Action::Upsert(patch("c", Some(3))), 6)]].concat();
    assert_eq!(keys(join(&upserted)).as_deref(), Some("bc"), "an upsert does, and the patch was waiting");
    let put = [&pending[..], &[stamped(put("d", 4), 6)]].concat();
    assert_eq!(keys(join(&put)).as_deref(), Some("bd"), "so does a put, of which newer fields stay");
}

#[test]
fn a_put_replaces_older_fields_and_removals_stay() {
    let ops = [
        stamped(put("a", 1), 1),
        stamped(Action::Patch(patch("b", Some(2))), 2),
        stamped(put("c", 3), 3),
        stamped(Action::Patch(patch("c", None)), 5),
    ];
    assert_eq!(keys(join(&ops)).as_deref(), Some(""));
    let late = [&ops[..], &[stamped(Action::Patch(patch("c", Some(9))), 4)]].concat();
    assert_eq!(keys(join(&late)).as_deref(), Some(""), "a later removal wins over a late write");
}

#[test]
fn where_a_record_is_inserted_does_not_depend_on_the_order() {
    let inserted = |ops: &[Stamped]| join(ops).resolve().map(|stored| stored.inserted.revision.get());
    let upsert = |revision| stamped(Action::Upsert(patch("a", Some(1))), revision);
    assert_eq!(inserted(&[stamped(put("a", 1), 3), upsert(5), stamped(Action::Patch(patch("a", None)), 7)]), Some(3));
    assert_eq!(inserted(&[stamped(put("a", 1), 3), upsert(5), stamped(Action::Delete, 4)]), Some(5));
    assert_eq!(inserted(&[upsert(2), upsert(5)]), Some(5));
    assert_eq!(inserted(&[stamped(put("a", 1), 3), stamped(put("a", 1), 6)]), Some(6));
}
