//! The values that a pickle keeps for later, by their number. Most of them lie in a temporary file.

use bytes::Bytes;

use super::input::Text;
use super::{PickleError, Result, Value};
use crate::scratch::{Extent, Scratch, failed};

/// Values of a page.
const PAGE: usize = 4_096;
/// Bytes of a value in a page: its kind, a length, and a number.
const VALUE_BYTES: usize = 16;

/// The kept values. A pickler numbers them in order.
#[derive(Default)]
pub(super) struct Memo {
    scratch: Scratch,
    pages: Vec<Extent>,
    /// The values behind the last page.
    last: Vec<Value>,
    /// The page that was read last, and its number. References come in the order of the values.
    read: Option<(usize, Bytes)>,
}

impl Memo {
    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.pages.len() * PAGE + self.last.len()
    }

    pub(super) fn push(&mut self, value: Value) -> Result<()> {
        self.last.push(value);
        if self.last.len() == PAGE {
            let bytes: Vec<u8> = self.last.drain(..).flat_map(encoded).collect();
            self.pages.push(self.scratch.put(&[bytes.into()]).map_err(|error| unwritten(&error))?);
        }
        Ok(())
    }

    /// A value; `None` if nothing has this number.
    pub(super) fn get(&mut self, place: usize) -> Result<Option<Value>> {
        let (page, at) = (place / PAGE, place % PAGE);
        let Some(extent) = self.pages.get(page) else {
            let at = place.checked_sub(self.pages.len() * PAGE);
            return Ok(at.and_then(|at| self.last.get(at)).copied());
        };
        if self.read.as_ref().is_none_or(|(read, _)| *read != page) {
            let bytes = extent.read(0, (PAGE * VALUE_BYTES) as u64).map_err(|error| unwritten(&error))?;
            self.read = Some((page, bytes));
        }
        let bytes = self.read.as_ref().and_then(|(_, bytes)| bytes.get(at * VALUE_BYTES..)?.first_chunk());
        Ok(bytes.and_then(decoded))
    }
}

fn unwritten(error: &std::io::Error) -> PickleError {
    PickleError::Failed(failed(error).into())
}

fn encoded(value: Value) -> [u8; VALUE_BYTES] {
    let (kind, len, number): (u32, u32, u64) = match value {
        Value::None => (0, 0, 0),
        Value::Bool => (1, 0, 0),
        Value::Int(number) => (2, 0, number.cast_unsigned()),
        Value::Text(text) => (3, text.len, text.at),
        Value::Dict(dict) => (4, 0, dict as u64),
        Value::EmptyTuple => (5, 0, 0),
        Value::Mark => (6, 0, 0),
        Value::Class => (7, 0, 0),
        Value::Object(None) => (8, 0, 0),
        Value::Object(Some(dict)) => (9, 0, dict as u64),
    };
    (u128::from(kind) | u128::from(len) << 32 | u128::from(number) << 64).to_le_bytes()
}

fn decoded(bytes: &[u8; VALUE_BYTES]) -> Option<Value> {
    let bits = u128::from_le_bytes(*bytes);
    let number = (bits >> 64) as u64;
    let len = (bits >> 32) as u32;
    Some(match bits as u32 {
        0 => Value::None,
        1 => Value::Bool,
        2 => Value::Int(number.cast_signed()),
        3 => Value::Text(Text { at: number, len }),
        4 => Value::Dict(usize::try_from(number).ok()?),
        5 => Value::EmptyTuple,
        6 => Value::Mark,
        7 => Value::Class,
        8 => Value::Object(None),
        9 => Value::Object(Some(usize::try_from(number).ok()?)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_a_page_come_back() {
        let value = |number: usize| match number % 7 {
            0 => Value::Text(Text { at: u64::MAX - number as u64, len: u32::MAX }),
            1 => Value::Int(-(number as i64)),
            2 => Value::Dict(number),
            3 => Value::Object(None),
            4 => Value::Object(Some(number)),
            5 => Value::Class,
            _ => Value::EmptyTuple,
        };
        let mut memo = Memo::default();
        for number in 0..3 * PAGE + 9 {
            memo.push(value(number)).unwrap();
        }
        for number in [0, 5, PAGE - 1, PAGE, 2 * PAGE + 3, 3 * PAGE, 3 * PAGE + 8, 1, 2, 3, 4] {
            assert_eq!(memo.get(number).unwrap(), Some(value(number)), "{number}");
        }
        assert_eq!(memo.get(3 * PAGE + 9).unwrap(), None);
        assert_eq!(memo.len(), 3 * PAGE + 9);
    }
}
