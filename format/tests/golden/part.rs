//! Parts, in both orderings.

use std::collections::BTreeMap;

use bytes::Bytes;
use deltafold_format::{
    Absent, Action, Effect, EmbeddingRef, Form, FormatError, FormatErrorKind as Kind, Nonce, ObjectKind, ObjectName,
    PartBuilder, PartMeta, PartPiece, Position, Record, Revised, Segment, SegmentBody, Transition, Value, Version,
};

use crate::kept::{flipped, golden, place_of, raw_sections, survives, with_raw_sections, with_section};
use crate::segment::{ops, ops_by_revision, stamp};
use crate::{sequence, times};

/// The rows that the golden ops come to in a collection ordered by its log. They have each form of
/// a row, and a column of each type.
fn rows() -> BTreeMap<String, Transition<EmbeddingRef>> {
    let mut next = 0..;
    let mut stored = |_| {
        let row = next.next().unwrap();
        EmbeddingRef {
            object: ObjectName { version: Version::new(7), nonce: Nonce::new(12 + u64::from(row) % 2) },
            row,
        }
    };
    let ops = ops().into_iter().map(|op| op.map_embedding(&mut stored)).zip(0..);
    let at = |index| Position::new(sequence(71), index).unwrap();
    let one: Vec<_> = ops.map(|(op, index)| (op.id, Transition::from_op(op.action, at(index)))).collect();
    let [(_, put), (_, patch), (_, add), (_, upsert), (_, delete)]: [_; 5] = one.try_into().unwrap();
    let many = (0..70).map(|i| {
        let record = Record { metadata: [("i".to_owned(), Value::I64(i))].into(), ..Record::default() };
        let inserted = Transition::from_op(Action::Put(record), at(100 + usize::try_from(i).unwrap()));
        (format!("number {i:02}"), inserted)
    });
    let noted = Record { metadata: [("i".to_owned(), Value::I64(-1))].into(), ..Record::default() };
    let named = [
        ("added", add.clone()),
        ("deleted", delete.clone()),
        ("patched", patch.clone()),
        ("put", put.clone()),
        ("renewed", delete.then(put.clone())),
        ("split é", Transition::from_op(Action::Add(noted), at(0)).then(patch)),
        ("upserted", upsert),
    ];
    named.map(|(id, transition)| (id.to_owned(), transition)).into_iter().chain(many).collect()
}

fn part() -> Bytes {
    let mut builder = PartBuilder::new();
    for (id, transition) in rows() {
        builder.push(&id, &transition).unwrap();
    }
    builder.finish().unwrap().object.to_bytes()
}

fn transitions(object: Bytes) -> Result<Vec<(String, Transition<EmbeddingRef>)>, FormatError> {
    let part = PartMeta::decode(object)?;
    Ok((0..part.rows()).map(|row| (part.id(row).to_owned(), part.transition(row).unwrap())).collect())
}

#[test]
fn part_v1() {
    let object = golden("part", part);
    survives(&object, ObjectKind::PartMeta, &rows().into_iter().collect(), transitions);
    let part = PartMeta::decode(object.clone()).unwrap();
    let form = |id| part.form(part.find(id).unwrap());
    let ids = ["put", "deleted", "patched", "upserted", "added", "split é"];
    assert_eq!(ids.map(form), [Form::Put, Form::Delete, Form::Patch, Form::Upsert, Form::Add, Form::Split]);
    let twin = golden("part.checksum", || flipped(&object, (object.len() - 1) * 8));
    assert_eq!(PartMeta::decode(twin).unwrap_err().kind(), Kind::Checksum);
    // Every checksum is right, and two ids are swapped: looking one up would miss it.
    let twin = golden("part.invalid", || {
        with_section(&object, 1, |rows| {
            let at = place_of(b"number 01number 02", rows);
            rows[at + 8] = b'2';
            rows[at + 17] = b'1';
        })
    });
    let error = PartMeta::decode(twin).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "rows"));
    assert!(error.to_string().contains("ids do not ascend"), "{error}");
    // Every checksum is right, and a summary says that the greatest value is less than it is: a
    // filter would skip it.
    let twin = golden("part.invalid-summary", || {
        with_section(&object, 3, |directory| {
            let at = place_of(&[&(-1_i64).to_le_bytes()[..], &69_i64.to_le_bytes()[..]].concat(), directory);
            directory[at + 8] = 68;
        })
    });
    let error = PartMeta::decode(twin).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "metadata columns"));
    assert!(error.to_string().contains("summary"), "{error}");
    // The envelope's checksums are right, and the one of a block is not: a reader of the block
    // alone must notice.
    let twin =
        golden("part.checksum-of-block", || with_section(&object, 5, |documents| *documents.last_mut().unwrap() ^= 1));
    let error = PartMeta::decode(twin).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Checksum, "documents"));
}

