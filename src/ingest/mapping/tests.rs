use deltafold_format::{Action, Change, CollectionName, Op, Patch, Record, Value};
use serde_json::{Value as Json, json};

use super::*;

const LINES: &str = r##"
[[rule]]
name = "lines"
collection = "lines"
match = { SK = "RECEIPT#*#LINE#*" }
unless = { SK = "*#WORD#*" }
id = "IMAGE#{image_id}#RECEIPT#{receipt_id:05}#LINE#{line_id:05}"
document = "text"
embedding = "vector"

[rule.metadata]
image = { from = "image_id", type = "string" }
receipt_id = "i64"
confidence = "f64"
reviewed = "bool"
tags = "strings"
x = { from = "box.corners.0.x", type = "f64" }
"##;

fn mapping(text: &str) -> Mapping {
    Mapping::parse(text, "m.toml").unwrap()
}

fn lines() -> CollectionName {
    "lines".parse().unwrap()
}

/// An item of the table.
fn item(more: Json) -> Json {
    let mut item = json!({
        "PK": {"S": "IMAGE#a1"}, "SK": {"S": "RECEIPT#00001#LINE#00002"},
        "image_id": {"S": "a1"}, "receipt_id": {"N": "1"}, "line_id": {"N": "2"}, "text": {"S": "Total"},
    });
    for (name, value) in more.as_object().unwrap() {
        item[name] = value.clone();
    }
    item.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    item
}

fn record(event: &str, old: Option<Json>, new: Option<Json>) -> StreamRecord {
    let mut record = json!({
        "eventID": "e1", "eventName": event, "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": "us-east-1",
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/Receipts/stream/2026-01-01T00:00:00.000",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_700_000_000, "SizeBytes": 1, "StreamViewType": "NEW_AND_OLD_IMAGES",
            "Keys": {"PK": {"S": "IMAGE#a1"}, "SK": {"S": "RECEIPT#00001#LINE#00002"}},
            "SequenceNumber": "4421584500000000017450439091",
        },
    });
    for (name, image) in [("OldImage", old), ("NewImage", new)] {
        if let Some(image) = image {
            record["dynamodb"][name] = image;
        }
    }
    serde_json::from_value(record).unwrap()
}

fn map(record: &StreamRecord) -> Mapped {
    mapping(LINES).map(&lines(), record).unwrap()
}

fn refused(mapping_text: &str, record: &StreamRecord, words: &[&str]) {
    let reason = mapping(mapping_text).map(&lines(), record).unwrap_err().to_string();
    assert!(words.iter().all(|word| reason.contains(word)), "{words:?} are not all in: {reason}");
}

const ID: &str = "IMAGE#a1#RECEIPT#00001#LINE#00002";

#[test]
fn an_insert_puts_everything_mapped() {
    let new = item(json!({
        "vector": {"L": [{"N": "0.5"}, {"N": "-2"}]}, "confidence": {"N": "0.99"}, "reviewed": {"BOOL": false},
        "tags": {"SS": ["b", "a"]}, "box": {"M": {"corners": {"L": [{"M": {"x": {"N": "3"}}}]}}}, "unmapped": {"S": "x"},
    }));
    let mapped = map(&record("INSERT", None, Some(new)));
    let metadata = [
        ("image", Value::String("a1".into())),
        ("receipt_id", Value::I64(1)),
        ("confidence", Value::F64(0.99)),
        ("reviewed", Value::Bool(false)),
        ("tags", Value::Strings(vec!["a".into(), "b".into()])),
        ("x", Value::F64(3.0)),
    ];
    let record = Record {
        embedding: Some(vec![0.5, -2.0]),
        metadata: metadata.map(|(key, value)| (key.to_owned(), value)).into(),
        document: Some("Total".into()),
    };
    assert_eq!(mapped.ops, [Op::put(ID, record)]);
    assert_eq!(mapped.revision, Some(4_421_584_500_000_000_017_450_439_091));
    assert_eq!((mapped.rule.as_deref(), mapped.skipped), (Some("lines"), None));
}

