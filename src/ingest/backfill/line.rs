//! An item of an export or a scan as the record that a stream would show of it.

use serde::Deserialize;

use crate::ingest::mapping::{Attribute, Event, Item, ItemChange, StreamRecord};

/// The form of the items of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `{"Item":{…}}`.
    Full,
    /// `{"Metadata":{…},"Keys":{…},"OldImage":{…},"NewImage":{…}}`.
    Incremental,
    /// The item itself. Lines of exports are read as well, for those that were turned away.
    Scan,
}

/// The origin of the items of an input.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) form: Form,
    pub(super) table_arn: Option<String>,
    pub(super) table: Option<String>,
    /// The revision of an item that shows no other, for rules whose revision is the sequence number
    /// of the stream.
    pub(super) revision: Option<u128>,
}

#[derive(Deserialize)]
struct Full {
    #[serde(rename = "Item")]
    item: Item,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Incremental {
    metadata: Option<Metadata>,
    keys: Item,
    old_image: Option<Item>,
    new_image: Option<Item>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "WriteTimestampMicros")]
    written: Number,
}

/// A number as an attribute, as the service writes it, or as a JSON number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(u64),
    Attribute {
        #[serde(rename = "N")]
        digits: String,
    },
}

impl Origin {
    /// Parses an item.
    pub(super) fn record(&self, text: &[u8]) -> Result<StreamRecord, String> {
        let wrong = |error: serde_json::Error| format!("it is not {}: {error}", self.form.what());
        let whole = |item: Item| {
            let sequence = Some(self.revision.unwrap_or(0).to_string());
            (Event::Insert, ItemChange { keys: Item::new(), new: Some(item), old: None, sequence })
        };
        let (event, change) = match self.form {
            Form::Full => whole(serde_json::from_slice::<Full>(text).map_err(wrong)?.item),
            // No change of an incremental export is an item, because its `Keys` are no attribute.
            Form::Scan => match (serde_json::from_slice::<Item>(text), serde_json::from_slice::<Incremental>(text)) {
                (Ok(item), _) => whole(item),
                (Err(_), Ok(change)) => self.change(change),
                (Err(error), Err(_)) => return Err(wrong(error)),
            },
            Form::Incremental => self.change(serde_json::from_slice(text).map_err(wrong)?),
        };
        Ok(StreamRecord {
            event_id: None,
            event,
            source_arn: self.table_arn.clone(),
            table_name: self.table.clone(),
            user_identity: None,
            change,
        })
    }

    fn change(&self, read: Incremental) -> (Event, ItemChange) {
        // Without the old image, as in an export of new images alone, the item may be old.
        // A put of the whole item is right in either case.
        let event = match (&read.old_image, &read.new_image) {
            (_, None) => Event::Remove,
            (None, Some(_)) => Event::Insert,
            (Some(_), Some(_)) => Event::Modify,
        };
        let written = read.metadata.map(|metadata| match metadata.written {
            Number::Plain(number) => number.to_string(),
            Number::Attribute { digits } => digits,
        });
        let sequence = self.revision.map(|revision| revision.to_string()).or(written);
        (event, ItemChange { keys: read.keys, new: read.new_image, old: read.old_image, sequence })
    }
}

impl Form {
    fn what(self) -> &'static str {
        match self {
            Self::Full => "an item of a full export, `{\"Item\":{…}}`",
            Self::Incremental => "a change of an incremental export, with `Keys`",
            Self::Scan => "an item in DynamoDB JSON",
        }
    }
}

