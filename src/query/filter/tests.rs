use std::collections::BTreeMap;

use deltafold_format::{Metadata, Value};
use proptest::prelude::*;

use super::by_the_book;
use super::*;

fn parsed(text: &str) -> Filter {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Records with one value under `k`, one with another key, and documents. The names describe their
/// content.
fn records() -> Vec<(&'static str, Metadata, Option<&'static str>)> {
    let one = |value| Metadata::from([("k".to_owned(), value)]);
    vec![
        ("other", Metadata::from([("z".to_owned(), Value::I64(1))]), Some("Hello_World 50%")),
        ("none", Metadata::new(), None),
        ("int", one(Value::I64(1)), Some("hello")),
        ("float", one(Value::F64(1.5)), Some("x")),
        ("whole", one(Value::F64(1.0)), Some("y")),
        ("str", one(Value::String("a".to_owned())), Some("z")),
        ("bool", one(Value::Bool(true)), Some("")),
        ("ints", one(Value::I64s(vec![1, 2])), Some("abc")),
        ("strs", one(Value::Strings(vec!["a".to_owned(), "b".to_owned()])), Some("abc\ndef")),
        ("floats", one(Value::F64s(vec![1.0, 2.5])), Some("ABC")),
        ("bools", one(Value::Bools(vec![true])), None),
        ("empty", one(Value::Strings(Vec::new())), None),
        ("big", one(Value::I64((1 << 53) + 1)), Some("l")),
    ]
}

fn found(filter: &Filter) -> String {
    let matcher = filter.matcher().unwrap();
    let names = records().into_iter().filter(|(_, metadata, document)| {
        let found = matcher.matches_parts(metadata, *document);
        assert_eq!(found, by_the_book::matches(filter, metadata, *document), "{filter} on {metadata:?}");
        found
    });
    names.map(|(name, ..)| name).collect::<Vec<_>>().join(" ")
}

/// Chroma 1.5.9 gives the same answers for the clauses that it knows, with one exception: its list
/// of floats does not contain an integer.
#[test]
fn clauses_match_as_in_chroma() {
    let all_but = |names: &str| {
        let without: Vec<&str> = names.split(' ').collect();
        let left = records().into_iter().map(|(name, ..)| name).filter(|name| !without.contains(name));
        left.collect::<Vec<_>>().join(" ")
    };
    let cases = [
        (r#"{"k": 1}"#, "int whole".to_owned()),
        (r#"{"k": 1.0}"#, "int whole".to_owned()),
        (r#"{"k": {"$eq": 1.5}}"#, "float".to_owned()),
        (r#"{"k": true}"#, "bool".to_owned()),
        (r#"{"k": "a"}"#, "str".to_owned()),
        (r#"{"k": {"$ne": 1}}"#, all_but("int whole")),
        (r#"{"k": {"$ne": "a"}}"#, all_but("str")),
        (r#"{"k": {"$gt": 1}}"#, "float big".to_owned()),
        (r#"{"k": {"$gte": 1.5}}"#, "float big".to_owned()),
        (r#"{"k": {"$lt": 1.5}}"#, "int whole".to_owned()),
        (r#"{"k": {"$lte": 1.5}}"#, "int float whole".to_owned()),
        (r#"{"k": {"$gte": "a"}}"#, "str".to_owned()),
        (r#"{"k": {"$gt": "a"}}"#, String::new()),
        (r#"{"k": {"$lt": "b"}}"#, "str".to_owned()),
        (r#"{"k": {"$in": [1, 1.5]}}"#, "int float whole".to_owned()),
        (r#"{"k": {"$in": ["a", "x"]}}"#, "str".to_owned()),
        (r#"{"k": {"$in": [false]}}"#, String::new()),
        (r#"{"k": {"$nin": [1, 2]}}"#, all_but("int whole")),
        (r#"{"k": {"$contains": 1}}"#, "ints floats".to_owned()),
        (r#"{"k": {"$contains": "b"}}"#, "strs".to_owned()),
        (r#"{"k": {"$contains": true}}"#, "bools".to_owned()),
        (r#"{"k": {"$not_contains": 2}}"#, all_but("ints")),
        (r#"{"k": {"$startsWith": "a"}}"#, "str".to_owned()),
        (r#"{"k": {"$startsWith": ""}}"#, "str".to_owned()),
        (r#"{"k": {"$exists": true}}"#, all_but("other none")),
        (r#"{"k": {"$exists": false}}"#, "other none".to_owned()),
        (r#"{"k": 9007199254740992.0}"#, String::new()),
        (r#"{"k": {"$gt": 9007199254740992.0}}"#, "big".to_owned()),
        (r#"{"k": 9007199254740993}"#, "big".to_owned()),
        (r##"{"#document": {"$contains": "l"}}"##, "other int big".to_owned()),
        (r##"{"#document": {"$contains": "H"}}"##, "other".to_owned()),
        (r##"{"#document": {"$contains": "oxW"}}"##, String::new()),
        (r##"{"#document": {"$contains": "abc\nd"}}"##, "strs".to_owned()),
        (r##"{"#document": {"$contains": ""}}"##, all_but("")),
        (r##"{"#document": {"$not_contains": "l"}}"##, all_but("other int big")),
        (r##"{"#document": {"$not_contains": ""}}"##, String::new()),
        (r##"{"#document": {"$regex": "(?i)hello"}}"##, "other int".to_owned()),
        (r##"{"#document": {"$regex": "c$"}}"##, "ints".to_owned()),
        (r##"{"#document": {"$regex": "c.d"}}"##, String::new()),
        (r##"{"#document": {"$not_regex": "l"}}"##, all_but("other int big")),
        (r##"{"#document": {"$exists": false}}"##, "none bools empty".to_owned()),
        (r##"{"$and": [{"k": {"$gte": 1}}, {"#document": {"$contains": "l"}}]}"##, "int big".to_owned()),
        (r#"{"$or": [{"k": "a"}, {"z": 1}]}"#, "other str".to_owned()),
        (r#"{"$or": [{"k": "a"}]}"#, "str".to_owned()),
        (r#"{"$not": {"k": {"$exists": true}}}"#, "other none".to_owned()),
        (r#"{"$not": {"k": {"$gt": 1}}}"#, all_but("float big")),
        (r#"{"$not": {"$not": {"k": "a"}}}"#, "str".to_owned()),
        (r##"{"#other": 1}"##, String::new()),
    ];
    for (text, expected) in cases {
        let filter = parsed(text);
        assert_eq!(found(&filter), expected, "{text}");
        assert_eq!(parsed(&filter.to_string()), filter, "{text}");
    }
}

#[test]
fn document_filters_match_as_in_chroma() {
    let cases = [
        (r#"{"$contains": "l"}"#, "other int big"),
        (r#"{"$and": [{"$contains": "l"}, {"$not_contains": "H"}]}"#, "int big"),
        (r#"{"$or": [{"$regex": "^a"}, {"$contains": "x"}]}"#, "float ints strs"),
        (r#"{"$and": [{"$not": {"$not_regex": "c"}}]}"#, "ints strs"),
        (r#"{"$exists": false}"#, "none bools empty"),
    ];
    for (text, expected) in cases {
        let filter = Filter::parse_document(text).unwrap();
        assert_eq!(found(&filter), expected, "{text}");
        assert_eq!(parsed(&filter.to_string()), filter, "{text}");
    }
}

/// Numbers around every place where an i64 and an f64 begin to differ, each compared with each.
#[test]
fn numbers_compare_by_value_at_every_edge() {
    let integers = by_the_book::INTEGERS.map(Scalar::I64).into_iter();
    let numbers: Vec<Scalar> = integers.chain(by_the_book::FLOATS.map(Scalar::F64)).collect();
    let compare = [Filter::equals, Filter::greater, Filter::at_least, Filter::less, Filter::at_most];
    for operand in &numbers {
        let mut filters: Vec<Filter> = compare.iter().map(|compare| compare("k", operand.clone())).collect();
        filters.push(Filter::is_in("k", [operand.clone(), Scalar::I64(7)]));
        for filter in filters {
            let matcher = filter.matcher().unwrap();
            for number in &numbers {
                let value = match number {
                    Scalar::I64(number) => Value::I64(*number),
                    Scalar::F64(number) => Value::F64(*number),
                    _ => unreachable!("only numbers are compared here"),
                };
                let metadata = Metadata::from([("k".to_owned(), value)]);
                let expected = by_the_book::matches(&filter, &metadata, None);
                assert_eq!(matcher.matches_parts(&metadata, None), expected, "{filter} on {number:?}");
            }
        }
    }
}

#[test]
fn builders_equal_the_json_form() {
    let cases = [
        (Filter::equals("k", "a"), r#"{"k":{"$eq":"a"}}"#),
        (Filter::not_equals("k", 1), r#"{"k":{"$ne":1}}"#),
        (Filter::greater("k", 1.0), r#"{"k":{"$gt":1.0}}"#),
        (Filter::at_least("k", 1_i64), r#"{"k":{"$gte":1}}"#),
        (Filter::less("k", 1_u32), r#"{"k":{"$lt":1}}"#),
        (Filter::at_most("k", "b".to_owned()), r#"{"k":{"$lte":"b"}}"#),
        (Filter::is_in("k", ["a", "b"]), r#"{"k":{"$in":["a","b"]}}"#),
        (Filter::not_in("k", [true]), r#"{"k":{"$nin":[true]}}"#),
        (Filter::contains("k", 2), r#"{"k":{"$contains":2}}"#),
        (Filter::not_contains("k", 2), r#"{"k":{"$not_contains":2}}"#),
        (Filter::starts_with("k", "a"), r#"{"k":{"$startsWith":"a"}}"#),
        (!Filter::exists("k"), r#"{"$not":{"k":{"$exists":true}}}"#),
        (!!Filter::exists("k"), r#"{"k":{"$exists":true}}"#),
        (Filter::document_contains("a"), r##"{"#document":{"$contains":"a"}}"##),
        (Filter::document_matches("a+"), r##"{"#document":{"$regex":"a+"}}"##),
        (
            Filter::exists("a").and(Filter::exists("b")).and(Filter::exists("c")).or(Filter::exists("d")),
            r#"{"$or":[{"$and":[{"a":{"$exists":true}},{"b":{"$exists":true}},{"c":{"$exists":true}}]},{"d":{"$exists":true}}]}"#,
        ),
    ];
    for (filter, text) in cases {
        assert_eq!(filter.to_string(), text);
        assert_eq!(parsed(text), filter);
    }
}

#[test]
fn each_error_names_place_and_remedy() {
    let deep = format!("{}{}{}", r#"{"$not":"#.repeat(33), r#"{"k":1}"#, "}".repeat(33));
    let deeper = format!("{}{}{}", r#"{"$and":["#.repeat(50), r#"{"k":1}"#, "]}".repeat(50));
    let long = format!(r#"{{"{}": 1}}"#, "k".repeat(257));
    let pattern = format!(r##"{{"#document": {{"$regex": "{}"}}}}"##, "a".repeat(4_097));
    let cases = [
        ("", "", "not valid JSON"),
        (r#"{"k": 1"#, "", "not valid JSON"),
        (r#"{"k": 1} x"#, "", "not valid JSON"),
        ("{}", "", "the object is empty; write a clause such as"),
        ("[]", "", "expected a clause such as"),
        ("null", "", "found null"),
        (r#"{"a": 1, "b": 2}"#, "", "an object has one key, this one has 2: `a`, `b`; make an object of each"),
        (r#"{"a": 1, "a": 2}"#, "", "this one has 2: `a`, `a`"),
        (r#"{"$and": []}"#, "$and", "the list is empty; name at least one clause"),
        (r#"{"$or": {"k": 1}}"#, "$or", "expected a list of clauses, found an object"),
        (r#"{"$nor": [{"k": 1}]}"#, "$nor", "a clause begins with a metadata key"),
        (r#"{"$contains": "a"}"#, "$contains", "put operators below a key"),
        (r#"{"k": {}}"#, "k", "the object is empty; write a condition such as"),
        (r#"{"k": null}"#, "k", r#"write `{"$exists": false}`"#),
        (r#"{"k": [1]}"#, "k", r#"write `{"$in": […]}`"#),
        (r#"{"k": {"$gt": 1, "$lt": 2}}"#, "k", "join them with `$and`"),
        (r#"{"k": {"$like": "a"}}"#, "k.$like", "there is no such operator; expected $eq"),
        (r#"{"k": {"eq": 1}}"#, "k.eq", "there is no such operator"),
        (r#"{"k": {"$regex": "a"}}"#, "k.$regex", "expressions match documents only"),
        (r#"{"k": {"$not": {"$gt": 1}}}"#, "k.$not", "stands around whole clauses"),
        (r#"{"k": {"$in": []}}"#, "k.$in", "the list is empty; name at least one value"),
        (r#"{"k": {"$in": 1}}"#, "k.$in", "expected a list of values, found a number"),
        (r#"{"k": {"$in": [1, "a"]}}"#, "k.$in[1]", "began with a number and here is a string"),
        (r#"{"k": {"$in": [1, null]}}"#, "k.$in[1]", "found null"),
        (r#"{"k": {"$gt": true}}"#, "k.$gt", "booleans have no order"),
        (r#"{"k": {"$eq": {"a": 1}}}"#, "k.$eq", "expected a string, a number or a boolean, found an object"),
        (r#"{"k": 9223372036854775808}"#, "k", "does not fit a 64-bit integer; write it as a float"),
        (r#"{"k": {"$exists": 1}}"#, "k.$exists", "expected true or false, found a number"),
        (r#"{"k": {"$startsWith": 1}}"#, "k.$startsWith", "expected a string, found a number"),
        (r##"{"#document": "a"}"##, "#document", "expected a condition on the document such as"),
        (r##"{"#document": {"$eq": "a"}}"##, "#document.$eq", "the document has no such operator"),
        (r##"{"#document": {"$contains": 1}}"##, "#document.$contains", "expected a string"),
        (r##"{"#document": {"$regex": "("}}"##, "#document.$regex", "`(` is not a regular expression: unclosed group"),
        (
            r##"{"#document": {"$not_regex": "a{1000}{1000}"}}"##,
            "#document.$not_regex",
            "more than 1048576 bytes compiled",
        ),
        (&pattern, "#document.$regex", "has 4097 bytes, the limit is 4096; shorten it"),
        (r#"{"": 1}"#, "", "a key has 1 to 256 bytes, this one has 0"),
        (&long, "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk…", "this one has 257"),
        (r#"{"$and": [{"a": 1}, {"year": {"$gt": null}}]}"#, "$and[1].year.$gt", "found null"),
        (&deep, &vec!["$not"; 33].join("."), "more than 32 levels of nesting; flatten it"),
        (&deeper, "", "more than 32 levels of nesting; flatten it"),
    ];
    for (text, path, reason) in cases {
        let error = text.parse::<Filter>().expect_err(text);
        assert_eq!(error.path(), path, "{text}: {error}");
        assert!(error.reason().contains(reason), "{text}: {error}");
        let place = if path.is_empty() { String::new() } else { format!("at `{path}`: ") };
        assert_eq!(error.to_string(), format!("the filter cannot be used: {place}{}", error.reason()));
    }
    let error = Filter::parse_document(r#"{"$and": [{"k": 1}]}"#).unwrap_err();
    assert_eq!(error.path(), "$and[0].k");
}

#[test]
fn a_filter_beyond_a_limit_is_refused() {
    let one = || Filter::equals("k", 1);
    let any = |count: usize| Filter::Or(vec![one(); count]);
    let numbers = |count: usize| Filter::is_in("k", 0..i64::try_from(count).unwrap());
    let nested = |depth: usize| (0..depth).fold(one(), |filter, _| Filter::And(vec![filter]));
    let patterns = |count: usize| Filter::Or(vec![Filter::document_matches("a"); count]);
    let text = |bytes: usize| Filter::document_contains("a".repeat(bytes));
    let cases = [
        (any(Filter::MAX_CLAUSES - 1), any(Filter::MAX_CLAUSES), "4096 clauses"),
        (numbers(Filter::MAX_LISTED), numbers(Filter::MAX_LISTED + 1), "65536 listed values"),
        (nested(Filter::MAX_DEPTH), nested(Filter::MAX_DEPTH + 1), "32 levels of nesting"),
        (
            numbers(Filter::MAX_LISTED - 1).or(numbers(1)),
            numbers(Filter::MAX_LISTED - 1).or(numbers(2)),
            "65536 listed values",
        ),
        (patterns(Filter::MAX_PATTERNS), patterns(Filter::MAX_PATTERNS + 1), "16 regular expressions"),
        (text(Filter::MAX_TEXT_BYTES), text(Filter::MAX_TEXT_BYTES + 1), "4194304 bytes of text"),
    ];
    for (within, beyond, limit) in cases {
        within.check().unwrap();
        let error = beyond.check().unwrap_err();
        assert!(error.reason().contains(&format!("more than {limit}; ")), "{error}");
        assert!(beyond.matcher().is_err());
        assert!(beyond.to_string().parse::<Filter>().is_err(), "{limit}");
    }
}

#[test]
fn a_filter_that_no_json_could_hold_is_refused() {
    let cases = [
        (Filter::equals("k", f64::NAN), "k.$eq", "not finite"),
        (Filter::is_in("k", [f64::INFINITY]), "k.$in[0]", "not finite"),
        (Filter::equals("$k", 1), "$k", "metadata under this key cannot be filtered"),
        (Filter::equals("#document", 1), "#document", "metadata under this key cannot be filtered"),
        (Filter::And(Vec::new()), "$and", "the list is empty"),
        (Filter::is_in("k", Vec::<i64>::new()), "k.$in", "the list is empty"),
        (!Filter::greater("k", true), "$not.k.$gt", "booleans have no order"),
    ];
    for (filter, path, reason) in cases {
        let error = filter.matcher().unwrap_err();
        assert_eq!(error.path(), path);
        assert!(error.reason().contains(reason), "{error}");
    }
}

#[test]
fn a_filter_is_read_within_other_json() {
    let body: BTreeMap<String, Filter> = serde_json::from_str(r#"{"where": {"k": {"$gt": 1}}}"#).unwrap();
    assert_eq!(body["where"], Filter::greater("k", 1));
    let error = serde_json::from_str::<BTreeMap<String, Filter>>(r#"{"where": {"k": {"$gt": []}}}"#).unwrap_err();
    assert!(error.to_string().contains("at `k.$gt`"), "{error}");
}

#[test]
fn a_matcher_names_the_fields_it_reads() {
    let filter = Filter::equals("b", 1).and(Filter::exists("a").or(!Filter::equals("b", 2)));
    let matcher = filter.clone().matcher().unwrap();
    assert_eq!(matcher.keys(), ["a", "b"]);
    assert!(!matcher.reads_documents());
    assert!(filter.and(!Filter::document_contains("x")).matcher().unwrap().reads_documents());
    assert!(!Filter::document_contains("").matcher().unwrap().reads_documents());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_record_matches_as_the_documentation_says(
        filter in by_the_book::filter(),
        records in proptest::collection::vec(by_the_book::record(), 1..8),
    ) {
        let matcher = filter.matcher().unwrap();
        for (metadata, document) in records {
            let document = document.as_deref();
            prop_assert_eq!(
                matcher.matches_parts(&metadata, document),
                by_the_book::matches(&filter, &metadata, document),
                "{} on {:?}, {:?}", filter, metadata, document
            );
        }
    }

    #[test]
    fn every_filter_reads_back_from_its_json_form(filter in by_the_book::filter()) {
        prop_assert_eq!(filter.to_string().parse::<Filter>().unwrap(), filter);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in r##"[{}\[\]":,$k1 #a-z]{0,40}"##) {
        let _ = text.parse::<Filter>();
        let _ = Filter::parse_document(&text);
    }
}
