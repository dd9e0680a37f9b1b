//! What an invocation is about.

use std::borrow::Cow;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use serde::Deserialize;

use super::failure::Failure;

/// An event, told apart by where its records come from.
#[derive(Debug)]
pub(super) enum Event {
    /// Messages of a queue.
    Messages(Vec<SqsMessage>),
    /// Anything else: a schedule, a call.
    Other,
}

#[derive(Deserialize)]
struct Records<'a> {
    #[serde(rename = "Records", borrow, default)]
    records: Vec<Record<'a>>,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(rename = "eventSource", borrow, default)]
    source: Cow<'a, str>,
}

impl Event {
    pub(super) fn read(text: &str) -> Result<Self, Failure> {
        let Ok(Records { records }) = serde_json::from_str(text) else { return Ok(Self::Other) };
        let Some(Record { source }) = records.first() else { return Ok(Self::Other) };
        match &**source {
            "aws:sqs" => {
                let event: SqsEvent = serde_json::from_str(text).map_err(|error| {
                    Failure::event(format!("the messages of a queue are not as they should be: {error}"))
                })?;
                Ok(Self::Messages(event.records))
            }
            other => Err(Failure::event(format!("records of `{other}` are nothing that this function understands"))),
        }
    }
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
        for other in [r#"{"Records":[]}"#, r#"{"detail-type":"Scheduled Event"}"#, "{}", "1", "null", r#""text""#] {
            assert!(matches!(Event::read(other), Ok(Event::Other)), "{other}");
        }
        let error = Event::read(r#"{"Records":[{"eventSource":"aws:s3"}]}"#).unwrap_err();
        assert!(error.to_string().contains("aws:s3"), "{error}");
        assert!(Event::read(r#"{"Records":[{"eventSource":"aws:sqs","body":1}]}"#).is_err());
    }
}
