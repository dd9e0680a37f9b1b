//! The way from items of DynamoDB tables to records, by a mapping file.
//!
//! ```
//! use deltafold::ingest::{Mapping, StreamRecord};
//!
//! let mapping = r#"
//!     [[rule]]
//!     collection = "lines"
//!     match = { SK = "RECEIPT#*#LINE#*" }
//!     id = "IMAGE#{image_id}#LINE#{line_id:05}"
//!     document = "text"
//!     metadata = { line = { from = "line_id", type = "i64" } }
//! "#;
//! let mapping = Mapping::parse(mapping, "mapping.toml")?;
//! let record: StreamRecord = serde_json::from_str(r#"{"eventID": "e1", "eventName": "INSERT", "dynamodb": {
//!     "Keys": {"PK": {"S": "IMAGE#7"}, "SK": {"S": "RECEIPT#1#LINE#2"}}, "SequenceNumber": "111",
//!     "NewImage": {"SK": {"S": "RECEIPT#1#LINE#2"}, "image_id": {"S": "7"}, "line_id": {"N": "2"}, "text": {"S": "Total"}}
//! }}"#)?;
//! let mapped = mapping.map(&"lines".parse()?, &record)?;
//! assert_eq!(mapped.ops[0].id, "IMAGE#7#LINE#00002");
//! assert_eq!(mapped.revision, Some(111));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `docs/ingest.md` describes the file.

mod attribute;
mod condition;
mod convert;
mod error;
mod file;
mod map;
mod number;
mod path;
mod pattern;
mod rule;
mod samples;
mod stream;
mod template;
mod view;

use std::sync::Arc;

use deltafold_format::CollectionName;

pub use attribute::{Attribute, Bytes, Item};
pub use error::{MappingError, RecordError};
pub use map::{Mapped, Skip};
pub use samples::{Sample, stream_records};
pub use stream::{Event, ItemChange, StreamRecord, UserIdentity};

/// A parsed mapping file. Clones share it.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    rules: Arc<[rule::Rule]>,
    /// Refuses a record that no rule takes, instead of skipping it.
    refuses_unmatched: bool,
}

impl Mapping {
    /// Parses a mapping from its TOML text. `file` is its name in messages.
    ///
    /// # Errors
    ///
    /// The first error, with file, line and rule.
    pub fn parse(text: &str, file: &str) -> Result<Self, MappingError> {
        file::parse(text, file)
    }

    /// The collections that its rules name, in their order.
    pub fn collections(&self) -> Vec<&CollectionName> {
        map::collections(&self.rules)
    }

    /// Maps a record to the ops of this collection. The first rule of the collection that takes the
    /// item decides, separately for the old and the new item. So an item leaves its old record when
    /// a change gives it another rule, no rule, or another id. Uses no clock and no I/O. Takes time
    /// in proportion to the record.
    ///
    /// # Errors
    ///
    /// An attribute is missing, or its type is not the rule's. Or the stream does not show an item
    /// that the rule needs. Or no rule of any collection takes the record, and the mapping refuses
    /// such records.
    pub fn map(&self, collection: &CollectionName, record: &StreamRecord) -> Result<Mapped, RecordError> {
        let mapped = map::map(self.rules.iter().filter(|rule| rule.collection == *collection), record)?;
        if self.refuses_unmatched && mapped.skipped == Some(Skip::NoRule) {
            let others = self.collections().into_iter().filter(|other| *other != collection);
            // A record is not a stranger if another collection takes it, or tries to and fails.
            let is_strange = |other: &CollectionName| {
                let rules = self.rules.iter().filter(|rule| rule.collection == *other);
                map::map(rules, record).is_ok_and(|mapped| mapped.skipped == Some(Skip::NoRule))
            };
            if others.into_iter().all(is_strange) {
                return Err(RecordError::new(
                    "no rule takes the record, and the mapping says `unmatched = \"refuse\"`; add a rule, or skip such records",
                ));
            }
        }
        Ok(mapped)
    }
}

#[cfg(test)]
mod tests;
