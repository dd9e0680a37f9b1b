//! The values of one type under one metadata key.

use rkyv::rend::u32_le;
use rkyv::{Archive, Serialize};

use super::numbers::{number, u32_at};
use super::presence::Presence;
use super::rows::{ArchivedTexts, Texts};
use crate::record::Value;

/// The patch removes the key: no values.
pub(super) const REMOVED: u32 = 0;
/// Texts.
pub(super) const STRING: u32 = 1;
/// Numbers.
pub(super) const I64: u32 = 2;
/// The bits of numbers.
pub(super) const F64: u32 = 3;
/// Bytes, 0 or 1.
pub(super) const BOOL: u32 = 4;
/// Lists of these: list `i` is elements `ends[i - 1]..ends[i]`.
pub(super) const STRINGS: u32 = 5;
/// Lists of numbers.
pub(super) const I64S: u32 = 6;
/// Lists of the bits of numbers.
pub(super) const F64S: u32 = 7;
/// Lists of bytes, 0 or 1.
pub(super) const BOOLS: u32 = 8;
/// Number of types. Key and type identify a column.
pub(super) const TYPES: usize = 9;

/// A column of values of one type: those of the payloads present, in order.
#[derive(Debug, Default, Archive, Serialize)]
pub(super) struct Values {
    /// [`REMOVED`], [`STRING`], [`I64`], [`F64`], [`BOOL`], [`STRINGS`], [`I64S`], [`F64S`] or
    /// [`BOOLS`].
    pub(super) kind: u32,
    pub(super) presence: Presence,
    /// Lists only.
    pub(super) ends: Vec<u32>,
    /// i64 in two's complement, or the bits of f64.
    pub(super) numbers: Vec<u64>,
    /// Strings, or the bytes of bools without offsets.
    pub(super) texts: Texts,
}

/// The type of a value; of a removal if there is none.
pub(super) fn kind(value: Option<&Value>) -> u32 {
    match value {
        None => REMOVED,
        Some(Value::String(_)) => STRING,
        Some(Value::I64(_)) => I64,
        Some(Value::F64(_)) => F64,
        Some(Value::Bool(_)) => BOOL,
        Some(Value::Strings(_)) => STRINGS,
        Some(Value::I64s(_)) => I64S,
        Some(Value::F64s(_)) => F64S,
        Some(Value::Bools(_)) => BOOLS,
    }
}

/// Bytes of a value in a column, without its presence.
pub(super) fn bytes_of(value: Option<&Value>) -> usize {
    match value {
        None => 0,
        Some(Value::String(text)) => text.len() + 4,
        Some(Value::I64(_) | Value::F64(_)) => 8,
        Some(Value::Bool(_)) => 1,
        Some(Value::Strings(list)) => list.iter().map(|text| text.len() + 4).sum::<usize>() + 4,
        Some(Value::I64s(list)) => list.len() * 8 + 4,
        Some(Value::F64s(list)) => list.len() * 8 + 4,
        Some(Value::Bools(list)) => list.len() + 4,
    }
}

impl Values {
    pub(super) fn new(kind: u32) -> Self {
        let texts = if matches!(kind, STRING | STRINGS) { Texts::new() } else { Texts::default() };
        Self { kind, texts, ..Self::default() }
    }

    /// Estimated bytes of its archive.
    pub(super) fn estimated_bytes(&self) -> usize {
        let presence = 8 * self.presence.words.len() + 5 * self.presence.listed.len();
        let texts = 4 * self.texts.offsets.len() + self.texts.bytes.len();
        128 + presence + 4 * self.ends.len() + 8 * self.numbers.len() + texts
    }

