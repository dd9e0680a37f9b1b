//! The reason why a line is not an op, in words that name the fault and the remedy. Only lines that
//! are refused come here, so nothing of this costs a load anything.

mod known;
mod path;
mod text;
mod words;

use super::error::LineError;
use super::kind::Kind;

use known::first_bytes;
pub(super) use words::{unknown_field, unknown_op};

/// Characters of a line or token that a message shows.
const SHOWN: usize = 40;
/// The advice for objects that do not have a line each.
const ONE_A_LINE: &str = "write one op a line, as `jq -c . FILE` does";

/// The name of a known format other than JSON Lines that an input begins as, with the remedy: a
/// compressed file, an archive, UTF-16, CSV and others. `None` for anything else.
///
/// ```
/// let told = deltafold::jsonl::known_format(b"BZh91AY&SY").unwrap();
/// assert!(told.contains("bzip2"));
/// assert!(deltafold::jsonl::known_format(b"{\"op\":\"delete\",\"id\":\"a\"}").is_none());
/// ```
pub fn known_format(first: &[u8]) -> Option<String> {
    first_bytes(first.trim_ascii_start())
}

/// Where and why a value cannot be read. `offset` is the place of the parser's error in the line.
/// `field` is the path of the value, if the caller knows it.
pub(super) fn json(line: &str, offset: usize, error: &serde_json::Error, field: String) -> LineError {
    let bytes = line.as_bytes();
    if let Some(known) = known::wide(bytes.trim_ascii_start()) {
        return LineError::new(1, "", known::in_wide(known));
    }
    let offset = offset.min(bytes.len());
    let message = error.to_string();
    let (at, reason) = if let Some(found) = text::lone_surrogate(bytes, offset) {
        found
    } else if message.starts_with("control character") {
        text::control(bytes, offset)
    } else if error.is_eof() {
        (offset, cut_short(path::inside(bytes)))
    } else if message.starts_with("trailing characters") {
        behind(line, offset)
    } else {
        token(line, offset).unwrap_or_else(|| (offset, format!("not valid JSON: {}", without_place(&message))))
    };
    let found = path::at(bytes, at);
    LineError::new(at + 1, if found.is_empty() { field } else { found }, reason)
}

/// The offset in `text` at which the parser stopped. An element of a list may span lines.
pub(super) fn offset(text: &str, error: &serde_json::Error) -> usize {
    let lines_before = error.line().saturating_sub(2);
    let start = match error.line() {
        0 | 1 => 0,
        _ => memchr::memchr_iter(b'\n', text.as_bytes()).nth(lines_before).map_or(0, |at| at + 1),
    };
    let column = error.column();
    if error.is_eof() { text.len() } else { (start + column.saturating_sub(1)).min(text.len()) }
}

/// The reason why a body of JSON is none, with the field, in the words for lines. `None` where the
/// parser's own words tell as much.
#[cfg(feature = "serve")]
pub(crate) fn in_body(body: &[u8], error: &serde_json::Error) -> Option<String> {
    let text = std::str::from_utf8(body).ok().filter(|_| error.is_syntax())?;
    let offset = offset(text, error);
    let (at, reason) = match text::lone_surrogate(body, offset) {
        Some(found) => found,
        None if error.to_string().starts_with("control character") => text::control(body, offset),
        None => token(text, offset)?,
    };
    let field = path::at(body, at);
    Some(if field.is_empty() { reason } else { format!("field `{field}`: {reason}") })
}

/// serde_json's message without its "at line 1 column n".
fn without_place(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(reason, _)| reason)
}

fn cut_short(inside: &str) -> String {
    format!("the line ends within {inside}: it is cut short, or the op goes on behind a line break; {ONE_A_LINE}")
}

/// The reason for text behind an object.
fn behind(line: &str, offset: usize) -> (usize, String) {
    let rest = line.get(offset..).unwrap_or_default();
    let reason = match rest.as_bytes() {
        [b'{', ..] => format!("another object stands behind the first one; {ONE_A_LINE}"),
        [b',', ..] => "a comma stands behind the object; remove it, or write all ops as one list in `[` and `]`".into(),
        [b']', ..] => "the end of a list stands behind the object, without a beginning; remove it".into(),
        [b'#', ..] | [b'/', b'/' | b'*', ..] => "a comment stands behind the object; JSON has none, remove it".into(),
        [byte, ..] if byte.is_ascii_control() => format!("{} behind the object; remove it", text::stands(*byte)),
        _ => format!("`{}` stands behind the object; remove it", shown(rest)),
    };
    (offset, reason)
}

