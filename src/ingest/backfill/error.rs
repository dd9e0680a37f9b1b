//! The reasons why a backfill ends before its end.

use std::fmt;

use crate::error::Error;

/// An item that the mapping or the collection refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedItem {
    /// The file of the item, as the manifest or the user names it.
    pub file: String,
    /// The place of that file in the manifest, counted from 1; 1 for a scan.
    pub file_number: u64,
    /// Its line in an export, or its place in a scan; counted from 1.
    pub line: u64,
    /// Its key, or its first attributes where the input does not tell the key.
    pub key: String,
    /// The attribute or the field of the record to blame, if there is one.
    pub field: Option<String>,
    /// The reason, with rule and attribute.
    pub reason: String,
    /// The item as the input has it.
    pub text: Vec<u8>,
}

impl fmt::Display for RefusedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: item {}: {}", self.file, self.line, self.key, self.reason)
    }
}

/// The reason why a backfill failed. All items before the one to blame are in the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackfillError {
    /// There is no export at this address, or none that has ended.
    #[error("{0}")]
    Missing(String),
    /// A file is damaged, or does not hold what it should.
    #[error("{0}")]
    Unusable(String),
    /// Mend the mapping or the item, then run the same backfill again.
    #[error("{0}")]
    Refused(Box<RefusedItem>),
    /// The store or the collection.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<crate::store::StoreError> for BackfillError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Failed(error.into())
    }
}
