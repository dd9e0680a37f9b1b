use std::io::BufReader;

use proptest::prelude::*;

use super::*;

/// The texts with their places, and the error that ended them.
fn cut(bytes: &[u8], buffer: usize) -> (Layout, Vec<(OpText, String)>, Option<String>) {
    let mut texts = OpTexts::new(BufReader::with_capacity(buffer, bytes), 1 << 16);
    let mut found = Vec::new();
    loop {
        let mut text = Vec::new();
        match texts.read_into(&mut text) {
            Ok(Some(at)) => found.push((at, String::from_utf8_lossy(&text).into_owned())),
            Ok(None) => return (texts.layout(), found, None),
            Err(error) => return (texts.layout(), found, Some(error.to_string())),
        }
    }
}

/// The trimmed texts that are not blank.
fn ops(bytes: &[u8]) -> (Layout, Vec<String>) {
    let (layout, found, error) = cut(bytes, 64);
    assert_eq!(error, None, "{}", String::from_utf8_lossy(bytes));
    (layout, found.into_iter().map(|(_, text)| text.trim().to_owned()).filter(|text| !text.is_empty()).collect())
}

const A: &str = r#"{"op":"put","id":"a","metadata":{"t":"[{,}]"}}"#;
const B: &str = r#"{"op":"delete","id":"b"}"#;

#[test]
fn every_layout_gives_the_same_ops() {
    let pretty = |text: &str| {
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(text).expect("JSON")).expect("JSON")
    };
    let same = |text: String, layout: Layout| {
        for text in [text.clone(), format!("\u{feff}{text}")] {
            let (found, texts) = ops(text.as_bytes());
            let values = |texts: &[&str]| -> Vec<serde_json::Value> {
                texts.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect()
            };
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            assert_eq!((found, values(&texts)), (layout, values(&[A, B])), "{text:?}");
        }
    };
    same(format!("{A}\n{B}\n"), Layout::Lines);
    same(format!("\n \n{A}\r\n{B}"), Layout::Lines);
    same(format!("{A}  \t\r\n\n{B}\r\n\x1a"), Layout::Lines);
    same(format!("{A}\n{B}\x1a"), Layout::Lines);
    same(format!("[{A},{B}]"), Layout::List);
    same(format!(" [\n{A},\n{B}\n]\n\n"), Layout::List);
    same(format!("[\r\n  {}\r\n  , {}]\r\n\x1a", pretty(A), pretty(B)), Layout::List);
    same(format!("{A}{B}"), Layout::Sequence);
    same(format!("{A} {B}\n"), Layout::Sequence);
    same(format!("{A}\r{B}\r"), Layout::Sequence);
    same(format!("\x1e{A}\n\x1e{B}\n"), Layout::Sequence);
    same(format!("{}\n{}\n", pretty(A), pretty(B)), Layout::Sequence);
    same(format!("{}{}\x1a", pretty(A), pretty(B)), Layout::Sequence);
}

#[test]
fn empty_inputs_hold_no_op() {
    for text in ["", "\u{feff}", "\n\n", " ", "\x1a", "[]", "[ \n ]\n"] {
        assert_eq!(ops(text.as_bytes()).1, Vec::<String>::new(), "{text:?}");
    }
}

#[test]
fn broken_lists_and_sequences_tell_their_place() {
    let broken = |text: &str| {
        let (_, found, error) = cut(text.as_bytes(), 16);
        (found.len(), error.expect("an error"))
    };
    let says = |text: &str, count: usize, words: &[&str]| {
        let (found, error) = broken(text);
        assert!(found == count && words.iter().all(|word| error.contains(word)), "{text:?}: {found}, {error}");
    };
    says(&format!("[\n{A},\n{B}\n"), 2, &["line 4, column 1", "ends before its list does"]);
    says(&format!("[\n{A}\n{B}]"), 1, &["line 3, column 1", "a comma is missing"]);
    says(&format!("[{A},]"), 1, &["line 1, column 49", "a comma stands in front of the end"]);
    says(&format!("[{A}]\n{B}"), 1, &["line 2, column 1", "behind the end of the list"]);
    says(&format!("[{A},\n{{\"op\":\"put\",\n \"id\": x y}}]"), 1, &["line 3, column 8", "field `id`", "`x`"]);
    says(&format!("{A}{B},{B}"), 2, &["line 1, column 71", "a comma stands between two objects"]);
    says("{\n  \"op\": \"put\",\n", 0, &["line 1, column 1", "ends within an object"]);
    says(&format!("[{A},{{\"op\""), 1, &["line 1, column 49", "ends within an object"]);
}

