//! A summary of a part in few bytes, which can prove that no row matches a filter.

use std::collections::{BTreeMap, BTreeSet};

use super::PartMeta;
use super::column_summary::{BoolSummary, ColumnSummary, NumberSummary, TextSummary};
use super::values::{REMOVED, STRINGS};

/// The summary of a part: bounds, counts, and a list of the values if they are few.
///
/// It counts payloads: one a row, and a second for each `Split` row. So it holds for every row that
/// is a whole record, even in parts with other rows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PartSummary {
    /// Number of payloads.
    pub payloads: usize,
    /// Number of payloads that set a document.
    pub documents: usize,
    /// The metadata keys that some payload sets.
    pub keys: BTreeMap<String, KeySummary>,
    /// Whether `keys` has every key. A part may lack the summaries of some keys; nothing is known
    /// of those.
    pub complete: bool,
}

/// The summary of one metadata key in a part.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct KeySummary {
    /// Number of payloads that set the key, with a value of any type.
    pub present: usize,
    /// The scalars.
    pub scalars: TypeSummaries,
    /// The elements of lists.
    pub elements: TypeSummaries,
}

/// The summary of each type; `None` for a type without values.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct TypeSummaries {
    /// Texts.
    pub strings: Option<TextSummary>,
    /// Integers.
    pub i64s: Option<NumberSummary<i64>>,
    /// Floats.
    pub f64s: Option<NumberSummary<f64>>,
    /// Booleans.
    pub bools: Option<BoolSummary>,
}

