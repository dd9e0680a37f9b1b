use std::cell::Cell;

use deltafold_format::{
    Change, EmbeddingRef, FormatError, Metadata, PartBuilder, PartMeta, Position, PresentRows, Record, Sequence,
    Stored, Transition, Value,
};
use proptest::prelude::*;

use super::by_the_book;
use super::*;

/// A part with these records as its rows.
pub(super) fn part(records: &[(Metadata, Option<String>)]) -> PartMeta {
    let mut builder = PartBuilder::new();
    for (i, (metadata, document)) in records.iter().enumerate() {
        builder.push(&format!("{i:08}"), &put(metadata, document)).unwrap();
    }
    decoded(builder)
}

fn put(metadata: &Metadata, document: &Option<String>) -> Transition<EmbeddingRef> {
    let at = Position::new(Sequence::new(1).unwrap(), 0).unwrap();
    let record = Record { embedding: None, metadata: metadata.clone(), document: document.clone() };
    Transition::Replace { record: Some(Stored { record, inserted: at, changed: at }), renewed: false }
}

fn decoded(builder: PartBuilder) -> PartMeta {
    let encoded = builder.finish().unwrap();
    PartMeta::decode(encoded.object.to_bytes()).unwrap()
}

fn rows(which: impl IntoIterator<Item = usize>, of: usize) -> RowSet {
    let mut rows = RowSet::none(of);
    which.into_iter().for_each(|row| rows.insert(row));
    rows
}

/// A part that counts the documents read.
struct Watched<'a> {
    part: &'a PartMeta,
    read: Cell<usize>,
}

impl PartColumns for Watched<'_> {
    fn rows(&self) -> usize {
        self.part.rows()
    }

    fn metadata(&self, key: &str) -> Result<Vec<deltafold_format::MetadataColumn<'_>>, FormatError> {
        self.part.metadata_columns(key)
    }

    fn document_rows(&self) -> PresentRows<'_> {
        self.part.document_rows()
    }
}

impl PartDocuments for Watched<'_> {
    fn document(&self, row: usize) -> Result<Option<&str>, FormatError> {
        self.read.set(self.read.get() + 1);
        self.part.document_of(row)
    }
}

