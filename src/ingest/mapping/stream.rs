//! Records of DynamoDB streams, as AWS Lambda sends and `aws dynamodbstreams get-records` prints
//! them, and as DynamoDB puts them into a Kinesis data stream.

use serde::Deserialize;

use super::attribute::Item;

/// One change of an item.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct StreamRecord {
    /// The change's unique id.
    #[serde(rename = "eventID")]
    pub event_id: Option<String>,
    /// The kind of the change.
    #[serde(rename = "eventName")]
    pub event: Event,
    /// The ARN of the stream, in events of Lambda. The ARN of the table, for an item of an export.
    #[serde(rename = "eventSourceARN")]
    pub source_arn: Option<String>,
    /// The name of the table, in records of a Kinesis data stream.
    #[serde(rename = "tableName")]
    pub table_name: Option<String>,
    /// The identity that deleted the item, if it is not a user of the table: the service deletes
    /// items whose time to live is over.
    #[serde(rename = "userIdentity")]
    pub user_identity: Option<UserIdentity>,
    /// The change itself.
    #[serde(rename = "dynamodb")]
    pub change: ItemChange,
}

/// An identity that made a change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct UserIdentity {
    /// Its name: `dynamodb.amazonaws.com` for the service itself.
    #[serde(rename = "principalId", alias = "PrincipalId")]
    pub principal_id: Option<String>,
    /// Its type, such as `Service`.
    #[serde(rename = "type", alias = "Type")]
    pub kind: Option<String>,
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum Event {
    /// The item is new.
    #[serde(rename = "INSERT")]
    Insert,
    /// The item existed, and has changed.
    #[serde(rename = "MODIFY")]
    Modify,
    /// The item was deleted.
    #[serde(rename = "REMOVE")]
    Remove,
}

impl Event {
    /// The service's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Modify => "MODIFY",
            Self::Remove => "REMOVE",
        }
    }
}

/// The part of a change that a stream shows: by its view the old item, the new one, both or
/// neither.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ItemChange {
    /// The attributes of the item's key.
    #[serde(rename = "Keys", default)]
    pub keys: Item,
    /// The item after the change.
    #[serde(rename = "NewImage")]
    pub new: Option<Item>,
    /// The item before the change.
    #[serde(rename = "OldImage")]
    pub old: Option<Item>,
    /// The change's position in its shard. It rises with each change of an item.
    #[serde(rename = "SequenceNumber")]
    pub sequence: Option<String>,
}

impl StreamRecord {
    /// The table's name: `tableName`, or that in
    /// `arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL`.
    pub fn table(&self) -> Option<&str> {
        let of_arn = || self.source_arn.as_deref()?.split_once(":table/")?.1.split('/').next();
        self.table_name.as_deref().or_else(of_arn)
    }

    /// [`ItemChange::sequence`] as a number. `None` if it is missing or exceeds 128 bits.
    pub fn sequence(&self) -> Option<u128> {
        let text = self.change.sequence.as_deref()?;
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_called_as_the_service_calls_them() {
        for event in [Event::Insert, Event::Modify, Event::Remove] {
            let read: Event = serde_json::from_str(&format!("\"{}\"", event.name())).unwrap();
            assert_eq!(read, event);
        }
    }
}
