//! The meaning of a message body.

#[cfg(feature = "mapping")]
use deltafold_format::Revision;
use deltafold_format::{Op, OpRules};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::delivery::Cause;
#[cfg(feature = "mapping")]
use super::mapping::{Mapping, StreamRecord, stream_records};
#[cfg(feature = "objects")]
use super::objects::Objects;
use super::reference::{Loaded, Reference};
use crate::collection::Collection;
#[cfg(feature = "mapping")]
use crate::error::{Error, Result};
use crate::jsonl::{LineError, parse_sourced_op_for};
use crate::log::{IdempotencyKey, Writer};

/// The parser of message bodies for one collection. Clones share its state.
///
/// A body is one op, a JSON list of ops, or one op a line, each in the form of
/// [`jsonl`](crate::jsonl). With a mapping, a record of a DynamoDB stream or an event of AWS Lambda
/// (`Records`) may stand in place of an op. Blank lines do not count.
///
/// A body may also name an object of ops instead of holding them: `{"s3":"s3://BUCKET/KEY"}`.
///
/// Ops may name their [idempotency key](crate::IdempotencyKey), `source` and `position`: all of a
/// body or none. Adjacent ops of one position are one change.
#[derive(Debug, Clone)]
pub struct BodyReader {
    rules: OpRules,
    #[cfg(feature = "mapping")]
    collection: deltafold_format::CollectionName,
    #[cfg(feature = "mapping")]
    mapping: Option<Mapping>,
    #[cfg(feature = "objects")]
    objects: Option<Objects>,
}

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
    /// The object that holds the ops, instead of the body.
    pub object: Option<Reference>,
}

impl BodyReader {
    /// A reader of bodies for this collection.
    pub fn new(collection: &Collection) -> Self {
        Self {
            rules: collection.config().rules(),
            #[cfg(feature = "mapping")]
            collection: collection.name().clone(),
            #[cfg(feature = "mapping")]
            mapping: None,
            #[cfg(feature = "objects")]
            objects: None,
        }
    }

    /// Also accepts bodies that name an object in this place.
    #[cfg(feature = "objects")]
    pub fn with_objects(self, objects: Objects) -> Self {
        Self { objects: Some(objects), ..self }
    }

    /// Also accepts records of DynamoDB streams, by this mapping.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the mapping has no rule for the collection: it would skip everything.
    #[cfg(feature = "mapping")]
    pub fn with_mapping(self, mapping: Mapping) -> Result<Self> {
        let known = mapping.collections();
        if !known.contains(&&self.collection) {
            let known: Vec<&str> = known.into_iter().map(|name| name.as_str()).collect();
            let (own, others) = (&self.collection, known.join(", "));
            let reason = format!("the mapping has no rule for collection `{own}`; its rules are for {others}");
            return Err(Error::invalid(reason));
        }
        Ok(Self { mapping: Some(mapping), ..self })
    }

    /// Appends the object that a body names. Returns when all of it is in the log, or `stop` is
    /// ready.
    #[cfg(feature = "objects")]
    pub(super) async fn load(
        &self,
        writer: &Writer,
        of: &Reference,
        stop: std::pin::Pin<&mut (impl Future<Output = ()> + ?Sized)>,
    ) -> Loaded {
        match &self.objects {
            Some(objects) => objects.load(writer, of, self.rules, stop).await,
            None => {
                let reason = format!(
                    "the body names the object `{of}`, but no place for objects is set; set it with `--objects` or DELTAFOLD_OBJECTS"
                );
                Loaded { ops: 0, failure: Some((reason, Cause::NotUnderstood)) }
            }
        }
    }

    #[cfg(not(feature = "objects"))]
    pub(super) async fn load(
        &self,
        _: &Writer,
        of: &Reference,
        _: std::pin::Pin<&mut (impl Future<Output = ()> + ?Sized)>,
    ) -> Loaded {
        let reason = format!(
            "the body names the object `{of}`, which this program was built without; build it with the feature `objects`"
        );
        Loaded { ops: 0, failure: Some((reason, Cause::NotUnderstood)) }
    }

    /// Whether revisions order the ops.
    pub(super) fn by_revision(&self) -> bool {
        self.rules.revisions
    }

