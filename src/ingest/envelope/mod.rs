//! Envelopes around ops: the forms in which services wrap what a program sent.
//!
//! This module recognises an envelope and says what it holds. It opens one layer, and knows neither
//! collections nor mappings. `docs/ingest/envelopes.md` has the table of what is taken in.

#[cfg(feature = "objects")]
mod encoded;
mod foreign;
mod s3_event;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::reference::Reference;

/// Envelopes within each other, at most. Real ones are three or four deep.
pub(super) const MAX_DEPTH: usize = 8;
/// The members of a pointer of the extended client libraries for SQS.
const POINTERS: [&str; 2] =
    ["software.amazon.payloadoffloading.PayloadS3Pointer", "com.amazon.sqs.javamessaging.MessageS3Pointer"];

/// One layer, opened.
#[derive(Debug, PartialEq)]
pub(super) enum Envelope<'a> {
    /// The name of the envelope, and the text in it, which is a body itself.
    Text(String, Cow<'a, str>),
    /// Records of an event, each an element like others.
    Records(Vec<&'a str>),
    /// Ops in a list, under `ops`.
    Ops(&'a str),
    /// A record of a DynamoDB stream.
    Change,
    /// An object of ops.
    Object(Reference),
    /// An event that calls for no op, and its name.
    Nothing(String),
}

/// The envelope that a text is, if it is one.
pub(super) type Recognised<'a> = Option<Result<Envelope<'a>, String>>;

/// The members of an object. Values stay text.
pub(super) struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    pub(super) fn read(text: &'a str) -> Option<Self> {
        if !text.trim_ascii_start().starts_with('{') {
            return None;
        }
        serde_json::from_str(text).ok().map(Self)
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|value| value.get())
    }

    /// A member that is a string.
    fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        let raw = self.raw(name).filter(|raw| raw.starts_with('"'))?;
        serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
    }

    /// A member that is an object, or a list.
    fn nested(&self, name: &str, opening: char) -> Option<&'a str> {
        self.raw(name).filter(|raw| raw.starts_with(opening))
    }

    fn inner(&self, name: &str) -> Option<Members<'a>> {
        self.nested(name, '{').and_then(Members::read)
    }

    fn value(&self, name: &str) -> Value {
        self.raw(name).and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default()
    }
}

/// Recognises a JSON text that is not an op.
pub(super) fn recognise(text: &str) -> Recognised<'_> {
    if text.trim_ascii_start().starts_with('[') {
        return pointer(text);
    }
    let members = Members::read(text)?;
    // An op with a mistake: its own error is better.
    let op = members.text("op");
    if op.is_some_and(|op| matches!(&*op, "put" | "add" | "upsert" | "patch" | "delete")) {
        return None;
    }
    let opened = event(&members).or_else(|| record(text, &members)).or_else(|| wrapped(&members));
    opened.or_else(|| foreign::name(&members).map(Err))
}

/// An event that holds many records, as AWS Lambda and `get-records` hand them over.
fn event<'a>(members: &Members<'a>) -> Recognised<'a> {
    let records = members.nested("Records", '[')?;
    let records: Vec<&'a RawValue> = serde_json::from_str(records).ok()?;
    Some(Ok(if records.is_empty() {
        Envelope::Nothing("an event without records".to_owned())
    } else {
        Envelope::Records(records.into_iter().map(RawValue::get).collect())
    }))
}

/// One record of a service, alone as EventBridge Pipes send it or out of an event.
fn record<'a>(text: &str, members: &Members<'a>) -> Recognised<'a> {
    let source = members.text("eventSource").or_else(|| members.text("EventSource"));
    let source = source.as_deref().unwrap_or_default();
    if members.has("dynamodb") {
        return Some(Ok(Envelope::Change));
    }
    if let Some(event) = members.inner("s3") {
        return Some(s3_event::classic(&members.text("eventName").unwrap_or_default(), &event));
    }
    if members.has("s3") {
        return Reference::read(text).map(|read| read.map(Envelope::Object));
    }
    if let Some(notification) = members.inner("Sns") {
        return Some(body_of(&notification, "Message", "the SNS notification"));
    }
    match source {
        "aws:sqs" => Some(body_of(members, "body", "the message of a queue")),
        "aws:kinesis" => {
            let record = members.inner("kinesis");
            let data = record.as_ref().unwrap_or(members).text("data");
            Some(match data {
                Some(data) => unpacked(&data).map(|text| Envelope::Text("the Kinesis record".to_owned(), text.into())),
                None => Err("the Kinesis record has no `data`".to_owned()),
            })
        }
        _ => None,
    }
}

