//! Records of DynamoDB streams, as AWS Lambda hands them over and as
//! `aws dynamodbstreams get-records` prints them.

use serde::Deserialize;

use super::attribute::Item;

/// One change of an item.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct StreamRecord {
    /// What identifies the change among all.
    #[serde(rename = "eventID")]
    pub event_id: Option<String>,
    /// What happened to the item.
    #[serde(rename = "eventName")]
    pub event: Event,
    /// The stream, in what Lambda hands over.
    #[serde(rename = "eventSourceARN")]
    pub source_arn: Option<String>,
    /// The change itself.
    #[serde(rename = "dynamodb")]
    pub change: ItemChange,
}

/// What happened to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum Event {
    /// It is new.
    #[serde(rename = "INSERT")]
    Insert,
    /// It was there, and is another.
    #[serde(rename = "MODIFY")]
    Modify,
    /// It is gone.
    #[serde(rename = "REMOVE")]
    Remove,
}

impl Event {
    /// As the service calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Modify => "MODIFY",
            Self::Remove => "REMOVE",
        }
    }
}

/// What a stream shows of a change: depending on its view the item before, after, both or neither.
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
    /// Where the change stands in its shard; rising for each item.
    #[serde(rename = "SequenceNumber")]
    pub sequence: Option<String>,
}

impl StreamRecord {
    /// The table's name, of `arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL`.
    pub fn table(&self) -> Option<&str> {
        self.source_arn.as_deref()?.split_once(":table/")?.1.split('/').next()
    }

    /// [`ItemChange::sequence`] as a number; `None` where there is none, or one of more than 128
    /// bits.
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
