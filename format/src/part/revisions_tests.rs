//! Parts of rows with revisions.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::archive::archived;
use super::draft::Draft;
use super::revisions::Revisions;
use super::rows::Rows;
use super::tests::{action, embedding_at};
use super::*;
use crate::digest::OpHash;
use crate::effect::Effect;
use crate::error::{FormatError, FormatErrorKind as Kind};
use crate::name::Timestamp;
use crate::op::{Action, Op};
use crate::record::{Change, Patch, Record, Value};
use crate::revised::Revised;
use crate::revision::Revision;
use crate::stamp::Stamp;
use crate::testing;

type R = Revised<EmbeddingRef>;

/// The result of one op, with the stamp that it would have.
fn one(action: Action<EmbeddingRef>, revision: u128) -> R {
    let hash = OpHash::of(format!("{action:?}").as_bytes(), &[]);
    let op = Op::new("a", action).at(Revision::new(revision));
    let stamp = Stamp::of(&op.action, op.revision.unwrap(), hash);
    R::from_op(op.action, stamp)
}

/// The result of one to five ops.
fn revised() -> impl Strategy<Value = R> {
    let revision = prop_oneof![0..9u128, any::<u128>()];
    let op = (action(), revision).prop_map(|(action, revision)| one(action, revision));
    (proptest::collection::vec(op, 1..6), any::<i64>()).prop_filter_map("something bears a revision", |(ops, dated)| {
        let mut state = ops.into_iter().reduce(R::join)?;
        state.dated = Timestamp::from_millis(if state.is_present() { 0 } else { dated });
        let bears = state.stamps().next().is_some();
        bears.then_some(state)
    })
}

fn rows(most: usize) -> impl Strategy<Value = BTreeMap<String, R>> {
    proptest::collection::btree_map(".{1,8}", revised(), 1..most)
}

fn builder<'a>(rows: impl IntoIterator<Item = (&'a String, &'a R)>) -> PartBuilder {
    let mut builder = PartBuilder::new();
    for (id, revised) in rows {
        builder.push_effect(id, &Effect::Revision(revised.clone())).unwrap();
    }
    builder
}

fn build(rows: &BTreeMap<String, R>) -> EncodedPart {
    builder(rows).finish().unwrap()
}

