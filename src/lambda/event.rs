//! The event of an invocation.

use std::borrow::Cow;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use deltafold_format::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::Failure;

/// An event, by the source of its records.
#[derive(Debug)]
pub(super) enum Event {
    /// Messages of a queue.
    Messages(Vec<SqsMessage>),
    /// Records of a table's stream, in the order of their shard.
    Changes(Vec<StreamChange>),
    /// Anything else: a schedule, a call.
    Other,
}

/// A record of a stream. A mapping reads its item; this holds its position.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StreamChange {
    /// The whole record as it came.
    pub(super) text: String,
    /// Its unique id.
    pub(super) id: String,
    /// The service's name for it in a report of failure.
    pub(super) sequence: String,
    /// The item's key. All changes of one item have the same.
    pub(super) keys: String,
    /// The approximate time of the change.
    pub(super) created: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Records<'a> {
    #[serde(rename = "Records", borrow, default)]
    records: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(rename = "eventSource", borrow, default)]
    source: Cow<'a, str>,
}

#[derive(Deserialize)]
struct StreamRecord<'a> {
    #[serde(rename = "eventID", default)]
    id: String,
    #[serde(borrow)]
    dynamodb: ItemChange<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ItemChange<'a> {
    sequence_number: String,
    #[serde(borrow)]
    keys: Option<&'a RawValue>,
    approximate_creation_date_time: Option<f64>,
}

impl Event {
    pub(super) fn read(text: &str) -> Result<Self, Failure> {
        let Ok(Records { records }) = serde_json::from_str(text) else { return Ok(Self::Other) };
        let Some(first) = records.first() else { return Ok(Self::Other) };
        let source = serde_json::from_str(first.get()).map_or(Cow::Borrowed(""), |Record { source }| source);
        let wrong = |what: &str, error| Failure::event(format!("{what} cannot be read: {error}"));
        match &*source {
            "aws:sqs" => {
                let event: SqsEvent = serde_json::from_str(text).map_err(|error| wrong("the messages", error))?;
                Ok(Self::Messages(event.records))
            }
            "aws:dynamodb" => {
                let changes = records.into_iter().map(change).collect::<Result<_, _>>();
                Ok(Self::Changes(changes.map_err(|error| wrong("the records of the stream", error))?))
            }
            "" => {
                Err(Failure::event("the records name no source; connect an SQS queue or a DynamoDB stream".to_owned()))
            }
            other => Err(Failure::event(format!(
                "this function reads no records of `{other}`; connect an SQS queue or a DynamoDB stream"
            ))),
        }
    }
}

/// A record must have its sequence number, because a failure could not be reported without it.
/// Everything else may be wrong with it.
fn change(record: &RawValue) -> serde_json::Result<StreamChange> {
    let StreamRecord { id, dynamodb } = serde_json::from_str(record.get())?;
    #[expect(clippy::cast_possible_truncation, reason = "a date that is out of range is none")]
    let created =
        dynamodb.approximate_creation_date_time.map(|seconds| Timestamp::from_millis((seconds * 1_000.0) as i64));
    let keys = dynamodb.keys.map_or("", RawValue::get).to_owned();
    Ok(StreamChange { text: record.get().to_owned(), id, sequence: dynamodb.sequence_number, keys, created })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_apart_by_their_records() {
        let sqs =
            r#"{"Records":[{"messageId":"1","body":"b","eventSource":"aws:sqs","attributes":{"SequenceNumber":"7"}}]}"#;
        let Ok(Event::Messages(messages)) = Event::read(sqs) else { panic!("messages") };
        assert_eq!(messages[0].body.as_deref(), Some("b"));
        let record = r#"{"eventID":"e","eventName":"INSERT","eventSource":"aws:dynamodb","dynamodb":{"Keys":{"a":{"S":"b"}},"SequenceNumber":"10000000000000000000001","ApproximateCreationDateTime":1.5}}"#;
        let Ok(Event::Changes(changes)) = Event::read(&format!("{{\"Records\":[{record}]}}")) else {
            panic!("changes")
        };
        let change = StreamChange {
            text: record.to_owned(),
            id: "e".to_owned(),
            sequence: "10000000000000000000001".to_owned(),
            keys: r#"{"a":{"S":"b"}}"#.to_owned(),
            created: Some(Timestamp::from_millis(1_500)),
        };
        assert_eq!(changes, [change]);
        for other in [r#"{"Records":[]}"#, r#"{"detail-type":"Scheduled Event"}"#, "{}", "1", "null", r#""text""#] {
            assert!(matches!(Event::read(other), Ok(Event::Other)), "{other}");
        }
        let error = Event::read(r#"{"Records":[{"eventSource":"aws:s3"}]}"#).unwrap_err();
        assert!(error.to_string().contains("aws:s3"), "{error}");
        assert!(Event::read(r#"{"Records":[{"eventSource":"aws:sqs","body":1}]}"#).is_err());
        assert!(Event::read(r#"{"Records":[{"eventSource":"aws:dynamodb","dynamodb":{}}]}"#).is_err());
        assert!(Event::read(r#"{"Records":[1]}"#).is_err());
    }
}