    /// Appends a value of this column's type.
    pub(super) fn push(&mut self, value: Option<&Value>) {
        match value {
            None => {}
            Some(Value::String(text)) => self.texts.push(text.as_bytes()),
            Some(Value::I64(value)) => self.numbers.push(value.cast_unsigned()),
            Some(Value::F64(value)) => self.numbers.push(value.to_bits()),
            Some(Value::Bool(value)) => self.texts.bytes.push(u8::from(*value)),
            Some(Value::Strings(list)) => list.iter().for_each(|text| self.texts.push(text.as_bytes())),
            Some(Value::I64s(list)) => self.numbers.extend(list.iter().map(|value| value.cast_unsigned())),
            Some(Value::F64s(list)) => self.numbers.extend(list.iter().map(|value| value.to_bits())),
            Some(Value::Bools(list)) => self.texts.bytes.extend(list.iter().map(|value| u8::from(*value))),
        }
        self.end_list();
    }

    /// Appends value number `rank` of a checked column of the same type. Returns its bytes, without
    /// its presence.
    pub(super) fn copy(&mut self, from: &ArchivedValues, rank: usize) -> usize {
        let (range, end) = if self.kind >= STRINGS { (range(&from.ends, rank), 4) } else { (rank..rank + 1, 0) };
        let bytes = match self.kind {
            REMOVED => 0,
            STRING | STRINGS => {
                let before = self.texts.bytes.len();
                for i in range.clone() {
                    self.texts.push(from.texts.bytes_of(i));
                }
                self.texts.bytes.len() - before + 4 * range.len()
            }
            I64 | F64 | I64S | F64S => {
                let numbers = from.numbers.get(range).unwrap_or_default();
                self.numbers.extend(numbers.iter().map(|value| value.to_native()));
                8 * numbers.len()
            }
            _ => {
                let bools = from.texts.bytes.get(range).unwrap_or_default();
                self.texts.bytes.extend_from_slice(bools);
                bools.len()
            }
        };
        self.end_list();
        bytes + end
    }

    fn end_list(&mut self) {
        match self.kind {
            STRINGS => self.ends.push(number(self.texts.len())),
            I64S | F64S => self.ends.push(number(self.numbers.len())),
            BOOLS => self.ends.push(number(self.texts.bytes.len())),
            _ => {}
        }
    }
}

impl ArchivedValues {
    /// Number of values, or of elements of lists.
    pub(super) fn elements(&self) -> usize {
        match self.kind.to_native() {
            STRING | STRINGS => self.texts.len(),
            I64 | F64 | I64S | F64S => self.numbers.len(),
            BOOL | BOOLS => self.texts.bytes.len(),
            _ => 0,
        }
    }

    /// Value number `rank` of a checked column; `None` in a column of removals.
    pub(super) fn get(&self, rank: usize) -> Option<Value> {
        Some(match self.kind.to_native() {
            STRING => Value::String(self.texts.get(rank).to_owned()),
            I64 => Value::I64(self.numbers.get(rank)?.to_native().cast_signed()),
            F64 => Value::F64(f64::from_bits(self.numbers.get(rank)?.to_native())),
            BOOL => Value::Bool(*self.texts.bytes.get(rank)? != 0),
            STRINGS => Value::Strings(strings(&self.texts, range(&self.ends, rank))),
            I64S => Value::I64s(self.list(rank).map(|bits| bits.cast_signed()).collect()),
            F64S => Value::F64s(self.list(rank).map(f64::from_bits).collect()),
            BOOLS => {
                let bools = self.texts.bytes.get(range(&self.ends, rank)).unwrap_or_default();
                Value::Bools(bools.iter().map(|value| *value != 0).collect())
            }
            _ => return None,
        })
    }

    fn list(&self, rank: usize) -> impl ExactSizeIterator<Item = u64> {
        let numbers = self.numbers.get(range(&self.ends, rank)).unwrap_or_default();
        numbers.iter().map(|value| value.to_native())
    }
}

/// The elements of list `i`.
fn range(ends: &[u32_le], i: usize) -> std::ops::Range<usize> {
    let start = i.checked_sub(1).map_or(0, |before| u32_at(ends, before));
    start as usize..u32_at(ends, i) as usize
}

fn strings(texts: &ArchivedTexts, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| texts.get(i).to_owned()).collect()
}
