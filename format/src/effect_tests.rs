use super::*;
use crate::digest::OpHash;
use crate::name::{Position, Sequence};
use crate::op::Op;
use crate::record::{Change, Patch, Record};
use crate::revision::Revision;
use crate::stamp::Stamp;

type E = Effect<u8>;

fn at(slot: u64) -> Place {
    Place::Log(Position::new(Sequence::new(slot).unwrap(), 0).unwrap())
}

fn log(action: Action<u8>, slot: u64) -> E {
    E::from_op(action, at(slot))
}

fn revision(action: Action<u8>, number: u128) -> E {
    let op = Op::new("a", action).at(Revision::new(number));
    let stamp = Stamp::of(&op.action, Revision::new(number), OpHash::of(&[7], &[]));
    E::from_op(op.action, Place::Revision(stamp))
}

fn record(embedding: u8) -> Record<u8> {
    Record { embedding: Some(embedding), ..Record::default() }
}

fn patch(document: &str) -> Patch<u8> {
    Patch { document: Change::Set(document.to_owned()), ..Patch::default() }
}

/// Every op in both orderings, with the answer to each question that folds, merges and readers ask.
#[test]
fn each_op_answers_over_absent_and_present_records() {
    let rows = [
        // op, replaces, final, touches presence, leaves a record where there was nothing
        (log(Action::Put(record(1)), 1), true, false, true, true),
        (log(Action::Delete, 1), true, true, true, false),
        (log(Action::Delete, 1).then(log(Action::Put(record(1)), 2)), true, true, true, true),
        (log(Action::Patch(patch("x")), 1), false, false, false, false),
        (log(Action::Add(record(1)), 1), false, false, true, true),
        (log(Action::Upsert(patch("x")), 1), false, false, true, true),
        (revision(Action::Put(record(1)), 1), false, false, true, true),
        (revision(Action::Delete, 1), false, false, true, false),
        (revision(Action::Patch(patch("x")), 1), false, false, false, false),
        (revision(Action::Upsert(patch("x")), 1), false, false, true, true),
    ];
    for (number, (effect, replaces, last, touches, leaves)) in rows.into_iter().enumerate() {
        assert_eq!((effect.is_replace(), effect.is_final()), (replaces, last), "row {number}");
        if let Effect::Log(transition) = &effect {
            assert_eq!((transition.is_replace(), transition.is_final()), (replaces, last), "row {number}");
        }
        assert_eq!(effect.touches_presence(), touches, "row {number}");
        assert!(!effect.is_nothing(), "row {number}");
        assert_eq!(effect.resolve().is_some(), leaves, "row {number}");
    }
    assert!(revision(Action::Patch(Patch::default()), 1).is_nothing());
    assert!(!log(Action::Patch(Patch::default()), 1).is_nothing(), "in log order it still has its place");
}

#[test]
fn a_record_keeps_its_content_and_places() {
    let stored = log(Action::Put(record(4)), 2).then(log(Action::Patch(patch("x")), 3)).resolve().unwrap();
    assert_eq!((stored.inserted, stored.changed), (at(2), at(3)));
    assert_eq!((stored.record.embedding, stored.record.document.as_deref()), (Some(4), Some("x")));
    let stored = revision(Action::Put(record(4)), 2).then(revision(Action::Patch(patch("x")), 3)).resolve().unwrap();
    assert_eq!(stored.inserted.revision(), Some(Revision::new(2)));
    assert_eq!((stored.changed.revision(), stored.changed.position()), (Some(Revision::new(3)), None));
}

/// The base drops patches without a record and tombstones of the log at once, tombstones with
/// revisions at their date.
#[test]
fn the_base_keeps_records_and_young_tombstones() {
    let forget = Timestamp::from_millis(1_000);
    let kept = |effect: E| effect.into_base(forget);
    let put = kept(log(Action::Put(record(1)), 1).then(log(Action::Patch(patch("x")), 2))).unwrap();
    assert!(put.is_replace() && !put.is_final());
    assert_eq!(put.resolve().unwrap().record.document.as_deref(), Some("x"));
    assert_eq!(kept(log(Action::Delete, 1)), None);
    assert_eq!(kept(log(Action::Patch(patch("x")), 1)), None);
    for (effect, is_record) in [
        (revision(Action::Put(record(1)), 1), true),
        (revision(Action::Delete, 1), false),
        (revision(Action::Patch(patch("x")), 1), false),
    ] {
        for (date, is_young) in [(999, false), (1_000, true), (1_001, true)] {
            let mut dated = effect.clone();
            dated.date(Timestamp::from_millis(date));
            let Effect::Revision(revised) = &dated else { panic!("it has a revision") };
            assert_eq!(revised.dated.as_millis(), date);
            assert_eq!(kept(dated.clone()), (is_record || is_young).then_some(dated), "dated {date}");
        }
    }
}