/// A cold reader loads the front of a part, and then the pieces that it needs.
#[test]
fn part_v1_is_read_piece_by_piece() {
    let object = golden("part", part);
    let range = |range: std::ops::Range<u64>| {
        object.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap())
    };
    let whole = PartMeta::decode(object.clone()).unwrap();
    let front = PartMeta::open(range(0..whole.front_bytes())).unwrap();
    assert_eq!((front.front_bytes(), front.columns_end()), (whole.front_bytes(), whole.columns_end()));
    assert!(front.columns_end() < object.len() as u64);
    let pieces: Vec<PartPiece> = front.unloaded_columns().chain(front.unloaded_documents()).collect();
    assert_eq!(pieces.len(), 11);
    let part = front.with(pieces.iter().map(|piece| (*piece, range(front.range(*piece))))).unwrap();
    for (row, (id, transition)) in rows().into_iter().enumerate() {
        assert_eq!((part.id(row), part.transition(row).unwrap()), (id.as_str(), transition));
    }
    for end in 0..whole.front_bytes() {
        assert_eq!(PartMeta::open(range(0..end)).unwrap_err().kind(), Kind::Truncated, "cut at {end}");
    }
}

/// The rows of the same ops in a collection ordered by revision.
fn rows_by_revision() -> BTreeMap<String, Revised<EmbeddingRef>> {
    let object = ObjectName { version: Version::new(7), nonce: Nonce::new(12) };
    let segment =
        Segment::decode(SegmentBody::encode(&ops_by_revision(), 3).unwrap().seal(stamp()).unwrap().to_bytes());
    let segment = segment.unwrap();
    let revised = |index| {
        let op = segment.op(index).unwrap().clone().map_embedding(|row| EmbeddingRef { object, row });
        match Effect::from_op(op.action, segment.place(index)) {
            Effect::Revision(revised) => revised,
            Effect::Log(_) => panic!("op {index} has no revision"),
        }
    };
    let dated = |revised: Revised<EmbeddingRef>| Revised { dated: times().last, ..revised };
    let [put, patch, empty, upsert, delete] = [0, 1, 2, 3, 4].map(revised);
    let many = (0..70).map(|i| (format!("number {i:02}"), empty.clone()));
    let named = [
        ("deleted", dated(delete.clone())),
        ("deleted, then patched", dated(put.clone().join(delete.clone()).join(patch.clone()))),
        ("deleted, then upserted", delete.join(upsert.clone())),
        ("patched", dated(patch.clone())),
        ("put", put.clone()),
        ("put, then patched and upserted", put.join(patch).join(upsert.clone())),
        ("upserted", upsert),
    ];
    named.map(|(id, revised)| (id.to_owned(), revised)).into_iter().chain(many).collect()
}

fn part_by_revision() -> Bytes {
    let mut builder = PartBuilder::new();
    for (id, revised) in rows_by_revision() {
        builder.push_revised(&id, &revised).unwrap();
    }
    builder.finish().unwrap().object.to_bytes()
}

fn revised(object: Bytes) -> Result<Vec<(String, Revised<EmbeddingRef>)>, FormatError> {
    let part = PartMeta::decode(object)?;
    Ok((0..part.rows()).map(|row| (part.id(row).to_owned(), part.revised(row).unwrap().unwrap())).collect())
}

#[test]
fn part_by_revision_v1() {
    let object = golden("part-revision", part_by_revision);
    survives(&object, ObjectKind::PartMeta, &rows_by_revision().into_iter().collect(), revised);
    let part = PartMeta::decode(object.clone()).unwrap();
    assert_eq!(part.absent(), Absent { rows: 3, oldest: times().last });
    let twin = golden("part-revision.checksum", || flipped(&object, (object.len() - 1) * 8));
    assert_eq!(PartMeta::decode(twin).unwrap_err().kind(), Kind::Checksum);
    // Every checksum is right, and the revisions are gone: nothing would tell which write is the
    // newer.
    let twin = golden("part-revision.invalid", || {
        let sections: Vec<_> = raw_sections(&object).into_iter().filter(|(id, _)| *id != 2).collect();
        with_raw_sections(ObjectKind::PartMeta, &sections)
    });
    let error = PartMeta::decode(twin).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "rows"));
    assert!(error.to_string().contains("lacks its revisions"), "{error}");
}
