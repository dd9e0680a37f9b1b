//! The place of a record of a Kinesis data stream.
//!
//! The service delivers the records of a partition key in order, also where it works on several
//! batches of a shard at once. So a partition key in a shard is a source, and the sequence number
//! is the position in it. A mark for a whole shard would drop records that another batch holds.

use deltafold_format::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use super::stream::StreamChange;

/// Digits of a sequence number that a position takes. It has about 56, which exceed 128 bits. The
/// digits before them stay the same for more records than a shard can hold.
const POSITION_DIGITS: usize = 38;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[serde(rename = "eventID", default)]
    event_id: String,
    #[serde(rename = "eventSourceARN", default)]
    event_source_arn: String,
    /// Absent where EventBridge Pipes send the record: its members stand beside these.
    kinesis: Option<Data>,
    #[serde(flatten)]
    flat: Data,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Data {
    partition_key: String,
    sequence_number: String,
    approximate_arrival_timestamp: Option<f64>,
}

/// A record must have its sequence number, because a failure could not be reported without it.
pub(super) fn change(record: &RawValue) -> Result<StreamChange, String> {
    let Record { event_id, event_source_arn, kinesis, flat } =
        serde_json::from_str(record.get()).map_err(|error| error.to_string())?;
    let Data { partition_key, sequence_number, approximate_arrival_timestamp } = kinesis.unwrap_or(flat);
    if sequence_number.is_empty() {
        return Err("a record has no `sequenceNumber`".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, reason = "a date that is out of range is none")]
    let created = approximate_arrival_timestamp.map(|seconds| Timestamp::from_millis((seconds * 1_000.0) as i64));
    Ok(StreamChange {
        text: record.get().to_owned(),
        place: place(&event_id, &partition_key, &sequence_number),
        stream: event_source_arn.strip_prefix("arn:").unwrap_or(&event_source_arn).to_owned(),
        id: event_id,
        sequence: sequence_number,
        keys: partition_key,
        created,
    })
}

/// The partition key in its shard as a group, and the position there. `None` if the record does not
/// tell them: `eventID` is `SHARD:SEQUENCE`.
fn place(event_id: &str, partition_key: &str, sequence: &str) -> Option<(String, u128)> {
    let (shard, _) = event_id.split_once(':').filter(|(shard, _)| shard.starts_with("shardId-"))?;
    if sequence.is_empty() || !sequence.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (high, low) = sequence.split_at(sequence.len().saturating_sub(POSITION_DIGITS));
    let key = xxh3_128(format!("{high}/{partition_key}").as_bytes());
    Some((format!("{shard}/{key:032x}"), low.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEQUENCE: &str = "49590338271490256608559692538361571095921575989136588898";

    #[test]
    fn positions_rise_with_the_sequence_number_of_a_key() {
        let at = |sequence: &str, key: &str| place(&format!("shardId-000000000006:{sequence}"), key, sequence);
        let (group, position) = at(SEQUENCE, "k").unwrap();
        assert!(group.starts_with("shardId-000000000006/"), "{group}");
        assert_eq!(position, 8_559_692_538_361_571_095_921_575_989_136_588_898);
        let (same, next) = at(&SEQUENCE.replace("588898", "588899"), "k").unwrap();
        assert_eq!((same, next), (group.clone(), position + 1));
        assert_ne!(at(SEQUENCE, "l").unwrap().0, group, "each key has a group of its own");
        // Where the first digits change, the source is another. So no position ever falls in one.
        let (other, lower) = at(&format!("5{}", &SEQUENCE[1..]), "k").unwrap();
        assert!(other != group && lower == position);
        assert_eq!(at("7", "k").unwrap().1, 7);
        for (id, sequence) in [("e1", SEQUENCE), ("shardId-1:x", "x"), ("shardId-1:", "")] {
            assert_eq!(place(id, "k", sequence), None, "{id}");
        }
    }

    #[test]
    fn records_of_lambda_and_of_pipes_are_the_same() {
        let read = |text: String| change(&RawValue::from_string(text).unwrap());
        let event = format!(
            "\"eventID\":\"shardId-000000000000:{SEQUENCE}\",\"eventSourceARN\":\"arn:aws:kinesis:r:a:stream/s\""
        );
        let data = format!(
            "\"partitionKey\":\"k\",\"sequenceNumber\":\"{SEQUENCE}\",\"data\":\"e30=\",\"approximateArrivalTimestamp\":1.5"
        );
        let nested = read(format!("{{{event},\"kinesis\":{{{data}}}}}")).unwrap();
        let flat = read(format!("{{{event},{data}}}")).unwrap();
        assert_eq!((nested.stream.as_str(), nested.sequence.as_str()), ("aws:kinesis:r:a:stream/s", SEQUENCE));
        assert_eq!(nested.created, Some(Timestamp::from_millis(1_500)));
        assert_eq!(StreamChange { text: String::new(), ..nested }, StreamChange { text: String::new(), ..flat });
        assert!(read(format!("{{{event}}}")).unwrap_err().contains("sequenceNumber"));
    }
}
