//! The event of an invocation.

use std::borrow::Cow;

use aws_lambda_events::sqs::SqsMessage;
use deltafold_format::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::kinesis;
use super::stream::StreamChange;

/// An event, by the source of its records.
#[derive(Debug)]
pub(super) enum Event {
    /// Messages of a queue.
    Messages(Vec<SqsMessage>),
    /// Records of a stream, of DynamoDB or Kinesis, in the order of their shard.
    Changes(Vec<StreamChange>),
    /// Records of another source, with the whole event. Their service waits for no answer.
    Notices {
        /// The service, such as `aws:s3`.
        source: String,
        /// The event as it came.
        text: String,
    },
    /// Anything else: a schedule, a call.
    Other(String),
}

#[derive(Deserialize)]
struct Records<'a> {
    #[serde(rename = "Records", borrow, default)]
    records: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Record<'a> {
    // SNS writes it with a capital letter.
    #[serde(rename = "eventSource", alias = "EventSource", borrow, default)]
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
        let Some(records) = records(text) else { return Ok(Self::Other(text.to_owned())) };
        let Some(first) = records.first() else { return Ok(Self::Other(text.to_owned())) };
        let source = serde_json::from_str(first.get()).map_or(Cow::Borrowed(""), |Record { source }| source);
        let wrong =
            |what: &str, error: &dyn std::fmt::Display| Failure::event(format!("{what} cannot be read: {error}"));
        match &*source {
            "aws:sqs" => {
                let messages = records.into_iter().map(|record| serde_json::from_str(record.get()));
                let messages = messages.collect::<Result<_, _>>();
                Ok(Self::Messages(messages.map_err(|error| wrong("the messages", &error))?))
            }
            "aws:dynamodb" => {
                let changes = records.into_iter().map(change).collect::<Result<_, _>>();
                Ok(Self::Changes(changes.map_err(|error| wrong("the records of the stream", &error))?))
            }
            "aws:kinesis" => {
                let changes = records.into_iter().map(kinesis::change).collect::<Result<_, _>>();
                Ok(Self::Changes(changes.map_err(|error| wrong("the records of the stream", &error))?))
            }
            "" => Err(Failure::event(
                "the records name no source; connect an SQS queue, a DynamoDB stream or a Kinesis stream".to_owned(),
            )),
            other => Ok(Self::Notices { source: other.to_owned(), text: text.to_owned() }),
        }
    }

    /// The failure of a function that takes no such event.
    pub(super) fn unwanted(source: &str) -> Failure {
        Failure::event(format!(
            "this function reads no records of `{source}`; connect an SQS queue or a DynamoDB stream"
        ))
    }
}

/// The records of an event: those of AWS Lambda, or the bare list of EventBridge Pipes.
fn records(text: &str) -> Option<Vec<&RawValue>> {
    if text.trim_ascii_start().starts_with('[') {
        let list: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        let is_record =
            |value: &&RawValue| serde_json::from_str(value.get()).is_ok_and(|Record { source }| !source.is_empty());
        return list.iter().all(is_record).then_some(list);
    }
    serde_json::from_str(text).ok().map(|Records { records }| records)
}

/// A record must have its sequence number, because a failure could not be reported without it.
/// Everything else may be wrong with it.
fn change(record: &RawValue) -> serde_json::Result<StreamChange> {
    let StreamRecord { id, dynamodb } = serde_json::from_str(record.get())?;
    #[expect(clippy::cast_possible_truncation, reason = "a date that is out of range is none")]
    let created =
        dynamodb.approximate_creation_date_time.map(|seconds| Timestamp::from_millis((seconds * 1_000.0) as i64));
    let keys = dynamodb.keys.map_or("", RawValue::get).to_owned();
    let (text, sequence) = (record.get().to_owned(), dynamodb.sequence_number);
    // The service does not tell the shard, so the record has no place.
    Ok(StreamChange { text, id, sequence, keys, created, stream: String::new(), place: None })
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
            stream: String::new(),
            place: None,
        };
        assert_eq!(changes, [change]);
        for other in [r#"{"Records":[]}"#, r#"{"detail-type":"Scheduled Event"}"#, "{}", "1", "null", r#""text""#] {
            assert!(matches!(Event::read(other), Ok(Event::Other(text)) if text == other), "{other}");
        }
        for field in ["eventSource", "EventSource"] {
            let text = format!("{{\"Records\":[{{\"{field}\":\"aws:s3\"}}]}}");
            let Ok(Event::Notices { source, .. }) = Event::read(&text) else { panic!("{text}") };
            assert_eq!(source, "aws:s3");
        }
        let piped = r#"[{"messageId":"1","body":"b","eventSource":"aws:sqs"}]"#;
        assert!(matches!(Event::read(piped), Ok(Event::Messages(messages)) if messages.len() == 1));
        assert!(matches!(Event::read(r#"[{"op":"put","id":"a"}]"#), Ok(Event::Other(_))));
        assert!(Event::read(r#"{"Records":[{"eventSource":"aws:sqs","body":1}]}"#).is_err());
        assert!(Event::read(r#"{"Records":[{"eventSource":"aws:dynamodb","dynamodb":{}}]}"#).is_err());
        assert!(Event::read(r#"{"Records":[{"eventSource":"aws:kinesis","kinesis":{}}]}"#).is_err());
        assert!(Event::read(r#"{"Records":[1]}"#).is_err());
    }
}
