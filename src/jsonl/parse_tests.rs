use deltafold_format::{Action, Change, Op, OpRules, Patch, Record, Revision, Value};

use super::{parse_op, parse_op_for};

fn refused(line: &str, expected: &str) {
    assert_eq!(parse_op(line.as_bytes(), 7).unwrap_err().to_string(), expected, "{line}");
}

fn parsed(line: &str) -> Op {
    parse_op(line.as_bytes(), 1).unwrap()
}

#[test]
fn every_op_in_every_field() {
    let full = r#""id":"a","embedding":[1,-2.5e0 , 3],"metadata":{"s":"x","i":-1,"f":1.0,"b":true,"l":["p","q"]},"document":"d\n""#;
    let metadata = [
        ("s", Value::String("x".into())),
        ("i", Value::I64(-1)),
        ("f", Value::F64(1.0)),
        ("b", Value::Bool(true)),
        ("l", Value::Strings(vec!["p".into(), "q".into()])),
    ];
    let record = Record {
        embedding: Some(vec![1.0, -2.5, 3.0]),
        metadata: metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        document: Some("d\n".into()),
    };
    let patch = Patch {
        embedding: Change::Set(vec![1.0, -2.5, 3.0]),
        metadata: metadata.iter().map(|(key, value)| ((*key).to_owned(), Some(value.clone()))).collect(),
        document: Change::Set("d\n".into()),
    };
    assert_eq!(parsed(&format!(" {{\"op\":\"put\",{full}}}\r")), Op::put("a", record.clone()));
    assert_eq!(parsed(&format!("{{\"op\":\"add\",{full}}}")), Op::add("a", record));
    assert_eq!(parsed(&format!("{{{full},\"op\":\"upsert\"}}")), Op::upsert("a", patch.clone()));
    assert_eq!(parsed(&format!("{{\"op\":\"patch\",{full}}}")), Op::patch("a", patch));
    assert_eq!(parsed(r#"{"op":"delete","id":"a","document":null}"#), Op::delete("a"));
}

#[test]
fn null_clears_in_patches_and_is_nothing_elsewhere() {
    let nulls = r#""id":"a","embedding":null,"metadata":null,"document":null"#;
    let cleared = Patch { embedding: Change::Clear, document: Change::Clear, ..Patch::default() };
    assert_eq!(parsed(&format!("{{\"op\":\"patch\",{nulls}}}")), Op::patch("a", cleared.clone()));
    assert_eq!(parsed(&format!("{{\"op\":\"upsert\",{nulls}}}")), Op::upsert("a", cleared));
    assert_eq!(parsed(&format!("{{\"op\":\"put\",{nulls}}}")), Op::put("a", Record::default()));
    let Action::Patch(patch) = parsed(r#"{"op":"patch","id":"a","metadata":{"k":null}}"#).action else { panic!() };
    assert_eq!(patch.metadata.get("k"), Some(&None));
    assert_eq!(patch.document, Change::Keep);
}

#[test]
fn numbers_keep_their_type() {
    let value = |text: &str| {
        let Action::Put(record) = parsed(&format!(r#"{{"op":"put","id":"a","metadata":{{"k":{text}}}}}"#)).action
        else {
            panic!()
        };
        record.metadata["k"].clone()
    };
    assert_eq!(value("9223372036854775807"), Value::I64(i64::MAX));
    assert_eq!(value("-0"), Value::I64(0));
    assert_eq!(value("1e2"), Value::F64(100.0));
    assert_eq!(value("[1,2]"), Value::I64s(vec![1, 2]));
    assert_eq!(value("[1.5, 2E1]"), Value::F64s(vec![1.5, 20.0]));
    assert_eq!(value("[ true ,false]"), Value::Bools(vec![true, false]));
    assert_eq!(value("[]"), Value::Strings(vec![]));
    assert_eq!(value(r#"["a,]","\u00e9"]"#), Value::Strings(vec!["a,]".into(), "é".into()]));
}

#[test]
fn a_bad_line_says_where_and_why() {
    refused("", "line 7, column 1: expected a JSON object, found an empty line");
    refused("[1]", "line 7, column 1: expected a JSON object, found a list");
    refused(
        r#"{"op":"put","id":"a""#,
        "line 7, column 21: the line ends within an object: it is cut short, or the op goes on behind a line break; write one op a line, as `jq -c . FILE` does",
    );
    refused(r#"  {"op":"put","id":}"#, "line 7, column 20: field `id`: not valid JSON: expected value");
    refused(r#"{"op":"put","id":"a"} x"#, "line 7, column 23: `x` stands behind the object; remove it");
    refused(
        r#"{"id":"a"}"#,
        "line 7, column 1: field `op`: it is missing; expected \"put\", \"upsert\", \"add\", \"patch\" or \"delete\"",
    );
    refused(r#"{"op":"put"}"#, "line 7, column 1: field `id`: it is missing; every op names a record");
    refused(
        r#"{"op":"set","id":"a"}"#,
        "line 7, column 7: field `op`: unknown op `set`; did you mean `put`? The ops are put, upsert, add, patch and delete",
    );
    refused(r#"{"op":"put","id":4}"#, "line 7, column 18: field `id`: expected a string, found a number");
    refused(
        r#"{"op":"put","id":"a","vector":[]}"#,
        "line 7, column 31: field `vector`: unknown field; did you mean `embedding`?",
    );
    refused(r#"{"op":"put","id":"a","id":"b"}"#, "line 7, column 27: field `id`: the line holds it twice; remove one");
    refused(
        r#"{"op":"put","id":"a","metadata":{"k":1,"k":2}}"#,
        "line 7, column 44: field `metadata.k`: the metadata holds the key twice; remove one",
    );
    refused(
        r#"{"op":"put","id":"a","metadata":{"k":null}}"#,
        "line 7, column 38: field `metadata.k`: null is not a value; leave the key out, or remove it with a patch",
    );
    refused(
        r#"{"op":"put","id":"a","metadata":[]}"#,
        "line 7, column 33: field `metadata`: expected an object of keys and values, found a list",
    );
    refused(
        r#"{"op":"put","id":"a","metadata":{"k":{}}}"#,
        "line 7, column 38: field `metadata.k`: an object cannot be a metadata value; flatten it into keys of its own",
    );
    refused(
        r#"{"op":"put","id":"a","metadata":{"k":[1,"x"]}}"#,
        "line 7, column 41: field `metadata.k[1]`: a list holds values of one type; this one began with an integer, and here is a string",
    );
    refused(
        r#"{"op":"put","id":"a","metadata":{"k":[1,2.5]}}"#,
        "line 7, column 41: field `metadata.k[1]`: a list holds values of one type; this one began with an integer, and here is a float",
    );
    refused(
        r#"{"op":"put","id":"a","metadata":{"k":[[1]]}}"#,
        "line 7, column 39: field `metadata.k[0]`: a list holds strings, integers, floats or booleans, not a list",
    );
    refused(
        r#"{"op":"put","id":"a","metadata":{"k":9223372036854775808}}"#,
        "line 7, column 38: field `metadata.k`: `9223372036854775808` does not fit a 64-bit integer; write it as a string or as a float",
    );
    refused(
        r#"{"op":"put","id":"a","metadata":{"k":1e999}}"#,
        "line 7, column 38: field `metadata.k`: `1e999` is too large for a 64-bit float",
    );
    refused(
        r#"{"op":"put","id":"a","metadata":{"k":"\ud800"}}"#,
        "line 7, column 39: field `metadata.k`: `\\ud800` is half of a surrogate pair without its other half, so it is not a character; mend the text where it was cut",
    );
    refused(
        r#"{"op":"put","id":"a","embedding":[0.1, "x"]}"#,
        "line 7, column 40: field `embedding[1]`: expected a number, found a string",
    );
    refused(
        r#"{"op":"put","id":"a","embedding":[0.1, null]}"#,
        "line 7, column 40: field `embedding[1]`: expected a number, found null",
    );
    refused(
        r#"{"op":"put","id":"a","embedding":[1e39]}"#,
        "line 7, column 35: field `embedding[0]`: `1e39` is too large for a 32-bit float, the limit is 3.4028235e38",
    );
    refused(
        r#"{"op":"put","id":"a","embedding":[NaN]}"#,
        "line 7, column 35: field `embedding[0]`: `NaN` is not a number: JSON and Deltafold hold finite numbers alone; mend the value, or leave it out",
    );
    refused(
        r#"{"op":"put","id":"a","embedding":"x"}"#,
        "line 7, column 34: field `embedding`: expected a list of numbers, found a string",
    );
    refused(
        r#"{"op":"patch","id":"a","document":5}"#,
        "line 7, column 35: field `document`: expected a string, found a number",
    );
    refused(
        r#"{"op":"delete","id":"a","metadata":{}}"#,
        "line 7, column 36: field `metadata`: a delete carries nothing but the id",
    );
    let error = parse_op(b"{\"op\":\"put\",\"id\":\"\xff\"}", 2).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2, column 19: field `id`: not UTF-8 from here on: the byte 0xff; in Latin-1 it is `ÿ`. Turn the input into UTF-8, as `iconv -f WINDOWS-1252 -t UTF-8` does from that encoding"
    );
    assert_eq!((error.line(), error.column(), error.field()), (2, 19, "id"));
}

#[test]
fn a_revision_is_digits_in_a_number_or_a_string() {
    for (text, number) in [("0", 0), ("17", 17), ("\"17\"", 17), (&u128::MAX.to_string(), u128::MAX)] {
        let op = parsed(&format!(r#"{{"op":"delete","id":"a","revision":{text}}}"#));
        assert_eq!(op, Op::delete("a").at(Revision::new(number)));
    }
    for text in ["-1", "1.0", "1e3", "\"\"", "\"x\"", "null", "[1]", "340282366920938463463374607431768211456"] {
        let error = parse_op(format!(r#"{{"op":"delete","id":"a","revision":{text}}}"#).as_bytes(), 1).unwrap_err();
        assert_eq!((error.field(), error.column()), ("revision", 36), "{error}");
    }
    let line = |more: &str| format!(r#"{{"op":"put","id":"a"{more}}}"#);
    let refused = |more: &str, rules: OpRules| parse_op_for(line(more).as_bytes(), 3, rules).unwrap_err().to_string();
    assert_eq!(
        refused("", OpRules::revision(2)),
        "line 3, column 1: field `revision`: is missing; this collection is ordered by revision, so give every op one: a number of up to 39 digits"
    );
    assert_eq!(
        refused(r#","revision":5"#, OpRules::log(2)),
        "line 3, column 33: field `revision`: must not be there: this collection is ordered by its log; leave it out, or create one with the ordering `revision`"
    );
    let add = parse_op_for(br#"{"op":"add","id":"a","revision":5}"#, 3, OpRules::revision(2)).unwrap_err();
    assert_eq!((add.field(), add.column()), ("op", 7), "{add}");
}

#[test]
fn deep_nesting_is_refused_without_a_stack_overflow() {
    let deep = "[".repeat(200_000);
    assert!(parse_op(format!("{{\"op\":\"put\",\"id\":\"a\",\"metadata\":{{\"k\":{deep}").as_bytes(), 1).is_err());
    let closed = format!("{{\"op\":\"put\",\"id\":\"a\",\"metadata\":{{\"k\":{deep}{}}}}}", "]".repeat(200_000));
    assert!(parse_op(closed.as_bytes(), 1).is_err());
}

#[test]
fn limits_and_the_dimension_are_checked_with_the_column() {
    let line = br#"{"op":"put","id":"a","embedding":[1,2]}"#;
    assert_eq!(parse_op_for(line, 3, OpRules::log(2)).unwrap(), parse_op(line, 3).unwrap());
    assert_eq!(
        parse_op_for(line, 3, OpRules::log(4)).unwrap_err().to_string(),
        "line 3, column 34: field `embedding`: has 2 numbers, the collection's dimension is 4"
    );
    assert_eq!(
        parse_op_for(br#"{"op":"delete","id":""}"#, 3, OpRules::log(4)).unwrap_err().to_string(),
        "line 3, column 21: field `id`: is empty; give it at least one byte"
    );
    assert_eq!(
        parse_op_for(br#"{"op":"put","id":"a","metadata":{"":1}}"#, 3, OpRules::log(4)).unwrap_err().to_string(),
        "line 3, column 33: field `metadata`: key `` is empty; give it at least one byte"
    );
}
