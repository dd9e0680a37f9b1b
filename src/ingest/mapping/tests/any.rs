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
        prop_oneof![Just("0"), Just("-1.5"), Just("2"), Just("2.0"), Just("7E1")].prop_map(|text| json!({"N": text}))
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