#[test]
fn a_modify_patches_only_changed_fields() {
    let old = item(
        json!({"confidence": {"N": "0.5"}, "tags": {"SS": ["a", "b"]}, "reviewed": {"BOOL": true}, "vector": {"L": [{"N": "1"}]}}),
    );
    let new = item(
        json!({"confidence": {"N": "0.75"}, "tags": {"SS": ["b", "a"]}, "text": null, "reviewed": {"NULL": true}, "vector": {"L": [{"N": "1.0"}]}}),
    );
    let mapped = map(&record("MODIFY", Some(old.clone()), Some(new)));
    let patch = Patch {
        embedding: Change::Keep,
        metadata: [("confidence".to_owned(), Some(Value::F64(0.75))), ("reviewed".to_owned(), None)].into(),
        document: Change::Clear,
    };
    assert_eq!(mapped.ops, [Op::patch(ID, patch)]);

    let new = item(
        json!({"confidence": {"N": "0.50"}, "tags": {"SS": ["b", "a"]}, "reviewed": {"BOOL": true}, "vector": {"L": [{"N": "1"}]}, "unmapped": {"S": "new"}}),
    );
    let mapped = map(&record("MODIFY", Some(old), Some(new)));
    assert_eq!((mapped.ops, mapped.skipped), (vec![], Some(Skip::Unchanged)));
}

#[test]
fn a_remove_deletes() {
    assert_eq!(map(&record("REMOVE", Some(item(json!({}))), None)).ops, [Op::delete(ID)]);
}

#[test]
fn another_id_is_a_delete_and_a_put() {
    let (old, new) = (item(json!({})), item(json!({"line_id": {"N": "3"}})));
    let mapped = map(&record("MODIFY", Some(old), Some(new)));
    let ids: Vec<(&str, &str)> = mapped.ops.iter().map(|op| (op.action.name(), op.id.as_str())).collect();
    assert_eq!(ids, [("delete", ID), ("put", "IMAGE#a1#RECEIPT#00001#LINE#00003")]);
    assert!(matches!(&mapped.ops[1].action, Action::Put(record) if record.document.as_deref() == Some("Total")));
}

#[test]
fn an_item_comes_and_goes_with_its_rule() {
    let text = r#"
        [[rule]]
        collection = "lines"
        match = { status = ["DONE", "OK"], PK = "IMAGE#*" }
        unless = { hidden = "true" }
        id = "{line_id}"
        document = "text"
    "#;
    let mapping = mapping(text);
    let ops = |old: Json, new: Json| {
        let mapped = mapping.map(&lines(), &record("MODIFY", Some(item(old)), Some(item(new)))).unwrap();
        let names: Vec<&str> = mapped.ops.iter().map(|op| op.action.name()).collect();
        (names.join(" "), mapped.skipped)
    };
    let (done, open) = (json!({"status": {"S": "DONE"}}), json!({"status": {"S": "OPEN"}}));
    let hidden = json!({"status": {"S": "OK"}, "hidden": {"BOOL": true}});
    assert_eq!(ops(open.clone(), done.clone()), ("put".into(), None));
    assert_eq!(ops(done.clone(), open.clone()), ("delete".into(), None));
    assert_eq!(ops(done.clone(), hidden.clone()), ("delete".into(), None));
    assert_eq!(ops(open, hidden), (String::new(), Some(Skip::NoRule)));
    assert_eq!(ops(done.clone(), done), (String::new(), Some(Skip::Unchanged)));
}