#[test]
fn a_broken_first_line_is_a_line() {
    for text in
        ["{\"op\":\"put\",\"id\":\"a\n{\"op\"", "{\"op\":\"put\"\n{\"op\":\"put\"}", "{\"op\",\n{", "{]\n{}", "[1,\n2]"]
    {
        assert_eq!(cut(text.as_bytes(), 8).0, Layout::Lines, "{text:?}");
    }
}

#[test]
fn texts_have_a_limit() {
    let long = format!("{{\"op\":\"put\",\"document\":\"{}\"}}", "d".repeat(1 << 16));
    for text in [format!("{B}\n{long}\n"), format!("[{B},\n{long}]")] {
        let (_, found, error) = cut(text.as_bytes(), 4_096);
        assert_eq!(found.len(), 1);
        assert_eq!(error.as_deref(), Some("line 2: the op that begins here is too long"), "{error:?}");
    }
}

#[test]
fn a_place_counts_lines_and_bytes() {
    let at = OpText { number: 1, line: 3, column: 5 };
    assert_eq!(at.place(b"{\n  x", 1), (3, 5));
    assert_eq!(at.place(b"{\n  x", 2), (3, 6));
    assert_eq!(at.place(b"{\n  x", 5), (4, 3));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// JSON Lines that were taken before the other layouts existed are cut as lines, each as it
    /// stands, whatever the buffer.
    #[test]
    fn lines_of_objects_stay_lines(
        objects in proptest::collection::vec(proptest::collection::btree_map(".*", ".*", 0..3), 1..5),
        breaks in proptest::collection::vec("(\n|\r\n|[ \t]*\n|\n\n)", 5),
        buffer in 1..100_usize,
    ) {
        let lines: Vec<String> = objects.iter().map(|object| serde_json::to_string(object).unwrap()).collect();
        let text: String = lines.iter().zip(&breaks).map(|(line, end)| format!("{line}{end}")).collect();
        let (layout, found, error) = cut(text.as_bytes(), buffer);
        prop_assert_eq!((layout, error), (Layout::Lines, None));
        let whole: String = found.iter().map(|(_, text)| text.as_str()).collect();
        prop_assert_eq!(&whole, &text);
        let trimmed: Vec<&str> = found.iter().map(|(_, text)| text.trim_matches([' ', '\t', '\r', '\n'])).filter(|text| !text.is_empty()).collect();
        prop_assert_eq!(trimmed, lines);
    }

    /// Any bytes are cut to their end or to an error, the same with any buffer.
    #[test]
    fn any_bytes_are_cut(bytes in proptest::collection::vec(prop_oneof![proptest::sample::select(&b"{}[]\",:\\ \n\r\x1e\x1aa1\xef\xbb\xbf"[..]), any::<u8>()], 0..200), buffer in 1..50_usize) {
        prop_assert_eq!(cut(&bytes, buffer), cut(&bytes, 1 << 10));
    }

    /// Any list of values is cut into these values.
    #[test]
    fn a_list_is_cut_into_its_elements(strings in proptest::collection::vec(".*", 0..5), spaces in "[ \n\t\r]{0,3}", buffer in 1..50_usize) {
        let elements: Vec<String> = strings.iter().map(|text| serde_json::json!({"id": text, "n": [1, {}]}).to_string()).collect();
        let text = format!("[{spaces}{}{spaces}]{spaces}", elements.join(&format!("{spaces},{spaces}")));
        let (layout, found, error) = cut(text.as_bytes(), buffer);
        prop_assert_eq!((layout, error), (Layout::List, None));
        prop_assert_eq!(found.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), elements);
    }
}
