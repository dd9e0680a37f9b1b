use proptest::prelude::*;

use super::super::parse_op;
use super::{first_bytes, is_not_finite};

/// The field and the reason for a line.
fn refused(line: &[u8]) -> (usize, String, String) {
    let error = parse_op(line, 1).unwrap_err();
    (error.column(), error.field().to_owned(), error.reason().to_owned())
}

#[track_caller]
fn says(line: impl AsRef<[u8]>, column: usize, field: &str, words: &[&str]) {
    let found = refused(line.as_ref());
    assert_eq!((found.0, found.1.as_str()), (column, field), "{found:?}");
    assert!(words.iter().all(|word| found.2.contains(word)), "{words:?} in {found:?}");
}

/// `json.dumps` of Python writes these words. The error named neither them nor the field.
#[test]
fn numbers_that_are_none_are_named_with_field_and_element() {
    for word in ["NaN", "nan", "Infinity", "-Infinity", "inf", "-inf", "1.#INF", "-NaN"] {
        let line = format!(r#"{{"op":"put","id":"x","embedding":[0.5, {word}]}}"#);
        says(line, 40, "embedding[1]", &[&format!("`{word}` is not a number"), "finite"]);
        let line = format!(r#"{{"op":"put","id":"x","metadata":{{"a":1,"score":{word}}}}}"#);
        says(line, 48, "metadata.score", &[&format!("`{word}` is not a number")]);
        assert!(is_not_finite(word));
    }
    says(r#"{"op":"put","id":"x","metadata":{"l":[1.0,NaN]}}"#, 43, "metadata.l[1]", &["`NaN` is not a number"]);
    says(r#"{"op":"put","id":"x","document":None}"#, 33, "document", &["`None`", "`null`"]);
    says(r#"{"op":"put","id":"x","metadata":{"b":True}}"#, 38, "metadata.b", &["`True`", "`true`"]);
    says(r#"{"op":"put","id":"x","embedding":[.5]}"#, 35, "embedding[0]", &["`.5` is not a number as JSON writes it"]);
    says(r#"{"op":"put","id":"x","embedding":[+1]}"#, 35, "embedding[0]", &["`+1` is not a number"]);
    says("{'op':'put'}", 2, "", &["single quote"]);
}

#[test]
fn halves_of_characters_and_control_characters_are_named() {
    let document = |text: &str| format!(r#"{{"op":"put","id":"a","document":"cut {text}"}}"#);
    says(document("\\ud83d"), 38, "document", &["`\\ud83d` is half of a surrogate pair"]);
    says(document("\\ude00 x"), 38, "document", &["`\\ude00` is half of a surrogate pair"]);
    says(document("\\ud83d\\ud83d\\ude00"), 38, "document", &["`\\ud83d` is half"]);
    says(document("\\\\ud83d \\ud83d"), 46, "document", &["`\\ud83d` is half"]);
    says(r#"{"op":"put","id":"a","metadata":{"\ud800":1}}"#, 35, "metadata", &["`\\ud800` is half"]);
    says(document("a\tb"), 39, "document", &["a tab stands", "write it as `\\t`"]);
    says(document("a\0b"), 39, "document", &["a NUL byte stands", "write it as `\\u0000`"]);
    says(document("a\x1bb"), 39, "document", &["an escape character", "`\\u001b`"]);
    let bytes = |text: &[u8]| [br#"{"op":"put","id":"a","document":"cut "#, text, br#""}"#].concat();
    says(bytes(b"\xed\xa0\xbd"), 38, "document", &["the bytes of U+D83D, half of a surrogate pair"]);
    says(bytes(b"caf\xe9"), 41, "document", &["the byte 0xe9", "in Latin-1 it is `é`", "iconv"]);
    assert!(parse_op(document("\\ud83d\\ude00 \\u0000").as_bytes(), 1).is_ok(), "a pair and NUL are taken");
}

#[test]
fn text_behind_and_missing_text_are_named() {
    let op = r#"{"op":"delete","id":"a"}"#;
    says(format!("{op}{op}"), 25, "", &["another object stands behind", "jq -c"]);
    says(format!("{op},"), 25, "", &["a comma stands behind"]);
    says(format!("{op}]"), 25, "", &["the end of a list"]);
    says(format!("{op} # why"), 26, "", &["a comment stands behind"]);
    says(format!("{op}\0\0"), 25, "", &["a NUL byte stands behind"]);
    says(r#"{"op":"put","id":"b","embeddin"#, 31, "", &["ends within a text", "cut short"]);
    says(r#"{"op":"put","id":"b","embedding":[1,2"#, 38, "embedding[1]", &["ends within a value", "cut short"]);
    says(r#"{"op":"put","id":"b","embedding":[1,"#, 37, "embedding[1]", &["ends within a list", "cut short"]);
    says(r#"{"op":"put""#, 12, "", &["ends within an object", "cut short"]);
}

#[test]
fn words_of_other_programs_are_understood() {
    let field = |name: &str| refused(format!(r#"{{"{name}":1}}"#).as_bytes());
    for (name, meant) in [
        ("OP", "op"),
        ("Id", "id"),
        ("ID", "id"),
        ("metadatas", "metadata"),
        ("documents", "document"),
        ("embeddings", "embedding"),
        ("embeding", "embedding"),
        ("metdata", "metadata"),
        ("vector", "embedding"),
        ("page_content", "document"),
    ] {
        assert_eq!(field(name).2, format!("unknown field; did you mean `{meant}`?"), "{name}");
    }
    assert!(field("uri").2.ends_with("Other data belongs in `metadata`"), "{:?}", field("uri"));
    assert!(field("ids").2.contains("jq -c 'range(.ids|length) as $i |"), "{:?}", field("ids"));
    let op = |name: &str| refused(format!(r#"{{"op":"{name}","id":"a"}}"#).as_bytes()).2;
    for (name, meant) in
        [("PUT", "put"), ("insert", "add"), ("update", "patch"), ("remove", "delete"), ("upsrt", "upsert")]
    {
        assert!(op(name).contains(&format!("unknown op `{name}`; did you mean `{meant}`?")), "{}", op(name));
    }
    assert!(op("zzz").contains("unknown op `zzz`; expected put"), "{}", op("zzz"));
}

#[test]
fn embeddings_in_other_forms_are_named() {
    let embedding = |text: &str| format!(r#"{{"op":"put","id":"a","embedding":{text}}}"#);
    says(embedding(r#""zcxMPs3MzD4=""#), 34, "embedding", &["expected a list of numbers, found a text of base64"]);
    says(embedding(r#""[0.1 0.2]""#), 34, "embedding", &["a list that was printed as a text", ".tolist()"]);
    says(embedding(r#""array([0.1, 0.2])""#), 34, "embedding", &["a list that was printed as a text"]);
    says(embedding("[[0.1,0.2]]"), 35, "embedding[0]", &["found a list", "within another list"]);
    says(embedding(r#"["NaN",0.1]"#), 35, "embedding[0]", &["found the text \"NaN\"", "finite"]);
    says(embedding(r#"[0.1,"0.2"]"#), 39, "embedding[1]", &["found the text \"0.2\"", "without quotes"]);
    says(embedding(r#"{"0":1}"#), 34, "embedding", &["expected a list of numbers, found an object"]);
    says(embedding("[null,0.1]"), 35, "embedding[0]", &["expected a number, found null"]);
    says(embedding("[1e39,0.1]"), 35, "embedding[0]", &["too large for a 32-bit float"]);
    says(embedding("[1e999,0.1]"), 35, "embedding[0]", &["too large for a 32-bit float"]);
    assert!(
        parse_op(embedding("[1e-50,1.4e-45]").as_bytes(), 1).is_ok(),
        "a number that is too small becomes the nearest float"
    );
}

#[test]
fn formats_are_known_by_their_first_bytes() {
    let op = r#"{"op":"delete","id":"a"}"#;
    let utf16 = |mark: &[u16], big: bool| -> Vec<u8> {
        let units = mark.iter().copied().chain(op.encode_utf16());
        units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    };
    let utf32: Vec<u8> = op.bytes().flat_map(|byte| u32::from(byte).to_be_bytes()).collect();
    let mut tar = vec![b'a'; 600];
    tar[257..262].copy_from_slice(b"ustar");
    let table: &[(&[u8], &str)] = &[
        (&utf16(&[0xfeff], false), "UTF-16LE"),
        (&utf16(&[0xfeff], true), "UTF-16BE"),
        (&utf16(&[], false), "UTF-16LE"),
        (&utf16(&[], true), "UTF-16BE"),
        (&utf32, "UTF-32BE"),
        (b"\xff\xfe\0\0{\0\0\0", "UTF-32LE"),
        (b"BZh91AY&SY", "bzip2 -dc"),
        (b"\xfd7zXZ\0\0\x04", "xz -dc"),
        (b"\x04\x22\x4d\x18d@", "lz4 -dc"),
        (b"\xff\x06\0\0sNaPpY", "snappy"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"PK\x03\x04", "zip"),
        (&tar, "tar"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"ARROW1\0\0", "Arrow"),
        (b"\xff\xff\xff\xff\x78\0", "Arrow stream"),
        (b"\x93NUMPY\x01\0v\0{'descr'", "NumPy"),
        (b"\x80\x04\x95\x0f\0", "pickle"),
        (b"SQLite format 3\0", "deltafold import chroma"),
        (b"Obj\x01\x04", "Avro"),
        (b"ORC\x08", "ORC"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"H4sIAAAAAAAAA6tWKkvM", "base64 -d"),
        (b"eyJvcCI6InB1dCJ9", "base64 -d"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"<?xml version=\"1.0\"?><Error>", "XML"),
        (b"id,embedding\r\n", "CSV"),
        (b"id\tembedding", "TSV"),
        (b"# header", "comment"),
        (b"// header", "comment"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (&[0; 512], "512 NUL bytes"),
        (b"\x1a{", "Ctrl-Z"),
        (b"\x1e{", "record separator"),
        (b"---", "YAML"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"\x1f\x8b\x08", "decompress it once"),
    ];
    for (bytes, word) in table {
        let error = parse_op(bytes, 1).unwrap_err();
        assert!(error.reason().contains(word), "{word}: {error}");
        assert!(first_bytes(bytes).is_some_and(|said| said.contains(word)), "{word}");
    }
    for text in ["hello", "[1]", "5", "true", "\"a\"", "", "null", "]", "[", "{"] {
        assert_eq!(first_bytes(text.as_bytes()), None, "{text}");
    }
}

/// Story: `NaN` in a batch of vectors was "expected value at line 1 column 34" to clients.
#[cfg(feature = "serve")]
#[test]
fn a_body_that_is_not_json_is_told_with_its_field() {
    let said = |body: &str| {
        let error = serde_json::from_str::<serde_json::Value>(body).unwrap_err();
        super::in_body(body.as_bytes(), &error)
    };
    let nan = said(r#"{"ids":["a"],"embeddings":[[0.1,NaN]]}"#).unwrap();
    assert!(nan.starts_with("field `embeddings[0][1]`: `NaN` is not a number"), "{nan}");
    let spread = said("{\n \"documents\": [\n  \"a\", \"cut \\ud83d\"]}").unwrap();
    assert!(spread.starts_with("field `documents[1]`: `\\ud83d` is half of a surrogate pair"), "{spread}");
    let tab = said("{\"documents\":[\"a\tb\"]}").unwrap();
    assert!(tab.starts_with("field `documents[0]`: a tab stands"), "{tab}");
    assert_eq!(said("{\"ids\":"), None, "the parser tells as much");
}

proptest! {
    /// The first bytes of a known format with anything behind them are named, and never panic.
    #[test]
    fn any_bytes_behind_a_signature_are_refused(which in 0..super::known::SIGNED.len(), rest in proptest::collection::vec(any::<u8>(), 0..600)) {
        let line = [super::known::SIGNED[which].0, &rest].concat();
        let error = parse_op(&line, 1).unwrap_err();
        prop_assert!((1..=line.len() + 1).contains(&error.column()), "{error}");
    }

    /// A line that was damaged anywhere is refused within the line, or is an op.
    #[test]
    fn a_changed_line_is_refused_within_it(at in any::<proptest::sample::Index>(), put in proptest::collection::vec(any::<u8>(), 0..4), cut in 0..4_usize) {
        let mut line = br#"{"op":"put","id":"\ud83d\ude00","embedding":[0.1,-2],"metadata":{"a":[1,2],"b":"c"},"document":"d"}"#.to_vec();
        let at = at.index(line.len());
        let end = (at + cut).min(line.len());
        line.splice(at..end, put);
        if let Err(error) = parse_op(&line, 1) {
            prop_assert!((1..=line.len() + 1).contains(&error.column()), "{error} of {}", line.len());
            prop_assert!(!error.reason().is_empty());
        }
    }
}