/// Another rule makes another record of the item: no field of the old one must remain.
#[test]
fn an_item_that_another_rule_takes_is_put_anew() {
    let text = r#"
        [[rule]]
        collection = "lines"
        match = { kind = "a" }
        id = "{line_id}"
        document = "text"
        [[rule]]
        collection = "lines"
        id = "{line_id}"
        metadata = { text = "string" }
    "#;
    let (old, new) = (item(json!({"kind": {"S": "a"}})), item(json!({"kind": {"S": "b"}})));
    let mapped = mapping(text).map(&lines(), &record("MODIFY", Some(old), Some(new))).unwrap();
    let metadata = [("text".to_owned(), Value::String("Total".into()))].into();
    assert_eq!(mapped.ops, [Op::put("2", Record { metadata, ..Record::default() })]);
    assert_eq!(mapped.rule.as_deref(), Some("rule 2"));
}

/// An item that could not be mapped before must not block one that can be mapped now.
#[test]
fn an_item_that_was_no_record_is_repaired() {
    let (old, new) = (item(json!({"confidence": {"S": "high"}})), item(json!({"confidence": {"N": "1"}})));
    refused(
        LINES,
        &record("INSERT", None, Some(old.clone())),
        &["rule `lines`: attribute `confidence`", "a number, found a string (S)"],
    );
    let mapped = map(&record("MODIFY", Some(old), Some(new)));
    let metadata = [("confidence".to_owned(), Some(Value::F64(1.0)))].into();
    assert_eq!(mapped.ops, [Op::patch(ID, Patch { metadata, ..Patch::default() })]);

    let (old, new) = (item(json!({"line_id": null})), item(json!({})));
    let mapped = map(&record("MODIFY", Some(old), Some(new)));
    assert_eq!(mapped.ops[0].action.name(), "put");
}

#[test]
fn a_rule_chooses_its_op_for_each_kind_of_change() {
    let text = LINES.replace("document =", "insert = \"upsert\"\nmodify = \"put\"\nremove = \"keep\"\ndocument =");
    let mapping = mapping(&text);
    let map = |event, old, new| mapping.map(&lines(), &record(event, old, new)).unwrap();
    let (old, new) = (item(json!({})), item(json!({"confidence": {"N": "1"}})));
    let inserted = map("INSERT", None, Some(new.clone()));
    assert!(
        matches!(&inserted.ops[0].action, Action::Upsert(patch) if patch.metadata.len() == 3 && patch.embedding == Change::Keep)
    );
    let modified = map("MODIFY", Some(old.clone()), Some(new));
    assert!(
        matches!(&modified.ops[0].action, Action::Put(record) if record.document.is_some() && record.metadata.len() == 3)
    );
    let removed = map("REMOVE", Some(old.clone()), None);
    assert_eq!((removed.ops, removed.skipped), (vec![], Some(Skip::Kept)));
    let unchanged = map("MODIFY", Some(old.clone()), Some(old));
    assert_eq!(unchanged.skipped, Some(Skip::Unchanged));
}

/// The ops that each view of a stream allows.
#[test]
fn streams_that_show_less() {
    let by_key = r##"
        [[rule]]
        collection = "lines"
        match = { SK = "*#LINE#*" }
        id = "{PK}#{SK}"
        document = "text"
        metadata = { confidence = "f64" }
    "##;
    let new = item(json!({}));
    let map = |event, new| mapping(by_key).map(&lines(), &record(event, None, new)).unwrap();
    // NEW_IMAGE: the patch sets or clears everything, because the stream hides the old item.
    let modified = map("MODIFY", Some(new.clone()));
    let patch = Patch {
        embedding: Change::Keep,
        metadata: [("confidence".to_owned(), None)].into(),
        document: Change::Set("Total".into()),
    };
    let id = "IMAGE#a1#RECEIPT#00001#LINE#00002";
    assert_eq!(modified.ops, [Op::patch(id, patch)]);
    // NEW_IMAGE and KEYS_ONLY: a key is enough to delete by.
    assert_eq!(map("REMOVE", None).ops, [Op::delete(id)]);
    // KEYS_ONLY and OLD_IMAGE show too little for a record.
    for event in ["INSERT", "MODIFY"] {
        refused(by_key, &record(event, None, None), &["does not show the item as it is", "NEW_AND_OLD_IMAGES"]);
    }
    // The stream shows only attributes of the key.
    refused(
        LINES,
        &record("REMOVE", None, None),
        &["rule `lines`: attribute `image_id`", "makes the id", "NEW_AND_OLD_IMAGES"],
    );
    refused(LINES, &record("MODIFY", None, Some(new.clone())), &["attribute `image_id`", "makes the id"]);
    let by_state = by_key.replace("SK =", "state =");
    refused(&by_state, &record("REMOVE", None, None), &["rule 1: attribute `state`", "decides whether the rule takes"]);
}

