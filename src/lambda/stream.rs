//! A record of a stream, of DynamoDB or Kinesis.

use deltafold_format::Timestamp;

/// A record of a stream. A mapping reads its item; this holds its position.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StreamChange {
    /// The whole record as it came.
    pub(super) text: String,
    /// Its unique id.
    pub(super) id: String,
    /// The service's name for it in a report of failure.
    pub(super) sequence: String,
    /// The item's key, or the partition key. All changes of one item have the same.
    pub(super) keys: String,
    /// The approximate time of the change.
    pub(super) created: Option<Timestamp>,
    /// The stream, if its records have a place.
    pub(super) stream: String,
    /// Its group and its position in it, which make it take effect once.
    pub(super) place: Option<(String, u128)>,
}
