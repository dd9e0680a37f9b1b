//! Filters. Any text is a filter or an error. A filter that was read, written and read again is the
//! same. The documentation, records, columns and the summary of a part agree on the matches.
//!
//! An input is a filter in JSON, a line `---`, and records as JSON Lines. An input that begins with
//! [`MADE_OF_CHOICES`] is choices, of which filter and records are made.
#![no_main]

use deltafold::format::{
    Action, EmbeddingRef, PartBuilder, PartMeta, PartSummary, Position, Record, Sequence, Stored, TextSummary,
    Transition, limits,
};
use deltafold::jsonl::parse_op;
use deltafold::{Chance, Filter, RowSet};
use deltafold_fuzz::book::Book;
use deltafold_fuzz::memory::Bounded;
use deltafold_fuzz::{Choices, filters, seeds};
use libfuzzer_sys::{Corpus, fuzz_target};

const BETWEEN: &str = "\n---\n";

/// The first byte of choices. No text begins with it.
const MADE_OF_CHOICES: u8 = 0xff;

/// The most records of an input that are read.
const MOST: usize = 200;

#[global_allocator]
static MEMORY: Bounded<{ limits::MAX_PART_META_BYTES }> = Bounded;

fuzz_target!(init: seeds::write_if_asked(seeds), |input: &[u8]| -> Corpus {
    if let [MADE_OF_CHOICES, choices @ ..] = input {
        let (filter, records) = filters::made(Choices::of(choices));
        check_filter(&filter, &records);
        return Corpus::Keep;
    }
    let Ok(text) = std::str::from_utf8(input) else { return Corpus::Reject };
    let (filter, lines) = text.split_once(BETWEEN).unwrap_or((text, ""));
    check(filter, lines);
    Corpus::Keep
});

fn check(text: &str, lines: &str) {
    for read in [text.parse(), Filter::parse_document(text)] {
        match read {
            Ok(filter) => {
                let records: Vec<Record> = lines.lines().take(MOST).filter_map(record).collect();
                check_filter(&filter, &records);
            }
            Err(error) => assert!(!error.reason().is_empty() && error.path().len() <= 64 * text.len() + 64),
        }
    }
}

fn check_filter(filter: &Filter, records: &[Record]) {
    let written = filter.to_string();
    assert_eq!(written.parse::<Filter>().as_ref(), Ok(filter), "{written}");
    let matcher = filter.matcher().expect("a filter that was read can be used");
    let matching: Vec<bool> = records.iter().map(|record| matcher.matches(record)).collect();
    let book = Book::default();
    for (row, (record, matches)) in records.iter().zip(&matching).enumerate() {
        assert_eq!(book.matches(filter, record), *matches, "row {row} of {written} by the documentation");
    }
    // A negated filter matches the other records.
    if let Ok(negated) = (!filter.clone()).matcher() {
        assert!(
            records.iter().zip(&matching).all(|(record, matches)| negated.matches(record) != *matches),
            "{written}"
        );
    }
    let Some(part) = part(records) else { return };
    let all = RowSet::all(part.rows());
    // Some other rows, in every word of the set.
    let some = RowSet::from_words(vec![0x9249_2492_4924_9249; part.rows().div_ceil(64)], part.rows());
    for within in [&all, &some] {
        let chosen = matcher.select(&part, within).expect("all of the part is loaded");
        let by_columns = matcher.select_by_columns(&part, within).expect("all of the part is loaded");
        for (row, matches) in matching.iter().enumerate() {
            let expected = *matches && within.contains(row);
            assert_eq!(chosen.contains(row), expected, "row {row} of {written}");
            let decided = by_columns.matching.contains(row);
            assert!(by_columns.open.contains(row) || decided == expected, "row {row} of {written} by its columns");
            assert!(!(decided && by_columns.open.contains(row)), "row {row} of {written} is decided and open");
        }
        assert!(matcher.reads_documents() || by_columns.open.is_empty(), "{written} looks at no document");
        // Open rows are read some at a time.
        let mut pieces = RowSet::none(part.rows());
        chosen.chunks(7).for_each(|chunk| pieces.extend(&chunk));
        assert_eq!(pieces, chosen, "{written} in pieces");
    }
    let exact = PartSummary::of(&part);
    for summary in [coarse(exact.clone()), halved(exact.clone()), exact] {
        match matcher.may_match(&summary) {
            Chance::Never => assert!(!matching.contains(&true), "{written} was pruned by {summary:?}"),
            Chance::Always => assert!(!matching.contains(&false), "{written} was taken for all by {summary:?}"),
            Chance::Maybe => {}
        }
    }
}