impl PartSummary {
    /// The summary of a part, from its directory alone. No column has to be loaded.
    pub fn of(part: &PartMeta) -> Self {
        let mut keys: BTreeMap<&str, KeySummary> = BTreeMap::new();
        let mut left_out: BTreeSet<&str> = BTreeSet::new();
        for column in part.directory().columns.iter().filter(|column| column.kind != REMOVED) {
            let of_key = keys.entry(&column.key).or_default();
            of_key.present += column.present as usize;
            let types = if column.kind >= STRINGS { &mut of_key.elements } else { &mut of_key.scalars };
            match column.summary.clone() {
                Some(ColumnSummary::Strings(texts)) => types.strings = Some(texts),
                Some(ColumnSummary::I64s(numbers)) => types.i64s = Some(numbers),
                Some(ColumnSummary::F64s(numbers)) => types.f64s = Some(numbers),
                Some(ColumnSummary::Bools(bools)) => types.bools = Some(bools),
                None if column.elements == 0 => {}
                None => {
                    left_out.insert(&column.key);
                }
            }
        }
        keys.retain(|key, _| !left_out.contains(key));
        Self {
            payloads: part.payloads(),
            documents: part.document_rows().count(),
            keys: keys.into_iter().map(|(key, summary)| (key.to_owned(), summary)).collect(),
            complete: left_out.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::PartBuilder;
    use super::*;
    use crate::name::{Position, Sequence};
    use crate::record::{Change, Metadata, Patch, Record, Value};
    use crate::transition::{Stored, Transition};

    fn at() -> Position {
        Position::new(Sequence::new(1).unwrap(), 0).unwrap()
    }

    fn stored(metadata: &[(&str, Value)], document: Option<&str>) -> Stored<super::super::EmbeddingRef> {
        let metadata: Metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let record = Record { embedding: None, metadata, document: document.map(str::to_owned) };
        Stored { record, inserted: at(), changed: at() }
    }

    fn put(metadata: &[(&str, Value)], document: Option<&str>) -> Transition<super::super::EmbeddingRef> {
        Transition::Replace { record: Some(stored(metadata, document)), renewed: false }
    }

    fn summary(rows: impl IntoIterator<Item = Transition<super::super::EmbeddingRef>>) -> PartSummary {
        let mut builder = PartBuilder::new();
        for (i, row) in rows.into_iter().enumerate() {
            builder.push(&format!("{i:06}"), &row).unwrap();
        }
        PartSummary::of(&PartMeta::decode(builder.finish().unwrap().object.to_bytes()).unwrap())
    }

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn a_summary_has_bounds_and_counts_of_each_type() {
        let summary = summary([
            put(&[("a", Value::I64(3)), ("b", text("x"))], Some("document")),
            put(&[("a", Value::I64(-1)), ("b", Value::Bool(true))], None),
            put(&[("a", Value::F64(0.5)), ("b", Value::Strings(vec!["p".to_owned(), "o".to_owned()]))], None),
            put(&[("a", Value::I64(3)), ("c", Value::I64s(Vec::new()))], None),
        ]);
        assert_eq!((summary.payloads, summary.documents, summary.complete), (4, 1, true));
        assert_eq!(summary.keys.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        let scalars = TypeSummaries {
            i64s: Some(NumberSummary { count: 3, min: -1, max: 3, listed: Some(vec![-1, 3]) }),
            f64s: Some(NumberSummary { count: 1, min: 0.5, max: 0.5, listed: Some(vec![0.5]) }),
            ..TypeSummaries::default()
        };
        assert_eq!(summary.keys["a"], KeySummary { present: 4, scalars, ..KeySummary::default() });
        let texts = |count, min: &str, max: &str, listed: &[&str]| TextSummary {
            count,
            min: min.to_owned(),
            max: max.to_owned(),
            max_is_cut: false,
            listed: Some(listed.iter().map(|text| (*text).to_owned()).collect()),
        };
        let scalars = TypeSummaries {
            strings: Some(texts(1, "x", "x", &["x"])),
            bools: Some(BoolSummary { falses: 0, trues: 1 }),
            ..TypeSummaries::default()
        };
        let elements = TypeSummaries { strings: Some(texts(2, "o", "p", &["o", "p"])), ..TypeSummaries::default() };
        assert_eq!(summary.keys["b"], KeySummary { present: 3, scalars, elements });
        assert_eq!(summary.keys["c"], KeySummary { present: 1, ..KeySummary::default() });
    }

    #[test]
    fn only_few_and_short_values_are_listed() {
        let numbers = |count: i64| {
            let rows = (0..40).map(|i| put(&[("n", Value::I64(i % count)), ("f", Value::F64(0.0 - i as f64))], None));
            summary(rows).keys["n"].scalars.i64s.clone().unwrap()
        };
        assert_eq!(numbers(16).listed, Some((0..16).collect()));
        assert_eq!(numbers(17), NumberSummary { count: 40, min: 0, max: 16, listed: None });
        let texts = |texts: &[String]| {
            let rows = texts.iter().map(|text| put(&[("t", Value::String(text.clone()))], None));
            summary(rows).keys["t"].scalars.strings.clone().unwrap()
        };
        let many: Vec<String> = (0..17).map(|i| format!("{i:02}")).collect();
        assert_eq!(texts(&many[..16]).listed, Some(many[..16].to_vec()));
        let summary = texts(&many);
        assert_eq!((summary.min.as_str(), summary.max.as_str(), summary.max_is_cut), ("00", "16", false));
        assert_eq!(summary.listed, None);
        // 64 bytes would end within the last character.
        let long = format!("{}é", "x".repeat(63));
        let summary = texts(&[long.clone(), "y".repeat(64)]);
        assert_eq!((summary.min, summary.max, summary.max_is_cut), ("x".repeat(63), "y".repeat(64), false));
        assert_eq!(summary.listed, None);
        let summary = texts(&["a".to_owned(), long]);
        assert_eq!((summary.max, summary.max_is_cut, summary.listed), ("x".repeat(63), true, None));
    }

    #[test]
    fn a_summary_counts_both_payloads_of_a_split_row() {
        let patch = Patch {
            metadata: [("k".to_owned(), Some(Value::I64(9))), ("gone".to_owned(), None)].into(),
            document: Change::Set("new".to_owned()),
            ..Patch::default()
        };
        let absent = Some(stored(&[("k", Value::I64(1))], None));
        let summary = summary([Transition::TOMBSTONE, Transition::Modify { absent, patch, changed: Some(at()) }]);
        assert_eq!((summary.payloads, summary.documents), (3, 1));
        assert_eq!(summary.keys.keys().collect::<Vec<_>>(), ["k"]);
        assert_eq!(summary.keys["k"].present, 2);
        assert_eq!(summary.keys["k"].scalars.i64s.as_ref().unwrap().max, 9);
    }

    #[test]
    fn summaries_beyond_the_budget_are_left_out() {
        // Each key has 16 texts of 64 bytes: about 1 KiB of summary.
        let row = |row: usize| {
            let value = |key: usize| text(&format!("{row:03}{key:03}{}", "t".repeat(58)));
            let keys: Vec<(String, Value)> = (0..80).map(|key| (format!("{key:03}"), value(key))).collect();
            let metadata: Vec<(&str, Value)> = keys.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
            put(&metadata, None)
        };
        let few = summary((0..8).map(row));
        assert_eq!((few.complete, few.keys.len()), (true, 80));
        let many = summary((0..16).map(row));
        assert!(!many.complete);
        assert_eq!(many.keys.len(), (64 << 10) / (5 + 16 * (64 + 4)));
        assert_eq!(many.keys["000"].scalars.strings.as_ref().unwrap().listed.as_ref().unwrap().len(), 16);
    }
}
