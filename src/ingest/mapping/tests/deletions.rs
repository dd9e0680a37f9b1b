//! Rules that tell deletes of the service from those of a user, and records that name their table.

use super::*;

const EXPIRED: &str = r#"
[[rule]]
collection = "lines"
id = "{PK}"
match = { "userIdentity.principalId" = "dynamodb.amazonaws.com", "userIdentity.type" = "Service" }
remove = "keep"
[[rule]]
collection = "lines"
id = "{PK}"
document = "text"
"#;

fn by(identity: Option<Json>, event: &str) -> StreamRecord {
    let (old, new) = (item(json!({})), item(json!({"text": {"S": "other"}})));
    let mut record = record(event, (event != "INSERT").then_some(old), (event != "REMOVE").then_some(new));
    record.user_identity = identity.map(|identity| serde_json::from_value(identity).unwrap());
    record
}

/// The service deletes items whose time to live is over, and says so in the record.
#[test]
fn an_expired_item_is_told_from_a_deleted_one() {
    let map = |record: &StreamRecord| {
        let mapped = mapping(EXPIRED).map(&lines(), record).unwrap();
        (mapped.rule, mapped.ops.first().map(|op| op.action.name()), mapped.skipped)
    };
    let service = || Some(json!({"principalId": "dynamodb.amazonaws.com", "type": "Service"}));
    let rule = |place: u32| Some(format!("rule {place}"));
    assert_eq!(map(&by(service(), "REMOVE")), (rule(1), None, Some(Skip::Kept)));
    assert_eq!(map(&by(None, "REMOVE")), (rule(2), Some("delete"), None));
    let user = json!({"principalId": "AIDAEXAMPLE", "type": "IAMUser"});
    assert_eq!(map(&by(Some(user), "REMOVE")), (rule(2), Some("delete"), None));
    // As the tools print it.
    let printed = json!({"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"});
    assert_eq!(map(&by(Some(printed), "REMOVE")).2, Some(Skip::Kept));
    // Such a rule makes no record of an item that is there.
    assert_eq!(map(&by(service(), "INSERT")), (rule(2), Some("put"), None));
    assert_eq!(map(&by(service(), "MODIFY")), (rule(2), Some("patch"), None));
}

/// The other way round: only the service's deletes count.
#[test]
fn a_rule_may_leave_deletions_out() {
    let text =
        EXPIRED.replace("match", "unless").replacen("remove = \"keep\"", "document = \"text\"\nremove = \"keep\"", 1);
    let op = |record: &StreamRecord| {
        let mapped = mapping(&text).map(&lines(), record).unwrap();
        (mapped.rule, mapped.ops.len())
    };
    let service = json!({"principalId": "dynamodb.amazonaws.com", "type": "Service"});
    assert_eq!(op(&by(Some(service), "REMOVE")), (Some("rule 2".into()), 1));
    assert_eq!(op(&by(None, "REMOVE")), (Some("rule 1".into()), 0));
}

#[test]
fn an_identity_has_no_other_members() {
    let text = EXPIRED.replace("userIdentity.type", "userIdentity.name");
    let error = Mapping::parse(&text, "m").unwrap_err().to_string();
    assert!(error.contains("`match`: `userIdentity` has no `name`"), "{error}");
}

/// DynamoDB puts records without an ARN into a Kinesis data stream.
#[test]
fn a_record_of_a_kinesis_stream_names_its_table() {
    let rule =
        |extra: &str| format!("[[rule]]\ncollection = \"lines\"\n{extra}\nid = \"{{PK}}\"\ndocument = \"text\"\n");
    let insert = record("INSERT", None, Some(item(json!({}))));
    let kinesis = StreamRecord { source_arn: None, table_name: Some("Receipts".into()), ..insert };
    let ops = |extra: &str| mapping(&rule(extra)).map(&lines(), &kinesis).unwrap().ops.len();
    assert_eq!((ops("table = \"Rec*\""), ops("table = \"Other\""), ops("")), (1, 0, 1));
    refused(&rule("arn = \"*\""), &kinesis, &["rule 1", "eventSourceARN", "`table`"]);
}

/// An export names its table, and a rule about the table's stream is about it, too.
#[test]
fn a_rule_about_a_stream_takes_the_table_of_an_export() {
    let arn = "arn:aws:dynamodb:us-east-1:123456789012:table/Receipts";
    let rule = |arn: &str| {
        format!("[[rule]]\ncollection = \"lines\"\narn = \"{arn}\"\nid = \"{{PK}}\"\ndocument = \"text\"\n")
    };
    let insert = record("INSERT", None, Some(item(json!({}))));
    let exported = StreamRecord { source_arn: Some(arn.into()), ..insert };
    let ops = |pattern: &str| mapping(&rule(pattern)).map(&lines(), &exported).unwrap().ops.len();
    assert_eq!(ops("arn:aws:dynamodb:*:123456789012:table/Receipts/stream/2026-01-01"), 1);
    assert_eq!((ops(arn), ops("arn:*:table/Other/stream/*"), ops("*/stream/*")), (1, 0, 1));
}
