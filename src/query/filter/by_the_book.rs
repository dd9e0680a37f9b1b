//! An evaluation of filters straight from their documentation, with random filters and records.
//! Tests compare every evaluation with it.

use std::cmp::Ordering;

use deltafold_format::{Metadata, Value};
use proptest::prelude::*;

use super::ast::{Condition, DocumentCondition, Filter, Scalar};

/// Whether a record matches, by the documentation of [`Filter`].
pub(super) fn matches(filter: &Filter, metadata: &Metadata, document: Option<&str>) -> bool {
    match filter {
        Filter::And(list) => list.iter().all(|filter| matches(filter, metadata, document)),
        Filter::Or(list) => list.iter().any(|filter| matches(filter, metadata, document)),
        Filter::Not(inner) => !matches(inner, metadata, document),
        Filter::Metadata { key, condition } => holds(condition, metadata.get(key)),
        Filter::Document(condition) => document_holds(condition, document),
    }
}

fn holds(condition: &Condition, value: Option<&Value>) -> bool {
    let order = |operand: &Scalar| compare(&scalar(value?)?, operand);
    let equals = |operand: &Scalar| order(operand) == Some(Ordering::Equal);
    let contains = |operand: &Scalar| {
        let equals = |element: &Scalar| compare(element, operand) == Some(Ordering::Equal);
        value.is_some_and(|value| elements(value).iter().any(equals))
    };
    match condition {
        Condition::Equals(operand) => equals(operand),
        Condition::NotEquals(operand) => !equals(operand),
        Condition::Greater(operand) => order(operand) == Some(Ordering::Greater),
        Condition::GreaterOrEqual(operand) => matches!(order(operand), Some(Ordering::Greater | Ordering::Equal)),
        Condition::Less(operand) => order(operand) == Some(Ordering::Less),
        Condition::LessOrEqual(operand) => matches!(order(operand), Some(Ordering::Less | Ordering::Equal)),
        Condition::In(operands) => operands.iter().any(equals),
        Condition::NotIn(operands) => !operands.iter().any(equals),
        Condition::Contains(operand) => contains(operand),
        Condition::NotContains(operand) => !contains(operand),
        Condition::StartsWith(prefix) => {
            matches!(value, Some(Value::String(text)) if text.get(..prefix.len()) == Some(prefix))
        }
        Condition::Exists(exists) => value.is_some() == *exists,
    }
}

fn document_holds(condition: &DocumentCondition, document: Option<&str>) -> bool {
    let contains = |text: &str| text.is_empty() || document.is_some_and(|document| document.contains(text));
    let regex = |pattern: &str| document.is_some_and(|document| regex::Regex::new(pattern).unwrap().is_match(document));
    match condition {
        DocumentCondition::Contains(text) => contains(text),
        DocumentCondition::NotContains(text) => !contains(text),
        DocumentCondition::Regex(pattern) => regex(pattern),
        DocumentCondition::NotRegex(pattern) => !regex(pattern),
        DocumentCondition::Exists(exists) => document.is_some() == *exists,
    }
}

/// The order of two scalars; `None` if they do not compare. Booleans have only equality.
fn compare(a: &Scalar, b: &Scalar) -> Option<Ordering> {
    match (a, b) {
        (Scalar::String(a), Scalar::String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Scalar::Bool(a), Scalar::Bool(b)) => (a == b).then_some(Ordering::Equal),
        (Scalar::I64(a), Scalar::I64(b)) => Some(a.cmp(b)),
        (Scalar::F64(a), Scalar::F64(b)) => a.partial_cmp(b),
        (Scalar::I64(a), Scalar::F64(b)) => Some(integer_and_float(*a, *b)),
        (Scalar::F64(a), Scalar::I64(b)) => Some(integer_and_float(*b, *a).reverse()),
        _ => None,
    }
}

/// Compares in i128, which separates the whole part and the fraction of every float near an i64.
fn integer_and_float(integer: i64, float: f64) -> Ordering {
    let whole = (float.floor() as i128).clamp(i128::from(i64::MIN) - 1, i128::from(i64::MAX) + 1);
    let fraction = if float == float.floor() { Ordering::Equal } else { Ordering::Less };
    i128::from(integer).cmp(&whole).then(fraction)
}

fn scalar(value: &Value) -> Option<Scalar> {
    match value {
        Value::String(value) => Some(Scalar::String(value.clone())),
        Value::I64(value) => Some(Scalar::I64(*value)),
        Value::F64(value) => Some(Scalar::F64(*value)),
        Value::Bool(value) => Some(Scalar::Bool(*value)),
        _ => None,
    }
}

fn elements(value: &Value) -> Vec<Scalar> {
    match value {
        Value::Strings(list) => list.iter().cloned().map(Scalar::String).collect(),
        Value::I64s(list) => list.iter().copied().map(Scalar::I64).collect(),
        Value::F64s(list) => list.iter().copied().map(Scalar::F64).collect(),
        Value::Bools(list) => list.iter().copied().map(Scalar::Bool).collect(),
        _ => Vec::new(),
    }
}

