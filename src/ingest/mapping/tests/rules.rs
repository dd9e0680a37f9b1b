//! The choice of a rule, and the revisions that a rule gives.

use super::*;

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
        // A record that another collection takes is not a stranger; one that no collection takes is
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
        assert!(reason.contains("rule `lines`: attribute `version`") && reason.contains("not a revision"), "{reason}");
    }
    assert!(revision("INSERT", None, Some(item(json!({})))).is_err());
    let mut long = record("INSERT", None, Some(item(json!({}))));
    long.change.sequence = Some("9".repeat(40));
    refused(LINES, &long, &["SequenceNumber", "128 bits"]);
}