fn read_back(part: &PartMeta) -> BTreeMap<String, R> {
    (0..part.rows()).map(|row| (part.id(row).to_owned(), part.revised(row).unwrap().unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_read_back_as_they_were_written(rows in rows(80)) {
        let encoded = build(&rows);
        let part = PartMeta::decode(encoded.object.to_bytes()).unwrap();
        prop_assert!(part.has_revisions() && !part.resolved());
        prop_assert_eq!(&read_back(&part), &rows);
        let absent: Vec<&R> = rows.values().filter(|revised| !revised.is_present()).collect();
        let oldest = absent.iter().map(|revised| revised.dated).min().unwrap_or_default();
        prop_assert_eq!(part.absent(), Absent { rows: u32::try_from(absent.len()).unwrap(), oldest });
        prop_assert_eq!(encoded.absent, part.absent());
        for (row, revised) in rows.values().enumerate() {
            prop_assert_eq!(part.effect(row).unwrap(), Effect::Revision(revised.clone()));
            prop_assert_eq!(part.outline(row), Effect::Revision(revised.outline()));
            // Without its document a record is the same, with the same change position.
            let fields = PartFields { metadata: true, document: false };
            let mut full = part.effect(row).unwrap().resolve();
            prop_assert_eq!(part.resolved_place(row), full.as_ref().map(|stored| stored.inserted));
            prop_assert_eq!(&part.resolved_record(row, PartFields::ALL).unwrap(), &full);
            if let Some(stored) = &mut full {
                stored.record.document = None;
            }
            prop_assert_eq!(part.resolved_record(row, fields).unwrap(), full);
        }
    }

    #[test]
    fn copied_rows_give_the_part_that_pushed_ones_give(rows in rows(60), picks in proptest::collection::vec(any::<bool>(), 60)) {
        let part = PartMeta::decode(build(&rows).object.to_bytes()).unwrap();
        let picked: Vec<(usize, (&String, &R))> =
            rows.iter().enumerate().zip(&picks).filter(|(_, pick)| **pick).map(|(row, _)| row).collect();
        if !picked.is_empty() {
            let mut copied = PartBuilder::new();
            for (row, _) in &picked {
                copied.copy_row(&part, *row, None).unwrap();
            }
            let pushed = builder(picked.iter().map(|(_, row)| *row));
            prop_assert_eq!(copied.finish().unwrap().object.to_bytes(), pushed.finish().unwrap().object.to_bytes());
        }
    }

    #[test]
    fn no_bytes_under_a_right_checksum_make_it_panic(
        rows in rows(12),
        section in 1..=2u16,
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let object = build(&rows).object.to_bytes();
        let forged = testing::with_section(&object, section, &|bytes: &mut Vec<u8>| {
            for (at, byte) in &edits {
                let at = at.index(bytes.len());
                bytes[at] ^= byte;
            }
        });
        if let Ok(part) = PartMeta::decode(forged) {
            for row in 0..part.rows() {
                let revised = part.revised(row).unwrap().unwrap();
                assert!(revised.stamps().next().is_some());
                // Accepted rows can be written again.
                let mut again = PartBuilder::new();
                again.push_revised(part.id(row), &revised).unwrap();
                again.finish().unwrap();
            }
        }
    }
}

fn record() -> Record<EmbeddingRef> {
    Record {
        embedding: Some(embedding_at(1, 10)),
        metadata: [("k".to_owned(), Value::I64(1))].into(),
        document: Some("doc".to_owned()),
    }
}

fn removal() -> Patch<EmbeddingRef> {
    Patch { embedding: Change::Clear, metadata: [("k".to_owned(), None)].into(), document: Change::Clear }
}

/// `a` put; `b` put and then everything removed; `c` deleted and upserted; `d` deleted, with a
/// pending patch; `e` a pending patch; `f` deleted.
fn sample() -> Draft {
    let sets = Patch { document: Change::Set("d".to_owned()), ..Patch::default() };
    let deleted = one(Action::Delete, 1);
    let rows = [
        ("a", one(Action::Put(record()), 5)),
        ("b", one(Action::Put(record()), 1 << 100).join(one(Action::Patch(removal()), u128::MAX))),
        ("c", deleted.clone().join(one(Action::Upsert(sets.clone()), 2))),
        ("d", deleted.clone().join(one(Action::Patch(sets.clone()), 2))),
        ("e", one(Action::Patch(sets), 3)),
        ("f", deleted),
    ];
    let rows: BTreeMap<String, R> = rows
        .map(|(id, mut revised)| {
            if !revised.is_present() {
                revised.dated = Timestamp::from_millis(1_000 + i64::from(id.as_bytes()[0]));
            }
            (id.to_owned(), revised)
        })
        .into();
    builder(&rows).into_draft()
}

fn decode(draft: &Draft) -> Result<PartMeta, FormatError> {
    PartMeta::decode(draft.seal().unwrap().object.to_bytes())
}

#[track_caller]
fn refused(rule: &str, edit: impl FnOnce(&mut Rows, &mut Revisions)) {
    let mut draft = sample();
    edit(&mut draft.rows, draft.revisions.as_mut().unwrap());
    let error = decode(&draft).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    assert!([ROWS.name, REVISIONS.name].contains(&error.what()), "{error}");
    assert!(error.to_string().contains(rule), "{error}");
}

#[test]
fn the_sample_is_sound() {
    let draft = sample();
    let revisions = draft.revisions.as_ref().unwrap();
    assert_eq!(revisions.kinds, [1, 1, 6, 2, 0, 2]);
    assert_eq!((&revisions.ends[..], &revisions.mixed[..]), (&[1, 3, 5, 7, 8, 9][..], &[1, 2, 3][..]));
    assert_eq!((&revisions.slot_ends[..], &revisions.slots[..]), (&[3, 5, 6][..], &[1, 1, 1, 1, 1, 1][..]));
    assert_eq!((&revisions.absent[..], &revisions.dates[..]), (&[3, 4, 5][..], &[1_100, 1_101, 1_102][..]));
    let part = decode(&draft).unwrap();
    assert_eq!(part.absent(), Absent { rows: 3, oldest: Timestamp::from_millis(1_100) });
    assert_eq!(part.form(0), Form::Revised);
    assert_eq!(part.references().map(|(_, count)| count).collect::<Vec<_>>(), [1]);
}

#[test]
fn each_rule_of_revisions_is_checked() {
    refused("not have one kind for each row", |_, revisions| revisions.kinds.truncate(5));
    refused("a row has an unknown kind", |_, revisions| revisions.kinds[0] = 3);
    refused("a row has an unknown kind", |_, revisions| revisions.kinds[0] = 8);
    refused("lacks half of its number", |_, revisions| revisions.high.truncate(8));
    refused("lacks half of its number", |_, revisions| revisions.ties.truncate(8));
    refused("not have one end of revisions", |_, revisions| revisions.ends.truncate(5));
    refused("not have one revision for each row", |_, revisions| revisions.ends.clear());
    refused("a row has no revision", |_, revisions| revisions.ends[0] = 0);
    refused("do not end with the rows", |_, revisions| revisions.ends[5] = 10);
    refused("do not ascend", |_, revisions| revisions.high.swap(1, 2));
    refused("do not ascend", |_, revisions| (revisions.low[5], revisions.low[6]) = (2, 2));
    refused("revisions of a row do not ascend", |_, revisions| {
        // Row `b` has two stamps, and both become the same.
        revisions.high[2] = revisions.high[1];
        revisions.low[2] = revisions.low[1];
        revisions.ties[2] = revisions.ties[1];
    });
    refused("a row has no revision", |_, revisions| revisions.ends[4] = revisions.ends[3]);
    refused("slots do not end", |_, revisions| revisions.slot_ends.swap(0, 1));
    refused("several revisions is too short", |_, revisions| revisions.mixed[1] = 4);
    refused("several revisions is too long", |_, revisions| {
        revisions.mixed.push(5);
        revisions.slot_ends.push(6);
    });
    refused("slots do not end", |_, revisions| revisions.slots.truncate(5));
    refused("slots do not end", |_, revisions| revisions.slot_ends.truncate(2));
    refused("not have one slot for each field", |_, revisions| revisions.slot_ends[0] = 2);
    refused("a revision that its row does not have", |_, revisions| revisions.slots[0] = 2);
    refused("not newer than the delete", |_, revisions| revisions.slots[5] = 0);
    refused("not newer than the delete", |_, revisions| {
        revisions.kinds[5] |= 4;
        revisions.absent.pop();
        revisions.dates.pop();
    });
    refused("a put removes a field", |_, revisions| revisions.slots[0] = 0);
    refused("or upserts", |_, revisions| revisions.kinds[0] |= 4);
    refused("a revision that no field uses", |_, revisions| revisions.kinds[5] = 0);
    refused("rows without a record", |_, revisions| revisions.absent[0] = 2);
    refused("rows without a record", |_, revisions| {
        revisions.absent.pop();
        revisions.dates.pop();
    });
    refused("not have one date", |_, revisions| revisions.dates.truncate(2));
    refused("does not ascend", |_, revisions| revisions.absent.swap(0, 1));
    refused("have positions in the log", |columns, _| columns.inserted.push(1));
    refused("lacks its revisions", |columns, _| columns.forms[0] = 0);
    let bare = Draft { revisions: None, ..sample() };
    assert_eq!(decode(&bare).unwrap_err().kind(), Kind::Invalid, "revisions are missing");
    let mut each_one = builder(&BTreeMap::from([("a".to_owned(), one(Action::Delete, 1))])).into_draft();
    assert_eq!(each_one.revisions.as_ref().unwrap().ends, [0u32; 0]);
    assert!(decode(&each_one).is_ok());
    each_one.revisions.as_mut().unwrap().ends.push(1);
    let error = decode(&each_one).unwrap_err();
    assert!(error.to_string().contains("and each row has one revision"), "{error}");
}

#[test]
fn a_part_has_rows_of_one_ordering() {
    let mut builder = PartBuilder::new();
    assert_eq!(builder.push_revised("a", &R::default()).unwrap_err().kind(), Kind::Invalid);
    builder.push("a", &crate::Transition::TOMBSTONE).unwrap();
    let revised = one(Action::Delete, 1);
    assert_eq!(builder.push_revised("b", &revised).unwrap_err().kind(), Kind::Invalid);
    let mut builder = PartBuilder::new();
    builder.push_revised("a", &revised).unwrap();
    assert_eq!(builder.push("b", &crate::Transition::TOMBSTONE).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(builder.rows(), 1);
}

/// A thousand rows of each shape. One term of the estimate outweighs the others in each.
#[test]
fn an_estimate_is_near_the_bytes_that_the_columns_take() {
    type Make = fn() -> R;
    let shapes: [(&str, Make); 3] = [
        ("put", || one(Action::Put(Record::default()), 5)),
        ("deleted", || one(Action::Delete, 1)),
        ("mixed", || {
            let keys = |revision: u128| {
                let metadata = (0..20).map(|key| (format!("{revision}-{key:02}"), None)).collect();
                one(Action::Upsert(Patch { metadata, ..Patch::default() }), revision)
            };
            keys(1).join(keys(2)).join(keys(3))
        }),
    ];
    for (shape, make) in shapes {
        let rows: BTreeMap<String, R> = (0..1_000).map(|n| (format!("{n:04}"), make())).collect();
        let builder = builder(&rows);
        let estimate = builder.estimated_bytes();
        let draft = builder.into_draft();
        let revisions = draft.revisions.as_ref().unwrap();
        let (own, own_bytes) = (revisions.estimated_bytes(), archived(revisions, 0, "revisions").unwrap().len());
        let bytes = draft.seal().unwrap().raw_bytes();
        // Each row may take 4 bytes more for its end, which is left out if each row has one stamp.
        assert!(own + 500 >= own_bytes && own <= own_bytes + 4_500, "{shape}: {own} for {own_bytes}");
        assert!(estimate * 100 >= bytes * 98 && estimate * 100 <= bytes * 200, "{shape}: {estimate} for {bytes}");
        // Besides the archives: the masks of payloads, and the directory.
        let memory = decode(&draft).unwrap().memory_bytes();
        assert!((bytes..bytes + 2_048 + 400 * draft.columns.len()).contains(&memory), "{shape}: {memory} for {bytes}");
    }
}