/// Texts that are often equal, share a prefix, or contain one another.
pub(super) fn text() -> impl Strategy<Value = String> {
    "[abé]{0,3}"
}

/// Integers at which arithmetic and conversions change.
pub(super) const INTEGERS: [i64; 13] = [
    i64::MIN,
    i64::MIN + 1,
    -(1 << 53) - 1,
    -1,
    0,
    1,
    2,
    (1 << 53) - 1,
    1 << 53,
    (1 << 53) + 1,
    (1 << 53) + 3,
    i64::MAX - 1,
    i64::MAX,
];

/// Floats at which arithmetic and conversions change.
pub(super) const FLOATS: [f64; 18] = [
    f64::MIN,
    -9.3e18,
    -9_223_372_036_854_775_808.0,
    -9_223_372_036_854_774_784.0,
    -1.5,
    -0.0,
    0.0,
    5e-324,
    0.5,
    1.0,
    1.5,
    9_007_199_254_740_991.0,
    9_007_199_254_740_992.0,
    9_007_199_254_740_994.0,
    9_007_199_254_740_996.0,
    9_223_372_036_854_774_784.0,
    9_223_372_036_854_775_808.0,
    f64::MAX,
];

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -2..3_i64, 2 => proptest::sample::select(INTEGERS.to_vec()), 1 => any::<i64>()]
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-4..5_i32).prop_map(|halves| f64::from(halves) / 2.0),
        2 => proptest::sample::select(FLOATS.to_vec()),
        1 => any::<i64>().prop_map(|near| near as f64),
    ]
}

fn number() -> impl Strategy<Value = Scalar> {
    prop_oneof![integer().prop_map(Scalar::I64), float().prop_map(Scalar::F64)]
}

fn operand() -> impl Strategy<Value = Scalar> {
    prop_oneof![3 => number(), 2 => text().prop_map(Scalar::String), 1 => any::<bool>().prop_map(Scalar::Bool)]
}

/// A value of any type.
pub(super) fn value() -> impl Strategy<Value = Value> {
    use proptest::collection::vec;
    prop_oneof![
        3 => text().prop_map(Value::String),
        3 => integer().prop_map(Value::I64),
        3 => float().prop_map(Value::F64),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => vec(text(), 0..3).prop_map(Value::Strings),
        1 => vec(integer(), 0..3).prop_map(Value::I64s),
        1 => vec(float(), 0..3).prop_map(Value::F64s),
        1 => vec(any::<bool>(), 0..3).prop_map(Value::Bools),
    ]
}

/// Metadata and document of a record.
pub(super) fn record() -> impl Strategy<Value = (Metadata, Option<String>)> {
    (proptest::collection::btree_map("[klm]", value(), 0..4), proptest::option::of(text()))
}

fn condition() -> impl Strategy<Value = Condition> {
    use proptest::collection::vec;
    let ordered = || prop_oneof![3 => number(), 1 => text().prop_map(Scalar::String)];
    let listed = || {
        prop_oneof![
            vec(number(), 1..4),
            vec(text().prop_map(Scalar::String), 1..4),
            vec(any::<bool>().prop_map(Scalar::Bool), 1..3)
        ]
    };
    prop_oneof![
        operand().prop_map(Condition::Equals),
        operand().prop_map(Condition::NotEquals),
        ordered().prop_map(Condition::Greater),
        ordered().prop_map(Condition::GreaterOrEqual),
        ordered().prop_map(Condition::Less),
        ordered().prop_map(Condition::LessOrEqual),
        listed().prop_map(Condition::In),
        listed().prop_map(Condition::NotIn),
        operand().prop_map(Condition::Contains),
        operand().prop_map(Condition::NotContains),
        text().prop_map(Condition::StartsWith),
        any::<bool>().prop_map(Condition::Exists),
    ]
}

fn document_condition() -> impl Strategy<Value = DocumentCondition> {
    let pattern = || proptest::sample::select(vec!["a", "^b", "a.?b", "é$", "", "(?i)A"]).prop_map(str::to_owned);
    prop_oneof![
        text().prop_map(DocumentCondition::Contains),
        text().prop_map(DocumentCondition::NotContains),
        pattern().prop_map(DocumentCondition::Regex),
        pattern().prop_map(DocumentCondition::NotRegex),
        any::<bool>().prop_map(DocumentCondition::Exists),
    ]
}

/// A filter of some depth. A negation never contains a negation directly, because the builders
/// would merge the two.
pub(super) fn filter() -> impl Strategy<Value = Filter> {
    let leaf = prop_oneof![
        4 => ("[klm]", condition()).prop_map(|(key, condition)| Filter::metadata(key, condition)),
        1 => document_condition().prop_map(Filter::Document),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Filter::And),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Filter::Or),
            inner.prop_map(|filter| !filter),
        ]
    })
}