    /// Parses a body.
    ///
    /// # Errors
    ///
    /// A sentence that names the first bad op or record and the reason, or says that the body holds
    /// none.
    pub fn read(&self, body: &str) -> Result<Body, String> {
        // Programs of Windows begin a text with a byte order mark.
        let text = body.trim_ascii().trim_start_matches('\u{feff}').trim_ascii_start();
        if let Some(object) = Reference::read(text) {
            return Ok(Body { object: Some(object?), ..Body::default() });
        }
        let mut read = Body::default();
        let mut found = 0u64;
        if text.starts_with('[') {
            let list: Vec<&RawValue> =
                serde_json::from_str(text).map_err(|error| format!("the body is not a list of ops: {error}"))?;
            for (number, element) in (1..).zip(list) {
                found += 1;
                self.element(&mut read, element.get(), number, true)?;
            }
        } else if is_record(text) && serde_json::from_str::<IgnoredAny>(text).is_ok() {
            // One record or event, which may span lines.
            found += 1;
            self.element(&mut read, text, 1, false)?;
        } else {
            for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim_ascii().is_empty()) {
                found += 1;
                self.element(&mut read, line, number, false)?;
            }
        }
        if found == 0 {
            return Err("the body holds no op".to_owned());
        }
        let stand: usize = read.changes.iter().map(|(_, ops)| ops).sum();
        if stand > 0 && stand < read.ops.len() {
            return Err(format!(
                "{stand} of {} ops have `source` and `position`; give them to all ops of a body, or to none",
                read.ops.len()
            ));
        }
        Ok(read)
    }

    /// Reads one op or record: a line, or an element of a list.
    fn element(&self, read: &mut Body, text: &str, number: u64, listed: bool) -> Result<(), String> {
        if is_record(text) {
            let place = if listed { format!("element {number}") } else { format!("line {number}") };
            return self.records(read, text).map_err(|reason| format!("{place}: {reason}"));
        }
        let (op, key) = parse_sourced_op_for(text.as_bytes(), number, self.rules).map_err(|error| {
            if listed { format!("op {number} of the list: {}", without_line(&error)) } else { error.to_string() }
        })?;
        read.ops.push(op);
        match (key, read.changes.last_mut()) {
            (None, _) => {}
            (Some(key), Some((last, ops))) if key == *last => *ops += 1,
            (Some(key), _) => read.changes.push((key, 1)),
        }
        Ok(())
    }

    #[cfg(not(feature = "mapping"))]
    fn records(&self, _: &mut Body, _: &str) -> Result<(), String> {
        Err("a record of a DynamoDB stream, which this program was built without; build it with the feature `mapping`"
            .to_owned())
    }

    #[cfg(feature = "mapping")]
    fn records(&self, read: &mut Body, text: &str) -> Result<(), String> {
        for (number, (_, record)) in (1..).zip(stream_records(text)) {
            self.record(read, &record?).map_err(|reason| format!("record {number}: {reason}"))?;
        }
        Ok(())
    }

    #[cfg(feature = "mapping")]
    fn record(&self, read: &mut Body, record: &StreamRecord) -> Result<(), String> {
        let Some(mapping) = &self.mapping else {
            return Err("a record of a DynamoDB stream needs a mapping; name one".to_owned());
        };
        let mapped = mapping.map(&self.collection, record).map_err(|error| error.to_string())?;
        read.skipped += u64::from(mapped.skipped.is_some());
        read.records += u64::from(mapped.skipped.is_none());
        let revision = mapped.revision.filter(|_| self.rules.revisions).map(Revision::new);
        for op in mapped.ops {
            let op = Op { revision, ..op };
            op.validate(self.rules).map_err(|error| error.to_string())?;
            read.ops.push(op);
        }
        Ok(())
    }
}

/// Whether a JSON text is a record of a stream, or an event with records, by its members.
fn is_record(text: &str) -> bool {
    #[derive(Default)]
    struct Members {
        record: bool,
        op: bool,
    }
    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
            struct Look;
            impl<'de> serde::de::Visitor<'de> for Look {
                type Value = Members;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> std::result::Result<Members, A::Error> {
                    let mut members = Members::default();
                    while let Some((name, IgnoredAny)) = map.next_entry::<std::borrow::Cow<'de, str>, _>()? {
                        members.record |= name == "dynamodb" || name == "Records";
                        members.op |= name == "op";
                    }
                    Ok(members)
                }
            }
            deserializer.deserialize_map(Look)
        }
    }
    // Most bodies are ops, so this spares them a second parse.
    (text.contains("\"dynamodb\"") || text.contains("\"Records\""))
        && serde_json::from_str::<Members>(text).is_ok_and(|members| members.record && !members.op)
}

