//! Attributes of items as values, embeddings and documents.

use super::*;

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
        assert_eq!(value(kind, &json!({"NULL": true})), Ok(None), "null is not a value");
    }
    for (kind, attribute, words) in [
        ("i64", json!({"N": "9223372036854775808"}), "does not fit a 64-bit integer; map it as string or as f64"),
        ("i64", json!({"N": "1.5"}), "`1.5` is not an integer"),
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
        (json!({"B": "AAAA"}), "3 bytes are not a whole number"),
        (json!({"NS": ["1"]}), "has no order"),
        (json!({"L": [{"N": "1"}, {"N": "1e39"}]}), "element 1: `1e39`"),
        (json!({"L": [{"S": "1"}]}), "element 0: expected a number"),
        (json!({"S": "[1]"}), "expected a list of numbers"),
    ] {
        let reason = embedding(attribute).unwrap_err();
        assert!(reason.contains("attribute `vector`") && reason.contains(words), "{reason}");
    }
}
