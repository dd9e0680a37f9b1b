//! Text from data, with escapes for the characters that a terminal acts on.
//!
//! Ids, keys, documents, file names and error messages hold whatever their authors wrote. A
//! terminal acts on some characters instead of showing them: they move the cursor, change colours,
//! forge lines or reverse the order of letters. All output passes through this module.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal, or the text layout behind it, acts on this character.
///
/// Control characters of both ranges with DEL, the marks of bidirectional text, and the separators
/// of lines and paragraphs.
pub(crate) fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text on one line, with every active character in the form `\u{1b}` or `\n`.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_active) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_active(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

/// JSON with every active character in JSON's own form `\u009b`. A parser reads the same strings.
///
/// Writers of JSON escape the first range of control characters inside strings. Any that are left
/// stand between values, such as line breaks.
pub(crate) fn json(text: &[u8]) -> Cow<'_, [u8]> {
    // Most lines are ASCII, above all the numbers of embeddings.
    if text.is_ascii() && !text.contains(&0x7f) {
        return Cow::Borrowed(text);
    }
    let text = match std::str::from_utf8(text) {
        Ok(decoded) if !decoded.contains(|c| c >= '\u{7f}' && is_active(c)) => return Cow::Borrowed(text),
        Ok(decoded) => Cow::Borrowed(decoded),
        Err(_) => String::from_utf8_lossy(text),
    };
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c >= '\u{7f}' && is_active(c) {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_characters_are_shown_as_escapes() {
        let table = [
            ("plain ünï 漢字 👩‍🚀", "plain ünï 漢字 👩‍🚀"),
            ("\u{1b}[2J\u{7}", "\\u{1b}[2J\\u{7}"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{7f}\u{80}\u{9b}31m", "\\u{7f}\\u{80}\\u{9b}31m"),
            ("\u{61c}\u{200e}\u{200f}", "\\u{61c}\\u{200e}\\u{200f}"),
            ("\u{2028}\u{2029}\u{202a}\u{202e}", "\\u{2028}\\u{2029}\\u{202a}\\u{202e}"),
            ("\u{2066}\u{2069}", "\\u{2066}\\u{2069}"),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn json_stays_the_same_value_without_active_characters() {
        for c in (0..=0x3000).filter_map(char::from_u32) {
            let value = serde_json::json!({ format!("k{c}"): format!("v{c}") });
            let line = serde_json::to_vec(&value).expect("JSON");
            let escaped = json(&line);
            let text = std::str::from_utf8(&escaped).expect("UTF-8");
            assert!(!text.contains(is_active), "{text:?}");
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&escaped).expect("JSON"), value);
        }
    }
}