/// The error of an element of a list, without a line number.
fn without_line(error: &LineError) -> String {
    let field = if error.field().is_empty() { String::new() } else { format!("field `{}`: ", error.field()) };
    format!("column {}: {field}{}", error.column(), error.reason())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn reader() -> BodyReader {
        BodyReader {
            rules: OpRules::log(2),
            #[cfg(feature = "mapping")]
            collection: "c".parse().unwrap(),
            #[cfg(feature = "mapping")]
            mapping: None,
            #[cfg(feature = "objects")]
            objects: None,
        }
    }

    fn refused(reader: &BodyReader, body: &str, words: &[&str]) {
        let reason = reader.read(body).unwrap_err();
        assert!(words.iter().all(|word| reason.contains(word)), "{body}: {reason}");
    }

    #[test]
    fn one_op_a_list_or_one_a_line() {
        let ids =
            |body: &str| -> Vec<String> { reader().read(body).unwrap().ops.into_iter().map(|op| op.id).collect() };
        assert_eq!(ids(r#"{"op":"delete","id":"a"}"#), ["a"]);
        assert_eq!(ids("  [ {\"op\":\"delete\",\"id\":\"a\"},\n{\"op\":\"delete\",\"id\":\"b\"} ]\n"), ["a", "b"]);
        assert_eq!(ids("{\"op\":\"delete\",\"id\":\"a\"}\r\n\n{\"op\":\"put\",\"id\":\"b\"}\n"), ["a", "b"]);
        assert_eq!(ids(r#"{"op":"put","id":"a","document":"\"dynamodb\" \"Records\""}"#), ["a"]);
    }

    #[test]
    fn ops_say_where_they_stand() {
        let op = |source: &str, position: &str| {
            format!(r#"{{"op":"delete","id":"a","source":"{source}","position":{position}}}"#)
        };
        let changes = |body: &str| -> Vec<(String, u128, usize)> {
            let changes = reader().read(body).unwrap().changes.into_iter();
            changes.map(|(key, ops)| (key.source, key.position, ops)).collect()
        };
        let most = u128::MAX;
        assert_eq!(changes(&op("s", &format!("\"{most}\""))), [("s".into(), most, 1)]);
        let list = format!("[{},{},{},{}]", op("s", "7"), op("s", "\"7\""), op("s", "8"), op("t", "8"));
        assert_eq!(changes(&list), [("s".into(), 7, 2), ("s".into(), 8, 1), ("t".into(), 8, 1)]);
        assert_eq!(changes(&format!("{}\n{}\n", op("s", "7"), op("s", "7"))), [("s".into(), 7, 2)]);
        assert_eq!(changes(r#"{"op":"delete","id":"a"}"#), []);
    }

    #[test]
    fn where_an_op_stands_is_said_well_or_refused() {
        let refused = |more: &str, words: &[&str]| {
            refused(&reader(), &format!(r#"{{"op":"delete","id":"a",{more}}}"#), words);
        };
        refused(r#""source":"s""#, &["line 1, column 34", "field `source`", "`position` is missing"]);
        refused(r#""position":"1""#, &["field `position`", "`source` is missing"]);
        refused(r#""source":"","position":1"#, &["field `source`", "0 bytes"]);
        refused(&format!(r#""source":"{}","position":1"#, "s".repeat(249)), &["249 bytes", "1 to 248"]);
        refused(r#""source":7,"position":1"#, &["field `source`", "expected a string"]);
        for position in ["-1", "1.5", "\"\"", "\"x\"", "\"340282366920938463463374607431768211456\"", "null", "[]"] {
            refused(&format!(r#""source":"s","position":{position}"#), &["line 1, column", "field `position`"]);
        }
        let mixed =
            "[{\"op\":\"delete\",\"id\":\"a\",\"source\":\"s\",\"position\":1},{\"op\":\"delete\",\"id\":\"b\"}]";
        super::tests::refused(&reader(), mixed, &["1 of 2 ops have `source` and `position`"]);
    }

    #[test]
    fn a_body_without_ops_names_the_missing_part() {
        let refused = |body: &str, words: &[&str]| refused(&reader(), body, words);
        refused("", &["no op"]);
        refused("[]", &["no op"]);
        refused("[1", &["not a list of ops"]);
        refused("hello", &["line 1", "expected a JSON object"]);
        refused("[{\"op\":\"delete\",\"id\":\"a\"},{\"op\":\"drop\"}]", &["op 2 of the list", "column"]);
        refused(
            "{\"op\":\"delete\",\"id\":\"a\"}\n{\"op\":\"put\",\"id\":\"b\",\"embedding\":[1]}",
            &["line 2", "dimension"],
        );
        refused(r#"{"op":"put","id":"a","dynamodb":{}}"#, &["unknown field"]);
        refused(r#"{"eventName":"REMOVE","dynamodb":{"Keys":{}}}"#, &["line 1", "DynamoDB stream", "mapping"]);
    }

    #[cfg(feature = "mapping")]
    mod mapped {
        use super::*;

        const REMOVE: &str = r#"{"eventName":"REMOVE","dynamodb":{"Keys":{"a":{"S":"gone"}}}}"#;
        const INSERT: &str = r#"{"eventName":"INSERT","dynamodb":{"Keys":{"a":{"S":"new"}},"NewImage":{"a":{"S":"new"},"v":{"L":[{"N":"1"},{"N":"2"}]}}}}"#;
        const OTHER: &str = r#"{"eventName":"REMOVE","dynamodb":{"Keys":{"b":{"S":"x"}}, "OldImage":{"b":{"S":"x"}}}}"#;

        fn mapped() -> BodyReader {
            let rule = "[[rule]]\ncollection = \"c\"\nmatch = { a = \"*\" }\nid = \"{a}\"\nembedding = \"v\"\n";
            reader().with_mapping(Mapping::parse(rule, "m").unwrap()).unwrap()
        }

        #[test]
        fn records_stand_wherever_ops_do() {
            let read = |body: &str| {
                let read = mapped().read(body).unwrap();
                (read.ops.into_iter().map(|op| op.id).collect::<Vec<_>>().join(" "), read.skipped)
            };
            assert_eq!(read(REMOVE), ("gone".into(), 0));
            let pretty = serde_json::from_str::<serde_json::Value>(INSERT).unwrap();
            assert_eq!(read(&format!("{pretty:#}")), ("new".into(), 0));
            assert_eq!(read(&format!("{REMOVE}\n\n{INSERT}\n{OTHER}")), ("gone new".into(), 1));
            assert_eq!(
                read(&format!("[{INSERT},{{\"op\":\"delete\",\"id\":\"op\"}},{REMOVE}]")),
                ("new op gone".into(), 0)
            );
            assert_eq!(read(&format!("{{\"Records\":[{INSERT},{OTHER},{REMOVE}]}}")), ("new gone".into(), 1));
            // A record that yields no op is not an error.
            assert_eq!(read(OTHER), (String::new(), 1));
        }

        #[test]
        fn a_record_that_cannot_be_mapped_is_named() {
            let short = INSERT.replace(",{\"N\":\"2\"}", "");
            refused(&mapped(), &format!("[{REMOVE},{short}]"), &["element 2: record 1", "1 numbers", "dimension is 2"]);
            let text = INSERT.replace("{\"N\":\"2\"}", "{\"S\":\"2\"}");
            refused(
                &mapped(),
                &format!("{REMOVE}\n{text}"),
                &["line 2: record 1", "rule 1", "attribute `v`", "element 1"],
            );
            refused(&mapped(), &format!("{{\"Records\":[{REMOVE},{text}]}}"), &["record 2"]);
            refused(&mapped(), r#"{"eventName":"READ","dynamodb":{}}"#, &["unknown variant"]);
            let other = Mapping::parse("[[rule]]\ncollection = \"d\"\nid = \"{a}\"\ndocument = \"v\"\n", "m").unwrap();
            let error = reader().with_mapping(other).unwrap_err().to_string();
            assert!(error.contains("no rule for collection `c`; its rules are for d"), "{error}");
        }

        proptest::proptest! {
            #[test]
            fn any_body_is_read_or_refused(body in "[{}\\[\\]:,\"a1 \n]{0,20}(\"dynamodb\":)?[{}\\[\\]:,\"a1 \n]{0,20}") {
                drop(mapped().read(&body));
            }
        }
    }
}
