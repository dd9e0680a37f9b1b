//! Stream records in a text: one or many, in every form that the service and its tools print.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::stream::StreamRecord;

/// The line of the text where a record begins, and the record or the reason why it is none.
pub type Sample = (usize, Result<StreamRecord, String>);

/// The output of `aws dynamodbstreams get-records`, or an event of Lambda.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<&'a RawValue>,
}

/// The stream records of a text. It may hold records or events one after the other, with or without
/// line breaks between, or a list of them. An event is an object with `Records`, as AWS Lambda
/// sends and `aws dynamodbstreams get-records` prints them. Reads nothing behind the first text
/// that is not JSON.
pub fn stream_records(text: &str) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let line_of = |part: &str| {
        // Parts are slices of the text, so this is an offset in it.
        let offset = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
        1 + text.as_bytes().get(..offset).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count()
    };
    let read = |value: &RawValue| {
        let json = value.get();
        (line_of(json), serde_json::from_str(json).map_err(|error| reason(&error, line_of(json))))
    };
    for value in &mut values {
        let value = match value {
            Ok(value) => value,
            Err(error) => {
                samples.push((error.line(), Err(format!("not valid JSON: {error}"))));
                break;
            }
        };
        let json = value.get();
        if let Ok(event) = serde_json::from_str::<Event<'_>>(json) {
            samples.extend(event.records.into_iter().map(read));
        } else if let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(json) {
            samples.extend(list.into_iter().map(read));
        } else {
            samples.push(read(value));
        }
    }
    samples
}

/// serde_json's message, with the line of the text instead of that of the record.
fn reason(error: &serde_json::Error, begins: usize) -> String {
    let said = error.to_string();
    let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(reason, _)| reason);
    let (line, column) = (begins + error.line().saturating_sub(1), error.column());
    format!("no record of a stream: {said} (line {line}, column {column})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_in_every_form() {
        let one = r#"{"eventID":"1","eventName":"REMOVE","dynamodb":{"Keys":{"a":{"S":"b"}}}}"#;
        let lines = |text: &str| -> Vec<(usize, bool)> {
            stream_records(text).into_iter().map(|(line, record)| (line, record.is_ok())).collect()
        };
        assert_eq!(lines(one), [(1, true)]);
        assert_eq!(lines(&format!("{one}\n\n{one}\n")), [(1, true), (3, true)]);
        assert_eq!(lines(&format!("[\n{one},\n{one}]")), [(2, true), (3, true)]);
        assert_eq!(lines(&format!("{{\"Records\": [\n{one}\n]}}{{\"Records\":[]}}\n{one}")), [(2, true), (4, true)]);
        assert_eq!(
            lines(&format!("{one}\n{{}}\n1\n{one}\n{{")),
            [(1, true), (2, false), (3, false), (4, true), (5, false)]
        );
        assert_eq!(lines(""), []);
    }

    #[test]
    fn a_sample_that_is_no_event_names_its_line() {
        for (text, words) in [
            ("{}", "missing field `eventName`"),
            (r#"{"eventName":"READ","dynamodb":{}}"#, "unknown variant `READ`"),
            ("\n{\"eventName\":\"INSERT\",\n\"dynamodb\":{\"Keys\":{\"a\":{\"X\":1}}}}", "unknown variant `X`"),
            ("\n{\"eventName\":\"INSERT\",\n\"dynamodb\":{\"Keys\":{\"a\":{\"X\":1}}}}", "(line 3, column"),
            (r#"{"eventName":"INSERT","dynamodb":{"NewImage":{"a":{"B":"?"}}}}"#, "no Base64"),
            ("nonsense", "not valid JSON"),
        ] {
            let reason = stream_records(text).remove(0).1.unwrap_err();
            assert!(reason.contains(words), "{text}: {reason}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_records_or_is_told(text in "[{}\\[\\]:,\"a0 \nRecords]{0,40}") {
            drop(stream_records(&text));
        }
    }
}
