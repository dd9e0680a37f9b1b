//! Columns as filters see them, of each type.

use super::tests::at;
use super::*;
use crate::op::Action;
use crate::record::{Change, Metadata, Patch, Record, Value};
use crate::transition::{Stored, Transition};

/// A part of records `000`, `001`, ... with this metadata.
fn part(records: impl IntoIterator<Item = Metadata>) -> PartMeta {
    let mut builder = PartBuilder::new();
    for (number, metadata) in records.into_iter().enumerate() {
        let record = Record { metadata, ..Record::default() };
        let stored = Stored { record, inserted: at(1), changed: at(1) };
        builder.push(&format!("{number:03}"), &Transition::Replace { record: Some(stored), renewed: false }).unwrap();
    }
    PartMeta::decode(builder.finish().unwrap().object.to_bytes()).unwrap()
}

/// The values of `k` in three records, in a part.
fn values(values: [Value; 3]) -> PartMeta {
    part(values.map(|value| [("k".to_owned(), value)].into()))
}

fn the_column(part: &PartMeta) -> MetadataColumn<'_> {
    let mut columns = part.metadata_columns("k").unwrap();
    assert_eq!(columns.len(), 1);
    columns.remove(0)
}

#[test]
fn a_column_shows_the_values_of_its_type() {
    let texts = ["a", "", "bcd"];
    let part = values(texts.map(|text| Value::String(text.to_owned())));
    let column = the_column(&part);
    let Elements::Strings(found) = column.elements() else { panic!("texts") };
    assert_eq!((found.len(), found.is_empty(), found.total_bytes()), (3, false, 4));
    assert_eq!([0, 1, 2, 3].map(|i| found.get(i)), ["a", "", "bcd", ""]);
    assert_eq!([0, 1, 2, 3].map(|i| found.bytes_of(i)), [&b"a"[..], b"", b"bcd", b""]);
    assert_eq!((column.elements().len(), column.elements().is_empty()), (3, false));
    assert!(column.lists().is_none());

    let part = values([7, i64::MIN, -3].map(Value::I64));
    let Elements::I64s(found) = the_column(&part).elements() else { panic!("integers") };
    assert_eq!((found.len(), found.is_empty(), the_column(&part).elements().len()), (3, false, 3));
    assert_eq!([0, 1, 2, 3].map(|i| found.get(i)), [Some(7), Some(i64::MIN), Some(-3), None]);
    assert_eq!(found.iter().collect::<Vec<_>>(), [7, i64::MIN, -3]);

    let part = values([0.5, -2.0, 1e300].map(Value::F64));
    let Elements::F64s(found) = the_column(&part).elements() else { panic!("floats") };
    assert_eq!((found.len(), found.is_empty(), the_column(&part).elements().len()), (3, false, 3));
    assert_eq!([0, 1, 2, 3].map(|i| found.get(i)), [Some(0.5), Some(-2.0), Some(1e300), None]);
    assert_eq!(found.iter().collect::<Vec<_>>(), [0.5, -2.0, 1e300]);

    let part = values([true, false, true].map(Value::Bool));
    let Elements::Bools(found) = the_column(&part).elements() else { panic!("bools") };
    assert_eq!((found, the_column(&part).elements().len()), (&[1, 0, 1][..], 3));
}

#[test]
fn a_column_of_lists_shows_where_each_begins_and_ends() {
    let part = values([vec![1, 2], vec![], vec![3]].map(Value::I64s));
    let lists = the_column(&part).lists().expect("a column of lists");
    assert_eq!((lists.len(), lists.is_empty()), (3, false));
    assert_eq!([0, 1, 2, 3, usize::MAX].map(|i| lists.elements_of(i)), [0..2, 2..2, 2..3, 0..0, 0..0]);
    assert_eq!(the_column(&part).rows().count(), 3);
    // Three types of lists without elements.
    for empty in [Value::Strings(Vec::new()), Value::I64s(Vec::new()), Value::F64s(Vec::new())] {
        let part = values([empty.clone(), empty.clone(), empty]);
        let column = the_column(&part);
        assert_eq!((column.elements().len(), column.elements().is_empty()), (0, true));
        match column.elements() {
            Elements::Strings(texts) => assert!(texts.is_empty() && texts.total_bytes() == 0),
            Elements::I64s(numbers) => assert!(numbers.is_empty()),
            Elements::F64s(numbers) => assert!(numbers.is_empty()),
            Elements::Bools(_) => panic!("no list of bools"),
        }
        assert_eq!(column.lists().map(|lists| lists.elements_of(2)), Some(0..0));
    }
}

#[test]
fn keys_are_told_once_each() {
    let all = ["a", "b", "c"].map(|key| (key.to_owned(), Value::I64(1)));
    let other = [("c".to_owned(), Value::Bool(true))];
    let part = part([all.into(), other.into()]);
    assert_eq!(part.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
}

/// The patch of a split row lies behind the rows, and no row has its document.
#[test]
fn no_row_has_the_document_of_a_patch() {
    let add = Action::Add(Record { metadata: [("k".to_owned(), Value::I64(1))].into(), ..Record::default() });
    let patch = Action::Patch(Patch { document: Change::Set("patched".to_owned()), ..Patch::default() });
    let split = Transition::from_op(add, at(1)).then(Transition::from_op(patch, at(2)));
    let mut builder = PartBuilder::new();
    builder.push("a", &split).unwrap();
    let part = PartMeta::decode(builder.finish().unwrap().object.to_bytes()).unwrap();
    assert_eq!((part.form(0), part.document_rows().count()), (Form::Split, 2));
    assert_eq!([0, 1, 2].map(|row| part.document_of(row).unwrap()), [Some("patched"), None, None]);
}

/// Bounds are compared by their first eight bytes first. Texts that share those need the rest, too.
#[test]
fn bounds_of_texts_with_a_common_start_are_exact() {
    let text = |number: usize| format!("a common start {number:02}");
    let orders: [fn(usize) -> usize; 3] = [|n| n, |n| 39 - n, |n| n * 17 % 40];
    for order in orders {
        let part = part((0..40).map(|n| [("k".to_owned(), Value::String(text(order(n))))].into()));
        let summary = &part.summary().keys["k"].scalars.strings.as_ref().unwrap().clone();
        assert_eq!((summary.min.as_str(), summary.max.as_str()), (text(0).as_str(), text(39).as_str()));
        assert_eq!((summary.count, summary.listed.is_none(), summary.max_is_cut), (40, true, false));
    }
}