/// Records, and the number of their repetitions. Parts of a hundred rows are scanned, small ones
/// are looked up.
fn records() -> impl Strategy<Value = Vec<(Metadata, Option<String>)>> {
    (proptest::collection::vec(by_the_book::record(), 1..40), 1..8_usize)
        .prop_map(|(records, times)| records.iter().cloned().cycle().take(records.len() * times).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn columns_select_the_rows_of_matching_records(
        filter in by_the_book::filter(),
        records in records(),
        every in 1..40_usize,
    ) {
        let part = part(&records);
        let matcher = filter.matcher().unwrap();
        let within = rows((0..records.len()).step_by(every), records.len());
        let matches = |row: &usize| {
            let (metadata, document) = &records[*row];
            let expected = by_the_book::matches(&filter, metadata, document.as_deref());
            assert_eq!(matcher.matches_parts(metadata, document.as_deref()), expected, "{filter} on row {row}");
            expected
        };
        let expected: Vec<usize> = within.iter().filter(matches).collect();
        let selected = matcher.select(&part, &within).unwrap();
        prop_assert_eq!(selected.iter().collect::<Vec<_>>(), expected.clone(), "{}", &filter);

        let Decided { matching, open } = matcher.select_by_columns(&part, &within).unwrap();
        for row in 0..records.len() {
            prop_assert!(!matching.contains(row) || expected.contains(&row), "{} matches row {row}", &filter);
            let possible = matching.contains(row) || open.contains(row);
            prop_assert!(possible || !expected.contains(&row), "{} rules out row {row}", &filter);
            prop_assert!(!(matching.contains(row) && open.contains(row)));
            prop_assert!(!possible || within.contains(row));
        }
        let mut decided = matcher.select(&part, &open).unwrap();
        decided.extend(&matching);
        prop_assert_eq!(decided, selected, "{}", &filter);
        prop_assert!(matcher.reads_documents() || open.is_empty());
    }

    #[test]
    fn sets_of_rows_are_sets(
        a in proptest::collection::btree_set(0..150_usize, 0..40),
        b in proptest::collection::btree_set(0..150_usize, 0..40),
    ) {
        let set = |rows: &RowSet| rows.iter().collect::<std::collections::BTreeSet<_>>();
        let (left, right) = (rows(a.iter().copied(), 150), rows(b.iter().copied(), 150));
        prop_assert_eq!(set(&left), a.clone());
        prop_assert_eq!((left.count(), left.is_empty()), (a.len(), a.is_empty()));
        let combined = |of: fn(&mut RowSet, &RowSet)| {
            let mut rows = left.clone();
            of(&mut rows, &right);
            set(&rows)
        };
        prop_assert_eq!(combined(RowSet::retain), &a & &b);
        prop_assert_eq!(combined(RowSet::extend), &a | &b);
        prop_assert_eq!(combined(RowSet::remove), &a - &b);
        let chunks: Vec<_> = left.chunks(7).collect();
        prop_assert!(chunks.iter().rev().skip(1).all(|chunk| chunk.count() == 7));
        prop_assert_eq!(chunks.iter().flat_map(RowSet::iter).collect::<Vec<_>>(), left.iter().collect::<Vec<_>>());
        prop_assert_eq!(RowSet::from_words(left.words().to_vec(), 150), left);
    }
}

#[test]
fn no_row_lies_behind_the_last() {
    let all = RowSet::all(70);
    assert_eq!((all.count(), all.iter().last(), all.part_rows()), (70, Some(69), 70));
    let mut none = RowSet::none(70);
    none.insert(70);
    assert!(none.is_empty());
    assert_eq!(RowSet::from_words(vec![u64::MAX; 3], 70), all);
}

/// Story: a query read all documents to find one record. They are most of a part's bytes, and of a
/// cold query's.
#[test]
fn only_documents_that_can_decide_are_read() {
    let records: Vec<_> = (0..200)
        .map(|i| (Metadata::from([("i".to_owned(), Value::I64(i))]), (i % 2 == 0).then(|| format!("text {i}"))))
        .collect();
    let part = part(&records);
    let watched = Watched { part: &part, read: Cell::new(0) };
    let read = |filter: &Filter| {
        watched.read.set(0);
        let found = filter.matcher().unwrap().select(&watched, &RowSet::all(200)).unwrap();
        (found.iter().collect::<Vec<_>>(), watched.read.get())
    };
    let text = || Filter::document_contains("text 4");
    let cases = [
        (text(), vec![4, 40, 42, 44, 46, 48], 100),
        (text().and(Filter::less("i", 10)), vec![4], 5),
        (Filter::less("i", 10).and(text()), vec![4], 5),
        (text().and(Filter::equals("other", 1)), vec![], 0),
        (Filter::at_least("i", 2).or(text()), (2..200).collect(), 1),
        ((!text()).and(Filter::less("i", 6)), vec![0, 1, 2, 3, 5], 3),
        (Filter::document_contains("").and(Filter::less("i", 2)), vec![0, 1], 0),
        (Filter::document_matches("^text 4$").and(text()), vec![4], 106),
    ];
    for (filter, expected, documents) in cases {
        assert_eq!(read(&filter), (expected, documents), "{filter}");
    }
}

/// The columns in memory rule rows out before any document is fetched, even if a condition on
/// documents is evaluated first.
#[test]
fn rows_that_columns_rule_out_are_not_open() {
    let list = |i: i64| Metadata::from([("list".to_owned(), Value::I64s(vec![i; 2_000]))]);
    let records: Vec<_> = (0..200).map(|i| (list(i / 100), (i % 2 == 0).then(|| "text".to_owned()))).collect();
    let part = part(&records);
    let filter = Filter::document_contains("text").and(Filter::contains("list", 1));
    let Decided { matching, open } = filter.matcher().unwrap().select_by_columns(&part, &RowSet::all(200)).unwrap();
    assert!(matching.is_empty());
    assert_eq!(open.iter().collect::<Vec<_>>(), (100..200).step_by(2).collect::<Vec<_>>());
}

#[test]
fn rows_of_other_forms_are_left_to_the_caller() {
    let yes = Metadata::from([("k".to_owned(), Value::Bool(true))]);
    let at = Position::new(Sequence::new(2).unwrap(), 0).unwrap();
    let patch = deltafold_format::Patch {
        metadata: [("k".to_owned(), Some(Value::Bool(true))), ("gone".to_owned(), None)].into(),
        document: Change::Set("text".to_owned()),
        ..Default::default()
    };
    let mut absent = Stored { record: Record::default(), inserted: at, changed: at };
    absent.record.metadata.insert("k".to_owned(), Value::Bool(false));
    let patched = Transition::Modify { absent: None, patch: patch.clone(), changed: Some(at) };
    let mut builder = PartBuilder::new();
    builder.push("a", &put(&yes, &None)).unwrap();
    builder.push("b", &Transition::TOMBSTONE).unwrap();
    builder.push("c", &Transition::Modify { absent: Some(absent), patch, changed: Some(at) }).unwrap();
    builder.push("d", &put(&yes, &Some("text".to_owned()))).unwrap();
    builder.push("e", &patched).unwrap();
    let part = decoded(builder);
    let select = |filter: Filter, within: &RowSet| {
        filter.matcher().unwrap().select(&part, within).unwrap().iter().collect::<Vec<_>>()
    };
    let puts = rows([0, 3], 5);
    assert_eq!(select(Filter::equals("k", true), &puts), [0, 3]);
    assert_eq!(select(!Filter::equals("k", true), &puts), [] as [usize; 0]);
    assert_eq!(select(Filter::document_contains("x"), &puts), [3]);
    assert_eq!(select(Filter::exists("gone"), &RowSet::all(5)), [] as [usize; 0]);
    // The record of a split row's absent case.
    assert_eq!(select(Filter::equals("k", false), &RowSet::all(5)), [2]);
    assert_eq!(select(Filter::exists("k"), &RowSet::all(5)), [0, 2, 3, 4]);
    // The split row's patch sets a document, too, but is not a row.
    assert_eq!((part.rows(), part.document_of(4).unwrap(), part.document_of(5).unwrap()), (5, Some("text"), None));
    assert_eq!(select(Filter::document_contains("x"), &RowSet::all(5)), [3, 4]);
}
