//! The reading of one body: envelopes are opened layer by layer, down to ops, records and objects.

#[cfg(feature = "mapping")]
use deltafold_format::{CollectionName, Revision};
use deltafold_format::{Op, OpRules};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::envelope::{self, Envelope, MAX_DEPTH};
#[cfg(feature = "mapping")]
use super::mapping::{Mapping, StreamRecord};
use super::reference::Reference;
use crate::jsonl::{LineError, parse_sourced_op_for};
use crate::log::IdempotencyKey;

/// All texts that are opened for one body, at most. Only gzip reaches it.
const MAX_OPENED: usize = 64 << 20;

/// The content of a body.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Body {
    /// The ops, in order.
    pub ops: Vec<Op>,
    /// The changes in order, if the ops name them: the idempotency key of each, and its number of
    /// ops.
    pub changes: Vec<(IdempotencyKey, usize)>,
    /// Records of a stream for which the mapping yields no op, though nothing is wrong with them.
    pub skipped: u64,
    /// Records of a stream, without the skipped ones. They have no position of their own in a
    /// collection ordered by its log.
    pub records: u64,
    /// Events that call for no op: the test event of a bucket, an object that was removed.
    pub ignored: u64,
    /// The objects that hold the ops, instead of the body.
    pub objects: Vec<Reference>,
}

/// The collection that a body is for.
pub(super) struct Target<'a> {
    pub(super) rules: OpRules,
    #[cfg(feature = "mapping")]
    pub(super) collection: &'a CollectionName,
    #[cfg(feature = "mapping")]
    pub(super) mapping: Option<&'a Mapping>,
    #[cfg(not(feature = "mapping"))]
    pub(super) no_mapping: std::marker::PhantomData<&'a ()>,
}

/// A body, as far as it is read.
pub(super) struct Reading<'a> {
    by: Target<'a>,
    body: Body,
    depth: usize,
    /// Bytes of the texts that were opened.
    opened: usize,
}

/// The place of an element, as messages name it.
#[derive(Clone, Copy)]
enum Place {
    /// It is the whole body.
    Alone,
    Line(u64),
    /// In a list.
    Element(u64),
}

impl Place {
    fn line(self) -> u64 {
        match self {
            Self::Alone => 1,
            Self::Line(number) | Self::Element(number) => number,
        }
    }

    fn named(self, reason: String) -> String {
        match self {
            Self::Alone => reason,
            Self::Line(number) => format!("line {number}: {reason}"),
            Self::Element(number) => format!("element {number}: {reason}"),
        }
    }
}

impl<'a> Reading<'a> {
    pub(super) fn new(by: Target<'a>) -> Self {
        Self { by, body: Body::default(), depth: 0, opened: 0 }
    }

    /// Reads a whole body.
    pub(super) fn read(mut self, text: &str) -> Result<Body, String> {
        self.text(text).map_err(|reason| if reason.is_empty() { "the body holds no op".to_owned() } else { reason })?;
        let Self { body, .. } = self;
        let holds_ops = !body.ops.is_empty() || body.skipped > 0;
        if !body.objects.is_empty() && holds_ops {
            return Err("the body names an object and holds ops, too; send them in messages of their own".to_owned());
        }
        let stand: usize = body.changes.iter().map(|(_, ops)| ops).sum();
        if stand > 0 && stand < body.ops.len() {
            return Err(format!(
                "{stand} of {} ops have `source` and `position`; give them to all ops of a body, or to none",
                body.ops.len()
            ));
        }
        Ok(body)
    }

    /// Reads a text with one or many elements. The reason is empty if it has none.
    fn text(&mut self, text: &str) -> Result<(), String> {
        let text = text.trim_start_matches('\u{feff}').trim_ascii();
        match text.as_bytes().first() {
            None => Err(String::new()),
            Some(b'[') => self.list(text),
            // A text that was encoded twice.
            Some(b'"') => match serde_json::from_str::<String>(text) {
                Ok(inner) => self.opened("the JSON string".to_owned(), &inner),
                Err(_) => self.lines(text),
            },
            // One object may span lines.
            Some(b'{') if !text.contains('\n') || serde_json::from_str::<IgnoredAny>(text).is_ok() => {
                self.element(text, Place::Alone)
            }
            Some(b'{') => self.lines(text),
            Some(_) => match envelope::base64_body(text) {
                Some(opened) => self.open(opened?),
                None => self.lines(text),
            },
        }
    }

