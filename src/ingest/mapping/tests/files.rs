//! Errors and limits of mapping files.

use deltafold_format::limits::{MAX_KEY_BYTES, MAX_METADATA_KEYS};

use super::*;

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

/// A mapping may name as many metadata keys as a record may have, and of the same length.
#[test]
fn metadata_of_a_mapping_has_the_limits_of_a_record() {
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