/// The reason for a word where JSON has a value. `None` if no word stands there.
fn token(line: &str, offset: usize) -> Option<(usize, String)> {
    let bytes = line.as_bytes();
    if bytes.get(offset) == Some(&b'\'') {
        return Some((
            offset,
            "a single quote stands here; JSON has double quotes, as `json.dumps` writes them".into(),
        ));
    }
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'+' | b'-' | b'#');
    let start = bytes.get(..offset)?.iter().rposition(|byte| !is_word(byte)).map_or(0, |at| at + 1);
    let length = bytes.get(start..)?.iter().position(|byte| !is_word(byte)).unwrap_or(bytes.len() - start);
    let word = line.get(start..start + length).filter(|word| !word.is_empty())?;
    let reason = if is_not_finite(word) {
        format!(
            "`{word}` is not a number: JSON and Deltafold hold finite numbers alone; mend the value, or leave it out"
        )
    } else {
        match word {
            "None" | "undefined" | "nil" | "NULL" | "Null" | "NA" | "NaT" | "nul" => {
                format!("`{word}` is not a value of JSON, which has `null`")
            }
            "True" | "TRUE" => format!("`{word}` is not a value of JSON, which has `true`"),
            "False" | "FALSE" => format!("`{word}` is not a value of JSON, which has `false`"),
            _ if word.starts_with(['.', '+', '-']) || word.starts_with(|c: char| c.is_ascii_digit()) => {
                format!("`{}` is not a number as JSON writes it", shown(word))
            }
            _ => format!("`{}` is not a value of JSON; texts stand in double quotes", shown(word)),
        }
    };
    Some((start, reason))
}

/// Whether a word is one of those that programs print for infinity and for no number.
pub(super) fn is_not_finite(word: &str) -> bool {
    let word = word.strip_prefix(['+', '-']).unwrap_or(word);
    ["nan", "inf", "infinity", "1.#inf", "1.#qnan", "1.#snan", "1.#ind"]
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known))
}

/// The error of bytes that are not UTF-8.
pub(super) fn not_utf8(line: &[u8], offset: usize) -> LineError {
    if let Some(known) = first_bytes(line) {
        return LineError::new(1, "", known);
    }
    let (at, reason) = text::not_utf8(line, offset);
    LineError::new(at + 1, path::at(line, at), reason)
}

/// The error of a line that does not begin as an object. `text` is the line without white space
/// around it.
pub(super) fn no_object(line: &str, text: &str) -> LineError {
    let at = text.as_ptr() as usize - line.as_ptr() as usize;
    let reason = match text.as_bytes() {
        [] => "expected a JSON object, found an empty line".to_owned(),
        bytes => first_bytes(bytes).unwrap_or_else(|| format!("expected a JSON object, found {}", kind_of(text))),
    };
    LineError::new(at + 1, "", reason)
}

/// The reason to refuse an embedding of another type than a list. `text` is its JSON.
pub(super) fn no_embedding(text: &str) -> String {
    let inner = text.trim_matches('"');
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_');
    let found = match Kind::of(text) {
        Kind::String if is_not_finite(inner) => format!("the text {}", shown(text)),
        Kind::String if inner.contains('[') => {
            "a list that was printed as a text; print a list, as `.tolist()` of NumPy makes one".to_owned()
        }
        Kind::String if inner.len() >= 8 && inner.len().is_multiple_of(4) && inner.bytes().all(is_base64) => {
            "a text of base64; decode it to a list of numbers".to_owned()
        }
        kind => kind.name().to_owned(),
    };
    format!("expected a list of numbers, found {found}")
}

/// The reason to refuse an element that is not a number. `text` is its JSON, perhaps cut.
pub(super) fn no_number(text: &str) -> String {
    let inner = text.trim_matches('"');
    match Kind::of(text) {
        Kind::String if is_not_finite(inner) => {
            format!("expected a number, found the text {}; an embedding holds finite numbers alone", shown(text))
        }
        Kind::String if inner.parse::<f64>().is_ok() => {
            format!("expected a number, found the text {}; write it without quotes", shown(text))
        }
        Kind::List => "expected a number, found a list: the numbers of one embedding stand within another list; \
                       remove the brackets around it"
            .to_owned(),
        kind => format!("expected a number, found {}", kind.name()),
    }
}

/// The kind of a line that holds no object and has no known format.
fn kind_of(text: &str) -> String {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Kind::of(text).name().to_owned(),
        Err(_) if text.starts_with('[') => "the beginning of a list".to_owned(),
        Err(_) if text.starts_with([']', ',']) => format!("`{}`, which belongs to a list", shown(text)),
        Err(_) => format!("`{}`", shown(text)),
    }
}

/// Text for a message, cut and without control characters.
fn shown(text: &str) -> String {
    let mut shown: String = text.trim_end().chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.trim_end().chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown.replace("\\\"", "\"").replace("\\'", "'")
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
