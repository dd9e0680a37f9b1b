//! Conversion of attributes to fields of a record.

use deltafold_format::Value;

use super::attribute::Attribute;
use super::error::cut;
use super::number::{float, integer};

/// The type of a metadata value, as a mapping names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    I64,
    F64,
    Bool,
    Strings,
    I64s,
    F64s,
    Bools,
}

impl Kind {
    pub(super) const NAMES: &'static str = "string, i64, f64, bool, strings, i64s, f64s or bools";

    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "i64" => Self::I64,
            "f64" => Self::F64,
            "bool" => Self::Bool,
            "strings" => Self::Strings,
            "i64s" => Self::I64s,
            "f64s" => Self::F64s,
            "bools" => Self::Bools,
            _ => return None,
        })
    }

    /// The attribute as a value of this type, or the reason why it has none.
    pub(super) fn value(self, attribute: &Attribute) -> Result<Value, String> {
        Ok(match self {
            Self::String => Value::String(string(attribute)?),
            Self::I64 => Value::I64(whole(attribute)?),
            Self::F64 => Value::F64(real(attribute)?),
            Self::Bool => Value::Bool(truth(attribute)?),
            Self::Strings => Value::Strings(list(attribute, string, |list: &mut Vec<String>| list.sort_unstable())?),
            Self::I64s => Value::I64s(list(attribute, whole, |list: &mut Vec<i64>| list.sort_unstable())?),
            Self::F64s => {
                Value::F64s(list(attribute, real, |list: &mut Vec<f64>| list.sort_unstable_by(f64::total_cmp))?)
            }
            Self::Bools => Value::Bools(list(attribute, truth, |_: &mut Vec<bool>| ())?),
        })
    }
}

fn string(attribute: &Attribute) -> Result<String, String> {
    match attribute {
        Attribute::String(text) | Attribute::Number(text) => Ok(text.clone()),
        other => Err(expected("a string or a number", other)),
    }
}

fn whole(attribute: &Attribute) -> Result<i64, String> {
    let Attribute::Number(text) = attribute else { return Err(expected("a number", attribute)) };
    let number = integer(text)
        .ok_or_else(|| format!("`{}` is not an integer of up to 38 digits; map it as f64 or as string", cut(text)))?;
    i64::try_from(number)
        .map_err(|_| format!("`{}` does not fit a 64-bit integer; map it as string or as f64", cut(text)))
}

fn real(attribute: &Attribute) -> Result<f64, String> {
    let Attribute::Number(text) = attribute else { return Err(expected("a number", attribute)) };
    float(text).ok_or_else(|| format!("`{}` is not a number that a 64-bit float can hold; map it as string", cut(text)))
}

fn truth(attribute: &Attribute) -> Result<bool, String> {
    match attribute {
        Attribute::Bool(truth) => Ok(*truth),
        other => Err(expected("a boolean", other)),
    }
}

/// A list keeps its order. A set has none, so this sorts it: else the same set could look changed.
fn list<T>(
    attribute: &Attribute,
    read: impl Fn(&Attribute) -> Result<T, String>,
    sort: impl FnOnce(&mut Vec<T>),
) -> Result<Vec<T>, String> {
    let of_set = |texts: &[String], make: fn(String) -> Attribute| {
        texts.iter().map(|text| read(&make(text.clone()))).collect::<Result<Vec<T>, String>>()
    };
    let mut sorted = match attribute {
        Attribute::List(list) => {
            let element = |(index, element)| read(element).map_err(|reason| format!("element {index}: {reason}"));
            return list.iter().enumerate().map(element).collect();
        }
        Attribute::Strings(texts) => of_set(texts, Attribute::String)?,
        Attribute::Numbers(texts) => of_set(texts, Attribute::Number)?,
        other => return Err(expected("a list or a set", other)),
    };
    sort(&mut sorted);
    Ok(sorted)
}

/// The embedding: a list of numbers, or binary of little-endian f32.
pub(super) fn embedding(attribute: &Attribute) -> Result<Vec<f32>, String> {
    match attribute {
        Attribute::List(list) => {
            let number = |(index, element): (usize, &Attribute)| match element {
                Attribute::Number(text) => match float(text).map(|number| number as f32) {
                    Some(number) if number.is_finite() => Ok(number),
                    _ => Err(format!("element {index}: `{}` is not a number that a 32-bit float can hold", cut(text))),
                },
                other => Err(format!("element {index}: {}", expected("a number", other))),
            };
            list.iter().enumerate().map(number).collect()
        }
        Attribute::Binary(bytes) => {
            let (numbers, rest) = bytes.0.as_chunks::<4>();
            if !rest.is_empty() {
                return Err(format!("{} bytes are not a whole number of 32-bit floats", bytes.0.len()));
            }
            Ok(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
        }
        Attribute::Numbers(_) => {
            Err("a set of numbers (NS) has no order; keep embeddings in a list (L) or in binary (B)".into())
        }
        other => Err(expected("a list of numbers, or binary of little-endian 32-bit floats", other)),
    }
}

pub(super) fn document(attribute: &Attribute) -> Result<String, String> {
    match attribute {
        Attribute::String(text) => Ok(text.clone()),
        other => Err(expected("a string", other)),
    }
}

/// A revision: a non-negative integer of up to 128 bits, as a number or as digits in a string.
pub(super) fn revision(attribute: &Attribute) -> Result<u128, String> {
    let (Attribute::Number(text) | Attribute::String(text)) = attribute else {
        return Err(expected("a number", attribute));
    };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let exact = digits.then(|| text.parse::<u128>().ok()).flatten();
    let number = exact.or_else(|| integer(text).and_then(|number| u128::try_from(number).ok()));
    number.ok_or_else(|| format!("`{}` is not a revision: an integer from 0 to 2^128 - 1", cut(text)))
}

fn expected(what: &str, found: &Attribute) -> String {
    format!("expected {what}, found {}", found.name())
}
