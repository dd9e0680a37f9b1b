//! Names of collections.

use std::fmt;
use std::str::FromStr;

use super::NameError;
use crate::limits::MAX_COLLECTION_NAME;

/// The name of a collection: 1 to 128 bytes of `a-z 0-9 . _ -`, beginning with a letter or digit.
///
/// Upper case is refused because names that differ only in case are one folder on some file
/// systems.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionName(String);

impl CollectionName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CollectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CollectionName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let allowed = |b: u8| alphanumeric(b) || matches!(b, b'.' | b'_' | b'-');
        let valid = text.len() <= MAX_COLLECTION_NAME
            && text.bytes().next().is_some_and(alphanumeric)
            && text.bytes().all(allowed);
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::new(
                "collection name",
                text,
                "1 to 128 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit",
            ))
        }
    }
}