/// An envelope that holds a body in one of its members.
fn wrapped<'a>(members: &Members<'a>) -> Recognised<'a> {
    match members.text("Type").as_deref() {
        Some("Notification") if members.has("TopicArn") => {
            return Some(body_of(members, "Message", "the SNS notification"));
        }
        Some(kind @ ("SubscriptionConfirmation" | "UnsubscribeConfirmation")) => {
            return Some(Err(format!(
                "an SNS `{kind}` holds no op; confirm it by its `SubscribeURL` and delete it, or let the owner of the queue subscribe it"
            )));
        }
        _ => {}
    }
    if let Some(kind) = members.text("detail-type") {
        let source = members.text("source").unwrap_or_default();
        if source == "aws.s3" {
            return Some(s3_event::of_event_bridge(&kind, &members.value("detail")));
        }
        if source.starts_with("aws.") {
            return Some(Err(foreign::of_event_bridge(&source, &kind)));
        }
        let name = format!("the EventBridge event of `{}`", cut(&source));
        return Some(match members.text("detail") {
            Some(text) => Ok(Envelope::Text(name, text)),
            None => members.raw("detail").map(|detail| Envelope::Text(name, detail.into())).ok_or_else(|| {
                "an EventBridge event without `detail` holds no op; send the op as the `Detail` of the event".to_owned()
            }),
        });
    }
    if members.text("Event").as_deref() == Some("s3:TestEvent") {
        return Some(Ok(Envelope::Nothing("the test event of a bucket".to_owned())));
    }
    match members.nested("ops", '[') {
        Some(ops) if members.0.len() == 1 => Some(Ok(Envelope::Ops(ops))),
        _ => None,
    }
}

fn body_of<'a>(members: &Members<'a>, name: &str, what: &str) -> Result<Envelope<'a>, String> {
    let text = members.text(name);
    text.map(|text| Envelope::Text(what.to_owned(), text)).ok_or_else(|| format!("{what} has no text in `{name}`"))
}

/// The pointer to an object that the extended client libraries for SQS send instead of a large
/// body.
fn pointer(text: &str) -> Recognised<'_> {
    let list: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let [class, place] = list[..] else { return None };
    let class: String = serde_json::from_str(class.get()).ok()?;
    if !POINTERS.contains(&&*class) {
        return None;
    }
    let members = Members::read(place.get());
    let part = |name: &str| members.as_ref().and_then(|members| members.text(name)).unwrap_or_default().into_owned();
    let (bucket, key) = (part("s3BucketName"), part("s3Key"));
    Some(if bucket.is_empty() || key.is_empty() {
        Err("the pointer of an extended client library names no object; it has `s3BucketName` and `s3Key`".to_owned())
    } else {
        Ok(Envelope::Object(Reference { bucket, key, ..Reference::default() }))
    })
}

/// A text of Base64 that holds JSON.
#[cfg(feature = "objects")]
pub(super) fn base64_body(text: &str) -> Recognised<'static> {
    let decoded = encoded::body(text)?;
    Some(decoded.map(|text| Envelope::Text("the Base64 text".to_owned(), text.into())))
}

#[cfg(not(feature = "objects"))]
pub(super) fn base64_body(_: &str) -> Recognised<'static> {
    None
}

#[cfg(feature = "objects")]
fn unpacked(data: &str) -> Result<String, String> {
    encoded::record(data)
}

#[cfg(not(feature = "objects"))]
fn unpacked(_: &str) -> Result<String, String> {
    Err("a Kinesis record, which this program was built without; build it with the feature `objects`".to_owned())
}

/// A text of a message in the form for messages.
fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(all(test, feature = "objects"))]
mod tests;