#[test]
fn rules_are_of_tables_and_collections() {
    let rules = |extra: &str| {
        format!(
            "unmatched = \"refuse\"\n[[rule]]\ncollection = \"other\"\n{extra}\nid = \"{{PK}}\"\ndocument = \"text\"\n"
        )
    };
    let insert = record("INSERT", None, Some(item(json!({}))));
    for (extra, takes) in [
        ("", true),
        (r#"table = "Receipts""#, true),
        (r#"table = ["Other", "Rec*"]"#, true),
        (r#"table = "receipts""#, false),
        (r#"arn = "arn:aws:dynamodb:*:123456789012:table/Receipts/stream/*""#, true),
        (r#"arn = "arn:aws:dynamodb:*:1:*""#, false),
    ] {
        let mapping = mapping(&rules(extra));
        let (own, other) = (mapping.map(&"other".parse().unwrap(), &insert), mapping.map(&lines(), &insert));
        assert_eq!(own.is_ok_and(|mapped| mapped.ops.len() == 1), takes, "{extra}");
        // A record that another collection takes is no stranger; one that no collection takes is
        // refused.
        assert_eq!(other.is_ok_and(|mapped| mapped.skipped == Some(Skip::NoRule)), takes, "{extra}");
    }
    let nameless = StreamRecord { source_arn: None, ..insert.clone() };
    let with_table = rules(r#"table = "Receipts""#).replace("other", "lines");
    refused(&with_table, &nameless, &["rule 1", "eventSourceARN"]);
    refused(
        &with_table,
        &StreamRecord { source_arn: None, ..record("REMOVE", Some(item(json!({}))), None) },
        &["eventSourceARN"],
    );
}

#[test]
fn revisions_come_from_where_the_rule_says() {
    let text = LINES.replace("document =", "revision = { attribute = \"version\" }\ndocument =");
    let mapping = mapping(&text);
    let at = |version: &str| Some(item(json!({"version": {"N": version}})));
    let revision = |event, old, new| mapping.map(&lines(), &record(event, old, new)).map(|mapped| mapped.revision);
    assert_eq!(revision("INSERT", None, at("7")), Ok(Some(7)));
    // A deletion has the revision of the last state: of two changes with one revision, it counts as
    // the later one.
    assert_eq!(revision("REMOVE", at("7"), None), Ok(Some(7)));
    assert_eq!(revision("INSERT", None, at("340282366920938463463374607431768211455")), Ok(Some(u128::MAX)));
    for bad in ["-1", "1.5", "340282366920938463463374607431768211456"] {
        let reason = revision("INSERT", None, at(bad)).unwrap_err().to_string();
        assert!(reason.contains("rule `lines`: attribute `version`") && reason.contains("no revision"), "{reason}");
    }
    assert!(revision("INSERT", None, Some(item(json!({})))).is_err());
    let mut long = record("INSERT", None, Some(item(json!({}))));
    long.change.sequence = Some("9".repeat(40));
    refused(LINES, &long, &["SequenceNumber", "128 bits"]);
}

/// Every type of attribute as every type of value.
#[test]
fn every_type_of_attribute() {
    let value = |kind: &str, attribute: &Json| {
        let text = format!("[[rule]]\ncollection = \"lines\"\nid = \"{{PK}}\"\nmetadata = {{ v = \"{kind}\" }}\n");
        let mapped = mapping(&text)
            .map(&lines(), &record("INSERT", None, Some(item(json!({"v": attribute})))))
            .map_err(|e| e.to_string());
        mapped.map(|mapped| match &mapped.ops[0].action {
            Action::Put(record) => record.metadata.get("v").cloned(),
            other => panic!("{other:?}"),
        })
    };
    let strings = |list: &[&str]| Value::Strings(list.iter().map(|&text| text.to_owned()).collect());
    for (kind, attribute, expected) in [
        ("string", json!({"S": ""}), Value::String(String::new())),
        ("string", json!({"S": "é\u{0}"}), Value::String("é\u{0}".into())),
        ("string", json!({"N": "1.50"}), Value::String("1.50".into())),
        ("i64", json!({"N": "-9223372036854775808"}), Value::I64(i64::MIN)),
        ("i64", json!({"N": "12E2"}), Value::I64(1200)),
        ("f64", json!({"N": "9.9999999999999999999999999999999999999E+125"}), Value::F64(1e126)),
        ("f64", json!({"N": "9223372036854775808"}), Value::F64(9_223_372_036_854_775_808.0)),
        ("bool", json!({"BOOL": true}), Value::Bool(true)),
        ("strings", json!({"SS": ["b", "a"]}), strings(&["a", "b"])),
        ("strings", json!({"NS": ["2", "10"]}), strings(&["10", "2"])),
        ("strings", json!({"L": [{"S": "b"}, {"N": "1"}]}), strings(&["b", "1"])),
        ("strings", json!({"L": []}), strings(&[])),
        ("i64s", json!({"NS": ["3", "1", "2"]}), Value::I64s(vec![1, 2, 3])),
        ("i64s", json!({"L": [{"N": "3"}, {"N": "1"}]}), Value::I64s(vec![3, 1])),
        ("i64s", json!({"L": []}), Value::I64s(vec![])),
        ("f64s", json!({"NS": ["1.5", "-1"]}), Value::F64s(vec![-1.0, 1.5])),
        ("bools", json!({"L": [{"BOOL": true}, {"BOOL": false}]}), Value::Bools(vec![true, false])),
    ] {
        assert_eq!(value(kind, &attribute), Ok(Some(expected)), "{attribute} as {kind}");
    }
    for kind in ["string", "i64", "f64", "bool", "strings", "i64s", "f64s", "bools"] {
        assert_eq!(value(kind, &json!({"NULL": true})), Ok(None), "null is no value");
    }
    for (kind, attribute, words) in [
        ("i64", json!({"N": "9223372036854775808"}), "does not fit a 64-bit integer; map it as string or as f64"),
        ("i64", json!({"N": "1.5"}), "`1.5` is no integer"),
        ("i64", json!({"S": "1"}), "expected a number, found a string (S)"),
        ("f64", json!({"N": "1E999"}), "map it as string"),
        ("f64", json!({"N": "inf"}), "map it as string"),
        ("bool", json!({"S": "true"}), "expected a boolean"),
        ("string", json!({"B": "AAAA"}), "found binary (B)"),
        ("string", json!({"M": {}}), "found a map (M)"),
        ("string", json!({"BOOL": true}), "found a boolean (BOOL)"),
        ("strings", json!({"S": "a"}), "expected a list or a set"),
        ("strings", json!({"BS": ["AA=="]}), "found a set of binaries (BS)"),
        ("strings", json!({"L": [{"S": "a"}, {"NULL": true}]}), "element 1: expected a string or a number, found null"),
        ("i64s", json!({"L": [{"N": "1"}, {"S": "2"}]}), "element 1: expected a number"),
        ("bools", json!({"SS": ["true"]}), "expected a boolean"),
    ] {
        let reason = value(kind, &attribute).unwrap_err();
        assert!(reason.contains("attribute `v`") && reason.contains(words), "{attribute} as {kind}: {reason}");
    }
}

#[test]
fn embeddings_are_lists_or_binary() {
    let embedding = |attribute: Json| {
        let insert = record("INSERT", None, Some(item(json!({"vector": attribute}))));
        mapping(LINES)
            .map(&lines(), &insert)
            .map(|mapped| mapped.ops[0].action.embedding().cloned())
            .map_err(|e| e.to_string())
    };
    assert_eq!(embedding(json!({"L": [{"N": "1"}, {"N": "-0.1"}]})), Ok(Some(vec![1.0, -0.1])));
    // 1.0 and -2.5, little-endian.
    assert_eq!(embedding(json!({"B": "AACAPwAAIMA="})), Ok(Some(vec![1.0, -2.5])));
    assert_eq!(embedding(json!({"NULL": true})), Ok(None));
    for (attribute, words) in [
        (json!({"B": "AAAA"}), "3 bytes are no whole number"),
        (json!({"NS": ["1"]}), "has no order"),
        (json!({"L": [{"N": "1"}, {"N": "1e39"}]}), "element 1: `1e39`"),
        (json!({"L": [{"S": "1"}]}), "element 0: expected a number"),
        (json!({"S": "[1]"}), "expected a list of numbers"),
    ] {
        let reason = embedding(attribute).unwrap_err();
        assert!(reason.contains("attribute `vector`") && reason.contains(words), "{reason}");
    }
}

#[test]
fn a_file_that_is_wrong_is_told_where_and_why() {
    let rule = "[[rule]]\nname = \"r\"\ncollection = \"c\"\nid = \"{a}\"\ndocument = \"d\"\n";
    assert!(Mapping::parse(rule, "m").is_ok());
    for (text, line, words) in [
        (String::new(), 1, "no rule"),
        ("x = ".into(), 1, "not valid TOML"),
        ("[rule]\nid = \"{a}\"".into(), 1, "two brackets"),
        ("rule = [1]".into(), 1, "a rule is a table"),
        ("rules = []".into(), 1, "unknown key `rules`; a mapping has unmatched, rule"),
        ("unmatched = \"drop\"".into(), 1, "\"skip\" or \"refuse\", not \"drop\""),
        (rule.replace("document", "documnet"), 5, "rule `r`: unknown key `documnet`"),
        (rule.replace("collection = \"c\"\n", ""), 1, "`collection` is missing"),
        (rule.replace("\"c\"", "\"C !\""), 3, "`collection`"),
        (rule.replace("id = \"{a}\"\n", ""), 1, "`id` is missing"),
        (rule.replace("{a}", "a"), 4, "`id`: it names no attribute"),
        (rule.replace("\"{a}\"", "3"), 4, "`id` is a text in quotes, not an integer"),
        (rule.replace("document = \"d\"", ""), 1, "it maps nothing"),
        (rule.replace("\"d\"", "\"\""), 5, "name is empty"),
        (format!("{rule}metadata = {{ a = \"int\" }}"), 6, "`a` has the unknown type `int`; choose string, i64"),
        (format!("{rule}metadata = {{ a = {{ from = \"b\" }} }}"), 6, "`a` needs a `type`"),
        (format!("{rule}metadata = {{ a = {{ form = \"b\" }} }}"), 6, "unknown key `form`"),
        (format!("{rule}metadata = {{ {} = \"i64\" }}", "k".repeat(257)), 6, "1 to 256 bytes"),
        (format!("{rule}metadata = 1"), 6, "`metadata` is a table"),
        (format!("{rule}match = \"x\""), 6, "`match` is a table"),
        (format!("{rule}match = {{ a = [] }}"), 6, "`a` is an empty list"),
        (format!("{rule}table = [1]"), 6, "`table` is a text"),
        (format!("{rule}insert = \"add\""), 6, "\"put\" or \"upsert\""),
        (format!("{rule}modify = \"delete\""), 6, "\"patch\" or \"upsert\" or \"put\""),
        (format!("{rule}remove = \"skip\""), 6, "\"delete\" or \"keep\""),
        (format!("{rule}revision = \"version\""), 6, "{ attribute = \"version\" }"),
        (format!("{rule}revision = {{ attr = \"v\" }}"), 6, "unknown key `attr`"),
        (format!("{rule}{rule}"), 1, "two rules are called `r`"),
        (rule.replace("\"r\"", "\"\""), 2, "`name` is empty"),
    ] {
        let error = Mapping::parse(&text, "m.toml").unwrap_err();
        assert!(
            error.to_string().contains(words) && error.to_string().starts_with(&format!("m.toml:{line}: ")),
            "{text}\n{error}"
        );
    }
}

mod any {
    //! Any file, mapping or stream: an answer or an error, never a panic.

    use proptest::prelude::*;

    use super::*;

    fn attribute() -> impl Strategy<Value = Json> {
        let text = "[-0-9.eE#a]{0,6}";
        let leaf = prop_oneof![
            text.prop_map(|text| json!({"S": text})),
            text.prop_map(|text| json!({"N": text})),
            any::<bool>().prop_map(|truth| json!({"BOOL": truth})),
            Just(json!({"NULL": true})),
            proptest::collection::vec(text, 0..3).prop_map(|list| json!({"SS": list})),
            proptest::collection::vec(text, 0..3).prop_map(|list| json!({"NS": list})),
            Just(json!({"B": "AACAPw=="})),
            Just(json!({"B": "AA=="})),
            Just(json!({"BS": ["AA=="]})),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(|list| json!({"L": list})),
                proptest::collection::btree_map("[abx0]", inner, 0..3).prop_map(|map| json!({"M": map})),
            ]
        })
    }

    /// An item: each attribute is missing, as the mapping expects it, or (one time in ten)
    /// anything.
    fn image() -> impl Strategy<Value = Option<Json>> {
        let number = || {
            prop_oneof![Just("0"), Just("-1.5"), Just("2"), Just("2.0"), Just("7E1")]
                .prop_map(|text| json!({"N": text}))
        };
        let attributes = [
            ("image_id", "[ab]".prop_map(|text| json!({"S": text})).boxed()),
            ("receipt_id", "[0-3]".prop_map(|text| json!({"N": text})).boxed()),
            ("line_id", "[0-3]".prop_map(|text| json!({"N": text})).boxed()),
            ("text", "[a-c]{0,2}".prop_map(|text| json!({"S": text})).boxed()),
            ("confidence", number().boxed()),
            ("reviewed", any::<bool>().prop_map(|truth| json!({"BOOL": truth})).boxed()),
            ("tags", proptest::collection::vec("[a-c]", 0..3).prop_map(|list| json!({"SS": list})).boxed()),
            ("vector", proptest::collection::vec(number(), 2).prop_map(|list| json!({"L": list})).boxed()),
            ("box", number().prop_map(|x| json!({"M": {"corners": {"L": [{"M": {"x": x}}]}}})).boxed()),
        ];
        let needed = ["image_id", "receipt_id", "line_id"];
        let attribute = move |(name, right): (&'static str, BoxedStrategy<Json>)| {
            let missing = if needed.contains(&name) { 0 } else { 3 };
            prop_oneof![missing => Just(Json::Null), 16 => right, 1 => attribute()].prop_map(move |value| (name, value))
        };
        let attributes: Vec<_> = attributes.into_iter().map(attribute).collect();
        let image = attributes.prop_map(|all| {
            let all: serde_json::Map<String, Json> =
                all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            item(Json::Object(all))
        });
        prop_oneof![1 => Just(None), 9 => image.prop_map(Some)]
    }

    proptest! {
        #[test]
        fn records(event in prop_oneof![Just("INSERT"), Just("MODIFY"), Just("REMOVE")], old in image(), new in image()) {
            let record = record(event, old, new);
            match mapping(LINES).map(&lines(), &record) {
                Ok(mapped) => prop_assert_eq!(mapped.ops.is_empty(), mapped.skipped.is_some()),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }

        /// A patch turns the record of the old item into that of the new item.
        #[test]
        fn a_patch_equals_a_put(old in image(), new in image()) {
            let put = |image: &Option<Json>| mapping(LINES).map(&lines(), &record("INSERT", None, image.clone())).ok()?.ops.pop();
            let (Some(before), Some(after)) = (put(&old), put(&new)) else { return Ok(()) };
            let (Action::Put(mut state), Action::Put(expected)) = (before.action, after.action) else { unreachable!() };
            let mapped = mapping(LINES).map(&lines(), &record("MODIFY", old, new)).unwrap();
            for op in mapped.ops {
                match op.action {
                    Action::Patch(patch) => {
                        for (key, value) in patch.metadata {
                            match value {
                                Some(value) => drop(state.metadata.insert(key, value)),
                                None => drop(state.metadata.remove(&key)),
                            }
                        }
                        state.embedding = patch.embedding.apply(state.embedding);
                        state.document = patch.document.apply(state.document);
                    }
                    Action::Put(record) => state = record,
                    Action::Delete => state = Record::default(),
                    other => panic!("{other:?}"),
                }
            }
            prop_assert_eq!(state, expected);
        }

        #[test]
        fn files(text in "(\\[\\[rule\\]\\]\n)?([a-z]{2,10} = [\"{}a-z=\\[\\],#0-9 ]{0,12}\n){0,4}") {
            drop(Mapping::parse(&text, "m.toml"));
        }

        /// A file with one error.
        #[test]
        fn files_with_an_error(at in 0..LINES.len(), with in "[\"{}\\[\\]=,\n a0#]{0,2}") {
            let mut text = LINES.to_owned();
            if text.is_char_boundary(at) {
                text.replace_range(at..=at, &with);
                drop(Mapping::parse(&text, "m.toml"));
            }
        }

        #[test]
        fn json(text in "[{}\\[\\]:,\"a0SNBML]{0,30}") {
            drop(serde_json::from_str::<StreamRecord>(&text));
            drop(serde_json::from_str::<Attribute>(&text));
        }
    }
}

/// A mapping may name as many metadata keys as a record may have, and of the same length.
#[test]
fn metadata_of_a_mapping_has_the_limits_of_a_record() {
    use deltafold_format::limits::{MAX_KEY_BYTES, MAX_METADATA_KEYS};
    let parse = |keys: &[String]| {
        let keys: Vec<String> = keys.iter().map(|key| format!("{key} = \"i64\"")).collect();
        let rule = "[[rule]]\ncollection = \"lines\"\nmatch = { SK = \"*\" }\nid = \"{SK}\"\n[rule.metadata]\n";
        Mapping::parse(&format!("{rule}{}", keys.join("\n")), "m.toml").map(drop).map_err(|error| error.to_string())
    };
    let keys = |count: usize| (0..count).map(|number| format!("k{number}")).collect::<Vec<_>>();
    assert_eq!(parse(&keys(MAX_METADATA_KEYS)), Ok(()));
    let error = parse(&keys(MAX_METADATA_KEYS + 1)).unwrap_err();
    assert!(error.contains("keys, the limit is"), "{error}");
    assert_eq!(parse(&["k".repeat(MAX_KEY_BYTES)]), Ok(()));
    let error = parse(&["k".repeat(MAX_KEY_BYTES + 1)]).unwrap_err();
    assert!(error.contains("a metadata key has 1 to"), "{error}");
}
