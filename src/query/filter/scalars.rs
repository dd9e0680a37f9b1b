//! The scalars that a condition accepts, computed once for each type of value.

use super::ast::Scalar;
use super::row_set::bits;
use crate::query::kernel::{Kernel, wide};

/// A set of scalars, type by type. It contains both an integer and the float that equals it, or
/// neither.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scalars {
    pub(super) strings: Strings,
    pub(super) i64s: Numbers<i64>,
    pub(super) f64s: Numbers<f64>,
    /// Whether it contains `false`, and whether it contains `true`.
    pub(super) bools: [bool; 2],
}

/// A set of strings, in the order of their bytes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Strings {
    #[default]
    None,
    /// These, ascending.
    Listed(Vec<String>),
    /// Those with this prefix.
    Prefix(String),
    /// Those on this side of a string.
    Beside(Side, String),
}

/// A set of finite numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Numbers<T> {
    #[default]
    None,
    /// These, ascending.
    Listed(Vec<T>),
    /// Those from the first to the second, both included.
    Between(T, T),
}

/// The side of an operand on which accepted values lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Strings {
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether it contains the text of these bytes.
    pub(super) fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::None => false,
            Self::Listed(list) => match list.as_slice() {
                [one] => one.as_bytes() == value,
                list => list.binary_search_by(|listed| listed.as_bytes().cmp(value)).is_ok(),
            },
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Beside(side, operand) => match side {
                Side::Greater => value > operand.as_bytes(),
                Side::GreaterOrEqual => value >= operand.as_bytes(),
                Side::Less => value < operand.as_bytes(),
                Side::LessOrEqual => value <= operand.as_bytes(),
            },
        }
    }
}

impl<T: PartialOrd + Copy> Numbers<T> {
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(super) fn holds(&self, value: T) -> bool {
        match self {
            Self::None => false,
            Self::Between(low, high) => *low <= value && value <= *high,
            Self::Listed(list) => {
                let at = list.partition_point(|listed| *listed < value);
                list.get(at).is_some_and(|listed| *listed == value)
            }
        }
    }

    /// The values that it contains, a bit each.
    pub(super) fn bits(&self, values: impl ExactSizeIterator<Item = T>) -> Vec<u64> {
        match *self {
            Self::Between(low, high) => between(values, low, high),
            _ => bits(values.map(|value| self.holds(value))),
        }
    }
}

/// The values between two others, a bit each. The compiler turns each word into comparisons of
/// vectors.
fn between<T: PartialOrd + Copy>(values: impl ExactSizeIterator<Item = T>, low: T, high: T) -> Vec<u64> {
    let mut values = values;
    wide!(Kernel::detect(), {
        let mut words = Vec::with_capacity(values.len().div_ceil(64));
        while values.len() > 0 {
            let word = values.by_ref().take(64).zip(0..);
            words.push(word.fold(0, |word, (value, bit)| word | u64::from((low <= value) & (value <= high)) << bit));
        }
        words
    })
}

impl Scalars {
    pub(super) fn bool_holds(&self, value: bool) -> bool {
        let [holds_false, holds_true] = self.bools;
        if value { holds_true } else { holds_false }
    }

    /// The one scalar.
    pub(super) fn one(scalar: &Scalar) -> Self {
        Self::listed(std::slice::from_ref(scalar))
    }

