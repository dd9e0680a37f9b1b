//! Filters by their documentation alone. No code of the engine's evaluation is used, so the two can
//! disagree.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;

use deltafold::format::{Record, Value};
use deltafold::{Condition, DocumentCondition, Filter, Scalar};
use regex::Regex;

/// The documentation, with the expressions of a filter compiled once.
#[derive(Debug, Default)]
pub struct Book {
    patterns: RefCell<HashMap<String, Regex>>,
}

impl Book {
    /// Whether a record matches a filter that can be used.
    pub fn matches(&self, filter: &Filter, record: &Record) -> bool {
        match filter {
            Filter::And(list) => list.iter().all(|filter| self.matches(filter, record)),
            Filter::Or(list) => list.iter().any(|filter| self.matches(filter, record)),
            Filter::Not(inner) => !self.matches(inner, record),
            Filter::Metadata { key, condition } => holds(condition, record.metadata.get(key)),
            Filter::Document(condition) => self.document_holds(condition, record.document.as_deref()),
            _ => panic!("{filter} has a form that the fuzzer does not know"),
        }
    }

    fn document_holds(&self, condition: &DocumentCondition, document: Option<&str>) -> bool {
        let contains = |text: &str| text.is_empty() || document.is_some_and(|document| document.contains(text));
        match condition {
            DocumentCondition::Contains(text) => contains(text),
            DocumentCondition::NotContains(text) => !contains(text),
            DocumentCondition::Regex(pattern) => self.finds(pattern, document),
            DocumentCondition::NotRegex(pattern) => !self.finds(pattern, document),
            DocumentCondition::Exists(exists) => document.is_some() == *exists,
            _ => panic!("{condition:?} is a condition that the fuzzer does not know"),
        }
    }

    fn finds(&self, pattern: &str, document: Option<&str>) -> bool {
        let mut patterns = self.patterns.borrow_mut();
        let compiled = patterns
            .entry(pattern.to_owned())
            .or_insert_with(|| Regex::new(pattern).expect("a filter that can be used has expressions that compile"));
        document.is_some_and(|document| compiled.find(document).is_some())
    }
}

fn holds(condition: &Condition, value: Option<&Value>) -> bool {
    let scalar = value.and_then(scalar);
    let is = |orders: &[Ordering], operand: &Scalar| {
        let order = scalar.as_ref().and_then(|scalar| compare(scalar, operand));
        order.is_some_and(|order| orders.contains(&order))
    };
    let equals = |operand: &Scalar| is(&[Ordering::Equal], operand);
    let contains = |operand: &Scalar| {
        let equals = |element: &Scalar| compare(element, operand) == Some(Ordering::Equal);
        value.is_some_and(|value| elements(value).iter().any(equals))
    };
    match condition {
        Condition::Equals(operand) => equals(operand),
        Condition::NotEquals(operand) => !equals(operand),
        Condition::Greater(operand) => is(&[Ordering::Greater], operand),
        Condition::GreaterOrEqual(operand) => is(&[Ordering::Greater, Ordering::Equal], operand),
        Condition::Less(operand) => is(&[Ordering::Less], operand),
        Condition::LessOrEqual(operand) => is(&[Ordering::Less, Ordering::Equal], operand),
        Condition::In(operands) => operands.iter().any(equals),
        Condition::NotIn(operands) => !operands.iter().any(equals),
        Condition::Contains(operand) => contains(operand),
        Condition::NotContains(operand) => !contains(operand),
        Condition::StartsWith(prefix) => matches!(value, Some(Value::String(text)) if text.starts_with(prefix)),
        Condition::Exists(exists) => value.is_some() == *exists,
        _ => panic!("{condition:?} is a condition that the fuzzer does not know"),
    }
}

/// The order of two scalars; `None` if they do not compare. Booleans have only equality.
fn compare(a: &Scalar, b: &Scalar) -> Option<Ordering> {
    match (a, b) {
        (Scalar::String(a), Scalar::String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Scalar::Bool(a), Scalar::Bool(b)) => (a == b).then_some(Ordering::Equal),
        (Scalar::I64(a), Scalar::I64(b)) => Some(a.cmp(b)),
        (Scalar::F64(a), Scalar::F64(b)) => a.partial_cmp(b),
        (Scalar::I64(a), Scalar::F64(b)) => Some(with_float(*a, *b)),
        (Scalar::F64(a), Scalar::I64(b)) => Some(with_float(*b, *a).reverse()),
        _ => None,
    }
}

/// Compares the whole part in i128, which holds every i64, and then the fraction.
fn with_float(integer: i64, float: f64) -> Ordering {
    let whole = float.floor();
    i128::from(integer).cmp(&(whole as i128)).then(if whole < float { Ordering::Less } else { Ordering::Equal })
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
