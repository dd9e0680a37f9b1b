//! A metadata value in its row: checked in place, and copied only on request.

use super::tag::{BOOL, BOOLS, F64, F64S, I64, I64S, REMOVED, STRING, STRINGS};
use crate::codec::Cursor;
use crate::error::FormatError;
use crate::limits::MAX_LIST_LEN;
use crate::record::Value;

/// A value, checked against every limit of the format. A list holds the bytes of its elements.
#[derive(Debug, Clone, Copy)]
pub(super) enum ValueRef<'a> {
    String(&'a str),
    I64(i64),
    F64(f64),
    Bool(bool),
    /// The texts, each with its length before it, and their number.
    Strings(&'a [u8], usize),
    I64s(&'a [[u8; 8]]),
    F64s(&'a [[u8; 8]]),
    Bools(&'a [u8]),
}

impl<'a> ValueRef<'a> {
    /// Takes a value; `None` if the key is removed.
    pub(super) fn take(from: &mut Cursor<'a>) -> Result<Option<Self>, FormatError> {
        Ok(Some(match from.u8()? {
            REMOVED => return Ok(None),
            STRING => Self::String(from.string()?),
            I64 => Self::I64(from.i64()?),
            F64 => {
                let number = from.f64()?;
                finite(from, number)?;
                Self::F64(number)
            }
            BOOL => Self::Bool(from.bool()?),
            STRINGS => {
                let count = list(from, 4)?;
                let texts = from.rest();
                for _ in 0..count {
                    from.string()?;
                }
                let len = texts.len() - from.rest().len();
                Self::Strings(texts.get(..len).unwrap_or_default(), count)
            }
            I64S => Self::I64s(numbers(from)?),
            F64S => {
                let numbers = numbers(from)?;
                numbers.iter().try_for_each(|number| finite(from, f64::from_le_bytes(*number)))?;
                Self::F64s(numbers)
            }
            BOOLS => {
                let count = list(from, 1)?;
                let bools = from.bytes(count)?;
                let mut each = Cursor::new(bools, "ops");
                bools.iter().try_for_each(|_| each.bool().map(drop))?;
                Self::Bools(bools)
            }
            other => return Err(from.invalid(format!("a value has the unknown type {other}"))),
        }))
    }

    /// Bytes that count against the limit of a record's metadata: 8 a number or list element, and
    /// the bytes of texts.
    pub(super) fn counted(&self) -> usize {
        match self {
            Self::String(text) => text.len(),
            Self::I64(_) | Self::F64(_) | Self::Bool(_) => 8,
            // The length before each text takes 4 bytes here, and counts as 8.
            Self::Strings(texts, count) => texts.len().saturating_add(4 * count),
            Self::I64s(numbers) | Self::F64s(numbers) => 8 * numbers.len(),
            Self::Bools(bools) => 8 * bools.len(),
        }
    }

    /// A copy.
    pub(super) fn to_value(self) -> Value {
        match self {
            Self::String(text) => Value::String(text.to_owned()),
            Self::I64(number) => Value::I64(number),
            Self::F64(number) => Value::F64(number),
            Self::Bool(value) => Value::Bool(value),
            Self::Strings(texts, count) => {
                let mut each = Cursor::new(texts, "ops");
                // The take checked all of them, so none is left out.
                Value::Strings((0..count).map_while(|_| each.string().ok().map(str::to_owned)).collect())
            }
            Self::I64s(numbers) => Value::I64s(numbers.iter().map(|number| i64::from_le_bytes(*number)).collect()),
            Self::F64s(numbers) => Value::F64s(numbers.iter().map(|number| f64::from_le_bytes(*number)).collect()),
            Self::Bools(bools) => Value::Bools(bools.iter().map(|value| *value != 0).collect()),
        }
    }
}

/// The length of a list whose elements take at least `each` bytes.
fn list(from: &mut Cursor<'_>, each: usize) -> Result<usize, FormatError> {
    let count = from.count(each)?;
    if count > MAX_LIST_LEN {
        return Err(from.invalid(format!("a list has {count} elements, the limit is {MAX_LIST_LEN}")));
    }
    Ok(count)
}

fn numbers<'a>(from: &mut Cursor<'a>) -> Result<&'a [[u8; 8]], FormatError> {
    let count = list(from, 8)?;
    Ok(from.bytes(8 * count)?.as_chunks().0)
}

fn finite(from: &Cursor<'_>, number: f64) -> Result<(), FormatError> {
    if number.is_finite() { Ok(()) } else { Err(from.invalid("a number in the metadata is not finite")) }
}