/// The key of an item for messages. Only incremental exports tell it. Otherwise these are its first
/// plain attributes, those named like a key before all.
pub(super) fn key_of(record: &StreamRecord) -> String {
    let change = &record.change;
    let item = if change.keys.is_empty() { change.new.as_ref() } else { Some(&change.keys) };
    let plain = item.into_iter().flatten().filter_map(|(name, attribute)| match attribute {
        Attribute::String(text) | Attribute::Number(text) => Some((name, text)),
        _ => None,
    });
    let mut plain: Vec<_> = plain.collect();
    let rank = |name: &str| {
        let known = ["pk", "partitionkey", "hashkey", "id", "sk", "sortkey", "rangekey"];
        let name = name.to_ascii_lowercase().replace(['_', '-'], "");
        known.iter().position(|known| *known == name).unwrap_or(known.len())
    };
    plain.sort_by_key(|(name, _)| rank(name));
    let shown = |(name, text): &(&String, &String)| format!("{name}={}", short(text));
    let shown: Vec<String> = plain.iter().take(3).map(shown).collect();
    if shown.is_empty() { "without a plain attribute".to_owned() } else { shown.join(" ") }
}

fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(form: Form) -> Origin {
        Origin { form, table_arn: None, table: None, revision: None }
    }

    #[test]
    fn changes_of_an_incremental_export_are_told_apart() {
        let event = |images: &str| {
            let text = format!(
                r#"{{"Metadata":{{"WriteTimestampMicros":{{"N":"1790000000123456"}}}},"Keys":{{"pk":{{"S":"x"}}}}{images}}}"#
            );
            let record = origin(Form::Incremental).record(text.as_bytes()).unwrap();
            (record.event, record.sequence())
        };
        let (old, new) = (r#","OldImage":{"pk":{"S":"x"}}"#, r#","NewImage":{"pk":{"S":"x"}}"#);
        let at = Some(1_790_000_000_123_456);
        assert_eq!(event(new), (Event::Insert, at));
        assert_eq!(event(&format!("{old}{new}")), (Event::Modify, at));
        assert_eq!(event(old), (Event::Remove, at));
        assert_eq!(event(""), (Event::Remove, at));
        let plain = br#"{"Metadata":{"WriteTimestampMicros":7},"Keys":{"pk":{"S":"x"}}}"#;
        assert_eq!(origin(Form::Incremental).record(plain).unwrap().sequence(), Some(7));
    }

    /// The text of a change that was turned away comes in again like the output of a scan.
    #[test]
    fn a_scan_reads_changes_of_an_incremental_export() {
        let text =
            br#"{"Metadata":{"WriteTimestampMicros":{"N":"7"}},"Keys":{"pk":{"S":"x"}},"OldImage":{"pk":{"S":"x"}}}"#;
        let record = origin(Form::Scan).record(text).unwrap();
        assert_eq!((record.event, record.sequence()), (Event::Remove, Some(7)));
        let item = origin(Form::Scan).record(br#"{"Keys":{"S":"x"}}"#).unwrap();
        assert_eq!((item.event, item.sequence()), (Event::Insert, Some(0)));
    }

    #[test]
    fn items_of_another_form_are_refused() {
        for (form, text, words) in [
            (Form::Full, r#"{"Keys":{}}"#, "missing field `Item`"),
            (Form::Incremental, r#"{"Item":{}}"#, "missing field `Keys`"),
            (Form::Scan, r#"{"a":1}"#, "an item in DynamoDB JSON"),
            (Form::Full, r#"{"Item":{"a":{"X":1}}}"#, "unknown variant `X`"),
        ] {
            let reason = origin(form).record(text.as_bytes()).unwrap_err();
            assert!(reason.contains(words), "{text}: {reason}");
        }
    }

    #[test]
    fn the_key_of_an_item_is_shown_first() {
        let of = |form, text: &str| key_of(&origin(form).record(text.as_bytes()).unwrap());
        let item = r#"{"Item":{"a":{"N":"1"},"SK":{"S":"s"},"b":{"S":"2"},"pk":{"S":"p\n"},"v":{"L":[]}}}"#;
        assert_eq!(of(Form::Full, item), "pk=p\\n SK=s a=1");
        assert_eq!(of(Form::Full, r#"{"Item":{}}"#), "without a plain attribute");
        assert_eq!(of(Form::Incremental, r#"{"Keys":{"k":{"S":"x"}},"NewImage":{"a":{"S":"y"}}}"#), "k=x");
    }
}
