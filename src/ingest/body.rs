//! The meaning of a message body.

use deltafold_format::OpRules;

use super::delivery::Cause;
#[cfg(feature = "mapping")]
use super::mapping::Mapping;
#[cfg(feature = "objects")]
use super::objects::Objects;
use super::reading::{Body, Reading, Target};
use super::reference::{Loaded, Reference};
use crate::collection::Collection;
#[cfg(feature = "mapping")]
use crate::error::{Error, Result};
use crate::log::Writer;

/// The parser of message bodies for one collection. Clones share its state.
///
/// A body is one op, a JSON list of ops, or one op a line, each in the form of
/// [`jsonl`](crate::jsonl). With a mapping, a record of a DynamoDB stream may stand in place of an
/// op. Blank lines do not count.
///
/// A body may also name an object of ops instead of holding them: `{"s3":"s3://BUCKET/KEY"}`. An
/// event notification of a bucket names an object, too.
///
/// Envelopes of services are opened, also within each other: notifications of SNS, events of
/// EventBridge and of AWS Lambda, records of Kinesis, Base64. `docs/ingest/envelopes.md` lists
/// them.
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
        Reading::new(Target {
            rules: self.rules,
            #[cfg(feature = "mapping")]
            collection: &self.collection,
            #[cfg(feature = "mapping")]
            mapping: self.mapping.as_ref(),
            #[cfg(not(feature = "mapping"))]
            no_mapping: std::marker::PhantomData,
        })
        .read(body)
    }
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
        assert_eq!(ids("\u{feff}{\"op\":\"delete\",\"id\":\"a\"}\n"), ["a"], "a byte order mark is skipped");
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
        refused(r#"{"eventName":"REMOVE","dynamodb":{"Keys":{}}}"#, &["DynamoDB stream", "mapping"]);
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
            refused(&mapped(), &format!("[{REMOVE},{short}]"), &["element 2: ", "1 numbers", "dimension is 2"]);
            let text = INSERT.replace("{\"N\":\"2\"}", "{\"S\":\"2\"}");
            refused(&mapped(), &format!("{REMOVE}\n{text}"), &["line 2: rule 1", "attribute `v`", "element 1"]);
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