#[test]
fn an_effect_lists_the_embeddings_it_carries() {
    let all = |effect: &E| effect.embeddings().copied().collect::<Vec<u8>>();
    let set = |embedding| Patch { embedding: Change::Set(embedding), ..Patch::default() };
    assert_eq!(all(&log(Action::Put(record(1)), 1)), [1]);
    assert_eq!(all(&log(Action::Delete, 1)), []);
    let two = log(Action::Add(record(1)), 1).then(log(Action::Patch(Patch::default()), 2));
    assert_eq!(all(&two), [1]);
    assert_eq!(all(&log(Action::Upsert(set(2)), 1)), [2, 2], "of the absent and of the present case");
    assert_eq!(all(&revision(Action::Upsert(set(3)), 1)), [3]);
    let mapped = log(Action::Upsert(set(2)), 1).map_embedding(&mut |e: u8| u32::from(e) * 10);
    assert_eq!(mapped.embeddings().copied().collect::<Vec<u32>>(), [20, 20]);
    let mapped = revision(Action::Upsert(set(3)), 1).map_embedding(&mut |e: u8| u32::from(e) * 10);
    assert_eq!(mapped.embeddings().copied().collect::<Vec<u32>>(), [30]);
    assert!(mapped.touches_presence() && mapped.resolve().is_some(), "the rest stays");
}

/// Two deliveries of one op hold their embedding in two places. The first copy stays, so that
/// references count once.
#[test]
fn of_one_write_held_twice_the_first_copy_stays() {
    let set = |embedding| Patch { embedding: Change::Set(embedding), ..Patch::default() };
    let op = Op::new("a", Action::Upsert(set(0_u8))).at(Revision::new(5));
    let stamp = Stamp::of(&op.action, Revision::new(5), OpHash::of(&[7], &[]));
    let [one, other] = [1, 2].map(|copy| E::from_op(Action::Upsert(set(copy)), Place::Revision(stamp)));
    assert_eq!(one.clone().then(other.clone()).embeddings().copied().collect::<Vec<u8>>(), [1]);
    assert_eq!(other.then(one).embeddings().copied().collect::<Vec<u8>>(), [2]);
}

/// An outline gives the same presence and insertion as the whole effect.
#[test]
fn an_outline_tells_presence() {
    for effect in [
        revision(Action::Put(record(1)), 4),
        revision(Action::Delete, 4),
        revision(Action::Upsert(patch("x")), 4),
        revision(Action::Delete, 4).then(revision(Action::Upsert(patch("x")), 5)),
    ] {
        let Effect::Revision(revised) = &effect else { panic!("it has a revision") };
        let outline: crate::revised::Revised<()> = revised.outline();
        assert_eq!((outline.base, outline.upserted), (revised.base, revised.upserted));
        assert_eq!(outline.is_present(), revised.is_present());
        assert!(outline.embedding().is_none() && outline.metadata.is_empty());
    }
}

#[test]
fn places_tell_which_ordering_they_are_of() {
    let (log, revised) = (at(7), Place::Revision(Stamp { revision: Revision::new(9), tie: 1 }));
    assert_eq!((log.position().map(|position| position.sequence().get()), log.revision()), (Some(7), None));
    assert_eq!((revised.position(), revised.revision()), (None, Some(Revision::new(9))));
    assert_eq!((log.to_string().as_str(), revised.to_string().as_str()), ("00000000000000000007.0000000", "9"));
    let action: [(Action<u8>, &str); 5] = [
        (Action::Put(record(1)), "put"),
        (Action::Upsert(Patch::default()), "upsert"),
        (Action::Add(record(1)), "add"),
        (Action::Patch(Patch::default()), "patch"),
        (Action::Delete, "delete"),
    ];
    for (action, name) in action {
        assert_eq!(action.name(), name);
    }
}
