//! Builds filters in a program.

use std::ops::Not;

use super::ast::{Condition, DocumentCondition, Filter, Scalar};

impl Filter {
    /// `$eq`: the value under `key` equals `value`.
    pub fn equals(key: impl Into<String>, value: impl Into<Scalar>) -> Self {
        Self::metadata(key, Condition::Equals(value.into()))
    }

    /// `$ne`: the value under `key` does not equal `value`, or there is none.
    pub fn not_equals(key: impl Into<String>, value: impl Into<Scalar>) -> Self {
        Self::metadata(key, Condition::NotEquals(value.into()))
    }

    /// `$gt`: the value under `key` is greater than `value`.
    pub fn greater(key: impl Into<String>, value: impl Into<Scalar>) -> Self {
        Self::metadata(key, Condition::Greater(value.into()))
    }

    /// `$gte`: the value under `key` is greater than `value`, or equals it.
    pub fn at_least(key: impl Into<String>, value: impl Into<Scalar>) -> Self {
        Self::metadata(key, Condition::GreaterOrEqual(value.into()))
    }

    /// `$lt`: the value under `key` is less than `value`.
    pub fn less(key: impl Into<String>, value: impl Into<Scalar>) -> Self {
        Self::metadata(key, Condition::Less(value.into()))
    }

    /// `$lte`: the value under `key` is less than `value`, or equals it.
    pub fn at_most(key: impl Into<String>, value: impl Into<Scalar>) -> Self {
        Self::metadata(key, Condition::LessOrEqual(value.into()))
    }

    /// `$in`: the value under `key` equals one of `values`.
    pub fn is_in<T: Into<Scalar>>(key: impl Into<String>, values: impl IntoIterator<Item = T>) -> Self {
        Self::metadata(key, Condition::In(values.into_iter().map(Into::into).collect()))
    }

    /// `$nin`: the value under `key` equals none of `values`, or there is none.
    pub fn not_in<T: Into<Scalar>>(key: impl Into<String>, values: impl IntoIterator<Item = T>) -> Self {
        Self::metadata(key, Condition::NotIn(values.into_iter().map(Into::into).collect()))
    }

    /// `$contains`: the value under `key` is a list that holds `element`.
    pub fn contains(key: impl Into<String>, element: impl Into<Scalar>) -> Self {
        Self::metadata(key, Condition::Contains(element.into()))
    }

    /// `$not_contains`: the value under `key` is not a list that holds `element`, or there is none.
    pub fn not_contains(key: impl Into<String>, element: impl Into<Scalar>) -> Self {
        Self::metadata(key, Condition::NotContains(element.into()))
    }

    /// `$startsWith`: the value under `key` is a string that starts with `prefix`.
    pub fn starts_with(key: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self::metadata(key, Condition::StartsWith(prefix.into()))
    }

    /// `$exists`: there is a value under `key`, of any type.
    pub fn exists(key: impl Into<String>) -> Self {
        Self::metadata(key, Condition::Exists(true))
    }

    /// `$contains` on the document: it holds `text`.
    pub fn document_contains(text: impl Into<String>) -> Self {
        Self::Document(DocumentCondition::Contains(text.into()))
    }

    /// `$regex` on the document: the expression matches somewhere in it. [`check`](Self::check)
    /// tells whether the expression is valid.
    pub fn document_matches(pattern: impl Into<String>) -> Self {
        Self::Document(DocumentCondition::Regex(pattern.into()))
    }

    /// A condition on a metadata key.
    pub fn metadata(key: impl Into<String>, condition: Condition) -> Self {
        Self::Metadata { key: key.into(), condition }
    }

    /// `$and`: both match. Chains of it make one list.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::And(mut all) if !all.is_empty() => {
                all.push(other);
                Self::And(all)
            }
            first => Self::And(vec![first, other]),
        }
    }

    /// `$or`: at least one of both matches. Chains of it make one list.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match self {
            Self::Or(mut any) if !any.is_empty() => {
                any.push(other);
                Self::Or(any)
            }
            first => Self::Or(vec![first, other]),
        }
    }
}

impl Not for Filter {
    type Output = Self;

    /// `$not`: it does not match. A double negation cancels out.
    fn not(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            filter => Self::Not(Box::new(filter)),
        }
    }
}

impl From<&str> for Scalar {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for Scalar {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

impl From<i64> for Scalar {
    fn from(value: i64) -> Self {
        Self::I64(value)
    }
}

impl From<i32> for Scalar {
    fn from(value: i32) -> Self {
        Self::I64(value.into())
    }
}

impl From<u32> for Scalar {
    fn from(value: u32) -> Self {
        Self::I64(value.into())
    }
}

impl From<f64> for Scalar {
    fn from(value: f64) -> Self {
        Self::F64(value)
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
