//! Names and numbers, each with one fixed-width, sortable text form. `Display` and `FromStr`
//! round-trip.

mod collection;
mod id;
mod place;
mod time;

use std::fmt;

pub use collection::CollectionName;
pub use id::{Nonce, ObjectName, ShardId, Uid};
pub use place::{Position, Sequence, Version};
pub use time::{TimeRange, Timestamp};

/// The reason why a text is not the name or number it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameError {
    what: &'static str,
    text: String,
    expected: &'static str,
}

impl NameError {
    pub(crate) fn new(what: &'static str, text: impl fmt::Display, expected: &'static str) -> Self {
        Self { what, text: text.to_string(), expected }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a {}: expected {}", self.text.escape_debug(), self.what, self.expected)
    }
}

impl std::error::Error for NameError {}

/// Reads exactly `width` ASCII digits.
fn fixed_decimal(text: &str, width: usize) -> Option<u64> {
    (text.len() == width && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Reads exactly `width` lower-case hexadecimal digits.
fn fixed_hex(text: &str, width: usize) -> Option<u128> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (text.len() == width && text.bytes().all(lower)).then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests;