    fn lines(&mut self, text: &str) -> Result<(), String> {
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim_ascii().is_empty());
        for (number, line) in lines {
            self.element(line, Place::Line(number))?;
        }
        Ok(())
    }

    fn list(&mut self, text: &str) -> Result<(), String> {
        if let Some(envelope) = envelope::recognise(text) {
            return self.open(envelope?);
        }
        let list: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|error| format!("the body is not a list of ops: {error}"))?;
        if list.is_empty() {
            return Err(String::new());
        }
        for (number, element) in (1..).zip(list) {
            self.element(element.get(), Place::Element(number))?;
        }
        Ok(())
    }

    /// Reads one op, or an envelope in its place.
    fn element(&mut self, text: &str, place: Place) -> Result<(), String> {
        // Most elements are ops, so an op is tried first.
        let error = match parse_sourced_op_for(text.as_bytes(), place.line(), self.by.rules) {
            Ok((op, key)) => {
                self.body.ops.push(op);
                match (key, self.body.changes.last_mut()) {
                    (None, _) => {}
                    (Some(key), Some((last, ops))) if key == *last => *ops += 1,
                    (Some(key), _) => self.body.changes.push((key, 1)),
                }
                return Ok(());
            }
            Err(error) => error,
        };
        match (envelope::recognise(text), place) {
            (Some(Ok(Envelope::Change)), _) => self.change(text).map_err(|reason| place.named(reason)),
            (Some(envelope), _) => {
                envelope.and_then(|envelope| self.open(envelope)).map_err(|reason| place.named(reason))
            }
            (None, Place::Element(number)) => Err(format!("op {number} of the list: {}", without_line(&error))),
            (None, _) => Err(error.to_string()),
        }
    }

    /// Reads what an envelope holds.
    fn open(&mut self, envelope: Envelope<'_>) -> Result<(), String> {
        match envelope {
            Envelope::Text(name, text) => return self.opened(name, &text),
            Envelope::Object(object) => self.body.objects.push(object),
            Envelope::Nothing(what) => {
                tracing::debug!(what, "it calls for no op");
                self.body.ignored += 1;
            }
            Envelope::Ops(list) => {
                let none = |reason: String| if reason.is_empty() { "`ops` holds no op".to_owned() } else { reason };
                return self.deeper(|reading| reading.list(list)).map_err(none);
            }
            Envelope::Records(records) => {
                return self.deeper(|reading| {
                    (1u64..).zip(records).try_for_each(|(number, record)| {
                        let read = reading.element(record, Place::Alone);
                        read.map_err(|reason| format!("record {number}: {reason}"))
                    })
                });
            }
            // Only an element is a change, and it has read its text.
            Envelope::Change => {}
        }
        Ok(())
    }

    /// Reads the text out of an envelope, as a body.
    fn opened(&mut self, name: String, text: &str) -> Result<(), String> {
        self.opened += text.len();
        if self.opened > MAX_OPENED {
            return Err(format!(
                "{name}: the message unpacks to more than {MAX_OPENED} bytes; put so much into an object"
            ));
        }
        self.deeper(|reading| reading.text(text)).map_err(|reason| {
            if reason.is_empty() { format!("{name} is empty: it holds no op") } else { format!("in {name}: {reason}") }
        })
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Result<(), String>) -> Result<(), String> {
        if self.depth == MAX_DEPTH {
            return Err(format!("envelopes are more than {MAX_DEPTH} deep; send the op in fewer"));
        }
        self.depth += 1;
        let done = read(self);
        self.depth -= 1;
        done
    }

    #[cfg(not(feature = "mapping"))]
    fn change(&mut self, _: &str) -> Result<(), String> {
        Err("a record of a DynamoDB stream, which this program was built without; build it with the feature `mapping`"
            .to_owned())
    }

    #[cfg(feature = "mapping")]
    fn change(&mut self, text: &str) -> Result<(), String> {
        let Some(mapping) = self.by.mapping else {
            return Err("a record of a DynamoDB stream needs a mapping; name one".to_owned());
        };
        let record: StreamRecord =
            serde_json::from_str(text).map_err(|error| format!("no record of a stream: {error}"))?;
        let mapped = mapping.map(self.by.collection, &record).map_err(|error| error.to_string())?;
        self.body.skipped += u64::from(mapped.skipped.is_some());
        self.body.records += u64::from(mapped.skipped.is_none());
        let revision = mapped.revision.filter(|_| self.by.rules.revisions).map(Revision::new);
        for op in mapped.ops {
            let op = Op { revision, ..op };
            op.validate(self.by.rules).map_err(|error| error.to_string())?;
            self.body.ops.push(op);
        }
        Ok(())
    }
}

/// The error of an element of a list, without a line number.
fn without_line(error: &LineError) -> String {
    let field = if error.field().is_empty() { String::new() } else { format!("field `{}`: ", error.field()) };
    format!("column {}: {field}{}", error.column(), error.reason())
}
