use deltafold_format::{Metadata, PartSummary, TextSummary, TypeSummaries, Value};
use proptest::prelude::*;

use super::by_the_book;
use super::columns_tests::part;
use super::*;

/// The same summary with bounds only, and texts cut after one character.
fn coarse(mut summary: PartSummary) -> PartSummary {
    for key in summary.keys.values_mut() {
        for types in [&mut key.scalars, &mut key.elements] {
            let TypeSummaries { strings, i64s, f64s, .. } = types;
            strings.iter_mut().for_each(cut);
            i64s.iter_mut().for_each(|numbers| numbers.listed = None);
            f64s.iter_mut().for_each(|numbers| numbers.listed = None);
        }
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

/// The same summary with half of its keys left out.
fn halved(mut summary: PartSummary) -> PartSummary {
    summary.keys.retain(|key, _| key != "l");
    summary.complete = false;
    summary
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_summary_never_contradicts_the_records(
        filter in by_the_book::filter(),
        records in proptest::collection::vec(by_the_book::record(), 1..5),
    ) {
        let matcher = filter.matcher().unwrap();
        let exact = PartSummary::of(&part(&records));
        for summary in [coarse(exact.clone()), halved(exact.clone()), exact] {
            let chance = matcher.may_match(&summary);
            for (metadata, document) in &records {
                let matches = by_the_book::matches(&filter, metadata, document.as_deref());
                let possible = chance == Chance::Maybe || matches == (chance == Chance::Always);
                prop_assert!(possible, "{:?} of {}, {:?}, {:?}", chance, &filter, metadata, summary);
            }
        }
    }
}

#[test]
fn a_summary_decides_as_far_as_it_can() {
    let records: Vec<_> = (0..40_i32)
        .map(|i| {
            let metadata = Metadata::from([
                ("year".to_owned(), Value::I64(2000 + i64::from(i))),
                ("lang".to_owned(), Value::String(if i % 2 == 0 { "de" } else { "en" }.to_owned())),
                ("name".to_owned(), Value::String(format!("n{i:02}"))),
                ("long".to_owned(), Value::String(format!("{}{i:02}", "x".repeat(70)))),
                ("score".to_owned(), Value::F64(f64::from(i) / 4.0)),
                ("tags".to_owned(), Value::Strings(vec![format!("t{i:02}")])),
                ("flag".to_owned(), Value::Bool(true)),
                (if i < 20 { "early" } else { "late" }.to_owned(), Value::I64(7)),
            ]);
            (metadata, Some("text".to_owned()))
        })
        .collect();
    let summary = PartSummary::of(&part(&records));
    let x = "x".repeat(64);
    use Chance::{Always, Maybe, Never};
    let cases = [
        (Filter::equals("year", 1999), Never),
        (Filter::equals("year", 2000), Maybe),
        (Filter::equals("year", 2000.5), Never),
        (Filter::is_in("year", [1990, 2050]), Never),
        (Filter::is_in("year", [1990, 2039]), Maybe),
        (Filter::at_least("year", 2000), Always),
        (Filter::greater("year", 2000), Maybe),
        (Filter::greater("year", 2039), Never),
        (Filter::less("year", 2000.0), Never),
        (Filter::not_equals("year", 1), Always),
        (Filter::equals("year", "2000"), Never),
        (Filter::exists("year"), Always),
        (Filter::exists("early"), Maybe),
        (Filter::equals("early", 7), Maybe),
        (Filter::not_equals("early", 7), Maybe),
        (Filter::exists("other"), Never),
        (Filter::equals("lang", "fr"), Never),
        (Filter::equals("lang", "de"), Maybe),
        (Filter::is_in("lang", ["de", "en", "fr"]), Always),
        (Filter::starts_with("lang", "e"), Maybe),
        (Filter::equals("name", "o"), Never),
        (Filter::equals("name", "n40"), Never),
        (Filter::equals("name", "n39"), Maybe),
        (Filter::starts_with("name", "n"), Always),
        (Filter::starts_with("name", "n4"), Never),
        (Filter::starts_with("name", "m"), Never),
        (Filter::starts_with("name", "n1"), Maybe),
        (Filter::less("name", "n00"), Never),
        (Filter::at_most("name", "n00"), Maybe),
        (Filter::at_most("name", "n39"), Always),
        (Filter::less("name", "n39"), Maybe),
        (Filter::less("name", "n4"), Always),
        (Filter::at_least("name", "n00"), Always),
        (Filter::greater("name", "n00"), Maybe),
        (Filter::greater("name", "n39"), Never),
        (Filter::at_least("name", "n39"), Maybe),
        (Filter::at_least("name", "n39x"), Never),
        (Filter::greater("name", "n"), Always),
        (Filter::greater("long", x.clone()), Maybe),
        (Filter::greater("long", x.clone() + "y"), Maybe),
        (Filter::equals("long", "y"), Never),
        (Filter::equals("long", x.clone() + "y"), Maybe),
        (Filter::at_most("long", x.clone()), Maybe),
        (Filter::at_most("long", x.clone() + "y"), Maybe),
        (Filter::at_most("long", "y"), Always),
        (Filter::starts_with("long", x.clone()), Always),
        (Filter::starts_with("long", x.clone() + "xx"), Maybe),
        (Filter::at_most("score", 9.75), Always),
        (Filter::greater("score", 9), Maybe),
        (Filter::contains("tags", "t40"), Never),
        (Filter::contains("tags", "t10"), Maybe),
        (Filter::contains("tags", 1), Never),
        (Filter::equals("tags", "t10"), Never),
        (Filter::equals("flag", true), Always),
        (Filter::equals("flag", false), Never),
        (Filter::not_in("flag", [true]), Never),
        (Filter::document_contains("x"), Maybe),
        (Filter::document_contains(""), Always),
        (Filter::Document(DocumentCondition::Exists(true)), Always),
        (Filter::Document(DocumentCondition::Exists(false)), Never),
        (Filter::document_matches("x").and(Filter::exists("other")), Never),
        (Filter::document_matches("x").or(Filter::exists("other")), Maybe),
        (Filter::exists("year").or(Filter::exists("other")), Always),
        (Filter::exists("year").and(Filter::exists("name")), Always),
        (Filter::exists("year").and(Filter::exists("late")), Maybe),
        (Filter::exists("other").or(Filter::equals("lang", "fr")), Never),
        (!Filter::exists("other").or(Filter::equals("lang", "fr")), Always),
    ];
    for (filter, expected) in cases {
        assert_eq!(filter.matcher().unwrap().may_match(&summary), expected, "{filter}");
    }
    // Two elements in two lists, but one list has none.
    let lists = [vec![1, 1], vec![]].map(|list| (Metadata::from([("k".to_owned(), Value::I64s(list))]), None));
    let lists = PartSummary::of(&part(&lists));
    assert_eq!(Filter::contains("k", 1).matcher().unwrap().may_match(&lists), Maybe);
    let without = PartSummary::of(&part(&[(Metadata::new(), None)]));
    assert_eq!(Filter::document_contains("x").matcher().unwrap().may_match(&without), Never);
    assert_eq!((!Filter::document_contains("x")).matcher().unwrap().may_match(&without), Always);
    let mut unknown = without;
    unknown.complete = false;
    assert_eq!(Filter::exists("other").matcher().unwrap().may_match(&unknown), Maybe);
}