/// The summary without lists of values, and with texts cut after one character. A part has such a
/// summary if it has many values or long ones.
fn coarse(mut summary: PartSummary) -> PartSummary {
    for types in summary.keys.values_mut().flat_map(|key| [&mut key.scalars, &mut key.elements]) {
        types.strings.iter_mut().for_each(cut);
        types.i64s.iter_mut().for_each(|numbers| numbers.listed = None);
        types.f64s.iter_mut().for_each(|numbers| numbers.listed = None);
    }
    summary
}

fn cut(texts: &mut TextSummary) {
    let first = |text: &str| text.chars().take(1).collect::<String>();
    texts.max_is_cut |= first(&texts.max) != texts.max;
    texts.max = first(&texts.max);
    texts.min = first(&texts.min);
    texts.listed = None;
}

/// The summary with every other key left out, as that of a part with too many keys.
fn halved(mut summary: PartSummary) -> PartSummary {
    let mut stays = false;
    summary.keys.retain(|_, _| {
        stays = !stays;
        stays
    });
    summary.complete = false;
    summary
}

fn record(line: &str) -> Option<Record> {
    match parse_op(line.as_bytes(), 1).ok()?.action {
        Action::Put(record) => Some(record),
        _ => None,
    }
}

/// A part with these records as rows; `None` if they do not make one.
fn part(records: &[Record]) -> Option<PartMeta> {
    let at = Position::new(Sequence::new(1)?, 0)?;
    let mut builder = PartBuilder::new();
    for (row, Record { metadata, document, .. }) in records.iter().enumerate() {
        let record = Record::<EmbeddingRef> { embedding: None, metadata: metadata.clone(), document: document.clone() };
        let stored = Stored { record, inserted: at, changed: at };
        let put = Transition::Replace { record: Some(stored), renewed: false };
        builder.push(&format!("{row:08}"), &put).ok()?;
    }
    let part = builder.finish().ok()?;
    Some(PartMeta::decode(part.object.to_bytes()).expect("written bytes can be read"))
}

fn seeds() -> Vec<Vec<u8>> {
    let real = seeds::lines(40).0.join("\n");
    let filters = FILTERS.iter().flat_map(|filter| [MADE, &real].map(|lines| format!("{filter}{BETWEEN}{lines}")));
    let made = (0..8_u8).map(|seed| {
        let choice = |at: u8| at.wrapping_mul(37).wrapping_add(seed.wrapping_mul(101));
        std::iter::once(MADE_OF_CHOICES).chain((0..48).map(choice)).collect()
    });
    filters.map(String::into_bytes).chain(made).collect()
}

const FILTERS: [&str; 12] = [
    r#"{"section":"libs"}"#,
    r#"{"size":{"$gte":1000.5}}"#,
    r#"{"$and":[{"a":{"$ne":1}},{"b":{"$in":["x","y"]}}]}"#,
    r#"{"$or":[{"a":{"$nin":[1,2.5]}},{"$not":{"c":true}}]}"#,
    r#"{"tags":{"$contains":"x"}}"#,
    r#"{"tags":{"$not_contains":2}}"#,
    r#"{"section":{"$startsWith":"li"}}"#,
    r#"{"b":{"$exists":false}}"#,
    r##"{"#document":{"$contains":"text"}}"##,
    r##"{"$and":[{"#document":{"$regex":"^t.?x"}},{"a":{"$lt":9007199254740993}}]}"##,
    r#"{"$not_regex":"(?i)KERNEL"}"#,
    r#"{"$or":[{"$contains":"a"},{"$exists":false}]}"#,
];

const MADE: &str = r#"{"op":"put","id":"a","metadata":{"a":1,"b":"x","tags":["x","y"]},"document":"text"}
{"op":"put","id":"b","metadata":{"a":1.0,"c":true,"tags":[1,2]},"document":""}
{"op":"put","id":"c","metadata":{"a":9007199254740993,"b":"","tags":[1.5]}}
{"op":"put","id":"d","metadata":{"a":-9223372036854775808,"b":"libs","cs":[true,false]},"document":"Text x"}
{"op":"put","id":"e"}"#;