    /// The scalars of a list.
    pub(super) fn listed(scalars: &[Scalar]) -> Self {
        let (mut strings, mut i64s, mut f64s, mut bools) = (Vec::new(), Vec::new(), Vec::new(), [false; 2]);
        for scalar in scalars {
            match scalar {
                Scalar::String(value) => strings.push(value.clone()),
                Scalar::I64(value) => {
                    i64s.push(*value);
                    f64s.extend(to_f64(*value));
                }
                Scalar::F64(value) => {
                    f64s.push(*value);
                    i64s.extend(to_i64(*value));
                }
                Scalar::Bool(false) => bools[0] = true,
                Scalar::Bool(true) => bools[1] = true,
            }
        }
        strings.sort_unstable();
        strings.dedup();
        i64s.sort_unstable();
        i64s.dedup();
        // None is a NaN, and the two zeros are equal here, as in comparisons.
        f64s.sort_unstable_by(|a: &f64, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        f64s.dedup();
        Self {
            strings: if strings.is_empty() { Strings::None } else { Strings::Listed(strings) },
            i64s: numbers(i64s),
            f64s: numbers(f64s),
            bools,
        }
    }

    /// The scalars on a side of this one. Booleans have no order, so none lies beside another.
    pub(super) fn beside(side: Side, operand: &Scalar) -> Self {
        match operand {
            Scalar::Bool(_) => Self::default(),
            Scalar::String(text) => Self { strings: Strings::Beside(side, text.clone()), ..Self::default() },
            Scalar::I64(value) => Self {
                i64s: integers_beside(side, *value),
                f64s: floats_beside_integer(side, *value),
                ..Self::default()
            },
            Scalar::F64(value) => {
                Self { i64s: integers_beside_float(side, *value), f64s: floats_beside(side, *value), ..Self::default() }
            }
        }
    }

    /// The strings with this prefix.
    pub(super) fn prefix(prefix: &str) -> Self {
        Self { strings: Strings::Prefix(prefix.to_owned()), ..Self::default() }
    }
}

fn numbers<T: Copy>(list: Vec<T>) -> Numbers<T> {
    match list.as_slice() {
        [] => Numbers::None,
        [one] => Numbers::Between(*one, *one),
        _ => Numbers::Listed(list),
    }
}

/// 2^63, the first float above every i64. Its negative is the least i64.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

/// The float that equals an integer, if there is one.
fn to_f64(value: i64) -> Option<f64> {
    let float = value as f64;
    (float as i128 == i128::from(value)).then_some(float)
}

/// The integer that equals a float, if there is one.
fn to_i64(value: f64) -> Option<i64> {
    (value.trunc() == value && (-BEYOND..BEYOND).contains(&value)).then_some(value as i64)
}

fn integers_beside(side: Side, operand: i64) -> Numbers<i64> {
    let range = match side {
        Side::Greater => operand.checked_add(1).map(|low| (low, i64::MAX)),
        Side::GreaterOrEqual => Some((operand, i64::MAX)),
        Side::Less => operand.checked_sub(1).map(|high| (i64::MIN, high)),
        Side::LessOrEqual => Some((i64::MIN, operand)),
    };
    range.map_or(Numbers::None, |(low, high)| Numbers::Between(low, high))
}

fn integers_beside_float(side: Side, operand: f64) -> Numbers<i64> {
    // The first integer that is greater (at least as great), or the last that is less (at most as
    // great), as a whole float. Between -2^63 and 2^63 they convert exactly.
    match side {
        Side::Greater | Side::GreaterOrEqual if operand >= BEYOND => Numbers::None,
        Side::Less | Side::LessOrEqual if operand < -BEYOND => Numbers::None,
        Side::Less | Side::LessOrEqual if operand >= BEYOND => Numbers::Between(i64::MIN, i64::MAX),
        Side::Greater | Side::GreaterOrEqual if operand < -BEYOND => Numbers::Between(i64::MIN, i64::MAX),
        Side::Greater => integers_beside(Side::Greater, operand.floor() as i64),
        Side::GreaterOrEqual => Numbers::Between(operand.ceil() as i64, i64::MAX),
        Side::Less => integers_beside(Side::Less, operand.ceil() as i64),
        Side::LessOrEqual => Numbers::Between(i64::MIN, operand.floor() as i64),
    }
}

fn floats_beside_integer(side: Side, operand: i64) -> Numbers<f64> {
    // No float lies between an integer and the float that it rounds to.
    let nearest = operand as f64;
    let order = (nearest as i128).cmp(&i128::from(operand));
    match side {
        Side::Greater if order.is_gt() => floats_beside(Side::GreaterOrEqual, nearest),
        Side::GreaterOrEqual if order.is_lt() => floats_beside(Side::Greater, nearest),
        Side::Less if order.is_lt() => floats_beside(Side::LessOrEqual, nearest),
        Side::LessOrEqual if order.is_gt() => floats_beside(Side::Less, nearest),
        side => floats_beside(side, nearest),
    }
}

fn floats_beside(side: Side, operand: f64) -> Numbers<f64> {
    match side {
        Side::Greater => Numbers::Between(operand.next_up(), f64::INFINITY),
        Side::GreaterOrEqual => Numbers::Between(operand, f64::INFINITY),
        Side::Less => Numbers::Between(f64::NEG_INFINITY, operand.next_down()),
        Side::LessOrEqual => Numbers::Between(f64::NEG_INFINITY, operand),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values are compared 64 at once. The last word must hold no bit of values before.
    #[test]
    fn a_range_holds_the_values_between_its_ends() {
        for count in [0, 1, 63, 64, 65, 130] {
            let values: Vec<i64> = (0..count).map(|number| (number * 7) % 10 - 5).collect();
            let expected = bits(values.iter().map(|value| (-2..=3).contains(value)));
            assert_eq!(Numbers::Between(-2, 3).bits(values.iter().copied()), expected, "{count} integers");
            let floats = values.iter().map(|value| *value as f64);
            assert_eq!(Numbers::Between(-2.0, 3.0).bits(floats), expected, "{count} floats");
        }
    }
}
