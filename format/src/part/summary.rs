//! A summary of a part in few bytes: it tells that no row can match a filter.

use std::collections::{BTreeMap, BTreeSet};

use super::PartMeta;
use super::view::{Elements, MetadataColumn, Texts};

/// Most distinct values that a summary lists of one key and type.
const MAX_LISTED: usize = 16;
/// Bytes of a text that a summary keeps.
const MAX_TEXT: usize = 64;
/// About the most bytes of all keys of a summary.
const MAX_BYTES: usize = 64 << 10;

/// The summary of a part: bounds, counts, and the values where they are few.
///
/// It counts payloads: one a row, and a second for each row of the form `Split`. So it holds for every row that is a whole
/// record, in parts that have other rows, too.
#[derive(Debug, Clone, PartialEq)]
pub struct PartSummary {
    /// How many payloads there are.
    pub payloads: usize,
    /// How many of them set a document.
    pub documents: usize,
    /// The metadata keys that some payload sets.
    pub keys: BTreeMap<String, KeySummary>,
    /// Whether `keys` has every key. Keys beyond about 64 KiB are left out, and nothing is known of them.
    pub complete: bool,
}

/// The summary of one metadata key in a part.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeySummary {
    /// How many payloads set the key, with a value of whatever type.
    pub present: usize,
    /// The scalars.
    pub scalars: TypeSummaries,
    /// The elements of lists.
    pub elements: TypeSummaries,
}

/// What there is of each type; none where there is no value of a type.
#[derive(Debug, Clone, Default, PartialEq)]
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

/// Some numbers, at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberSummary<T> {
    /// How many there are.
    pub count: usize,
    /// The least.
    pub min: T,
    /// The greatest.
    pub max: T,
    /// All of them, ascending and without duplicates, where they are few.
    pub listed: Option<Vec<T>>,
}

/// Some texts, at least one, in the order of their bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct TextSummary {
    /// How many there are.
    pub count: usize,
    /// None is less than this one.
    pub min: String,
    /// None is greater than this one, but for those that begin with it where `max_is_cut`.
    pub max: String,
    /// Whether `max` is only the beginning of the greatest text.
    pub max_is_cut: bool,
    /// All of them, ascending and without duplicates, where they are few and short.
    pub listed: Option<Vec<String>>,
}

/// Some booleans, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoolSummary {
    /// How many are false.
    pub falses: usize,
    /// How many are true.
    pub trues: usize,
}

impl PartSummary {
    /// The summary of a part. Takes time in proportion to its metadata.
    pub fn of(part: &PartMeta) -> Self {
        let mut summary = Self {
            payloads: part.payloads(),
            documents: part.document_rows().count(),
            keys: BTreeMap::new(),
            complete: true,
        };
        let mut bytes = 0;
        for key in part.keys() {
            let mut of_key = KeySummary::default();
            part.metadata_columns(key).for_each(|column| of_key.add(&column));
            if of_key.present == 0 {
                continue;
            }
            let more = key.len() + of_key.bytes();
            if bytes + more > MAX_BYTES {
                summary.complete = false;
                continue;
            }
            bytes += more;
            summary.keys.insert(key.to_owned(), of_key);
        }
        summary
    }
}

impl KeySummary {
    fn add(&mut self, column: &MetadataColumn<'_>) {
        self.present += column.rows().count();
        let types = if column.lists().is_some() { &mut self.elements } else { &mut self.scalars };
        match column.elements() {
            Elements::Strings(texts) => types.strings = TextSummary::of(texts),
            Elements::I64s(numbers) => types.i64s = NumberSummary::of(numbers.iter(), i64::cmp),
            Elements::F64s(numbers) => types.f64s = NumberSummary::of(numbers.iter(), f64::total_cmp),
            Elements::Bools(bools) => {
                let trues = bools.iter().filter(|value| **value != 0).count();
                let falses = bools.len() - trues;
                types.bools = (!bools.is_empty()).then_some(BoolSummary { falses, trues });
            }
        }
    }

    fn bytes(&self) -> usize {
        let of = |types: &TypeSummaries| {
            let numbers = |listed: Option<usize>| 24 + 8 * listed.unwrap_or(0);
            let strings = types.strings.as_ref().map_or(0, |texts| {
                let listed = texts.listed.iter().flatten().map(|text| text.len() + 4);
                texts.min.len() + texts.max.len() + 16 + listed.sum::<usize>()
            });
            let i64s = types.i64s.as_ref().map_or(0, |of| numbers(of.listed.as_ref().map(Vec::len)));
            let f64s = types.f64s.as_ref().map_or(0, |of| numbers(of.listed.as_ref().map(Vec::len)));
            strings + i64s + f64s + types.bools.map_or(0, |_| 16)
        };
        8 + of(&self.scalars) + of(&self.elements)
    }
}

impl<T: Copy> NumberSummary<T> {
    fn of(numbers: impl ExactSizeIterator<Item = T>, order: fn(&T, &T) -> std::cmp::Ordering) -> Option<Self> {
        let count = numbers.len();
        let mut bounds: Option<(T, T)> = None;
        let mut listed = Some(Vec::with_capacity(MAX_LISTED));
        for number in numbers {
            let (min, max) = bounds.get_or_insert((number, number));
            if order(&number, min).is_lt() {
                *min = number;
            }
            if order(&number, max).is_gt() {
                *max = number;
            }
            if let Some(list) = &mut listed
                && let Err(at) = list.binary_search_by(|listed| order(listed, &number))
            {
                if list.len() < MAX_LISTED {
                    list.insert(at, number);
                } else {
                    listed = None;
                }
            }
        }
        let (min, max) = bounds?;
        Some(Self { count, min, max, listed })
    }
}

impl TextSummary {
    fn of(texts: Texts<'_>) -> Option<Self> {
        let mut all = (0..texts.len()).map(|i| (texts.bytes_of(i), i));
        let first = all.next()?;
        let (mut min, mut max) = (first, first);
        for text in all {
            min = min.min(text);
            max = max.max(text);
        }
        let (min, max) = (texts.get(min.1), texts.get(max.1));
        let short = max.floor_char_boundary(MAX_TEXT);
        Some(Self {
            count: texts.len(),
            min: min.get(..min.floor_char_boundary(MAX_TEXT)).unwrap_or_default().to_owned(),
            max: max.get(..short).unwrap_or_default().to_owned(),
            max_is_cut: short < max.len(),
            listed: listed(texts),
        })
    }
}

/// The distinct texts, where they are few and short.
fn listed(texts: Texts<'_>) -> Option<Vec<String>> {
    let mut distinct = BTreeSet::new();
    for i in 0..texts.len() {
        let text = texts.bytes_of(i);
        if text.len() > MAX_TEXT {
            return None;
        }
        if distinct.insert(text) && distinct.len() > MAX_LISTED {
            return None;
        }
    }
    Some(distinct.into_iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect())
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
    fn keys_beyond_the_budget_are_left_out() {
        let row = |row: usize| {
            let keys: Vec<String> = (0..450).map(|key| format!("{row:03}-{key:03}-{}", "k".repeat(100))).collect();
            let metadata: Vec<(&str, Value)> = keys.iter().map(|key| (key.as_str(), Value::Bool(true))).collect();
            put(&metadata, None)
        };
        let one = summary([row(0)]);
        assert!(one.complete);
        assert_eq!(one.keys.len(), 450);
        let two = summary([row(0), row(1)]);
        assert!(!two.complete);
        assert!(two.keys.len() < 600, "{} keys", two.keys.len());
    }
}
