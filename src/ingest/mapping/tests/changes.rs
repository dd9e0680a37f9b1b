//! The ops that each kind of change makes.

use super::*;

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
