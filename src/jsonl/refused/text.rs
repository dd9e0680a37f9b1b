//! Faults within texts: bytes that are not UTF-8, control characters, halves of surrogate pairs.

/// The words for a control character.
pub(super) fn stands(byte: u8) -> String {
    match byte {
        0 => "a NUL byte stands".to_owned(),
        b'\t' => "a tab stands".to_owned(),
        b'\r' => "a carriage return stands".to_owned(),
        0x1a => "Ctrl-Z (0x1a) stands".to_owned(),
        0x1b => "an escape character (0x1b) stands".to_owned(),
        0x1e => "a record separator (0x1e) stands".to_owned(),
        byte => format!("the control character {byte:#04x} stands"),
    }
}

/// The place and reason of a control character near the place of the parser's error.
pub(super) fn control(line: &[u8], offset: usize) -> (usize, String) {
    let from = offset.saturating_sub(1);
    let found = line.iter().enumerate().skip(from).find(|(_, byte)| **byte < 0x20);
    let (at, byte) = found.map_or((offset, 0), |(at, byte)| (at, *byte));
    let written = match byte {
        b'\t' => "\\t".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\n' => "\\n".to_owned(),
        byte => format!("\\u{byte:04x}"),
    };
    (at, format!("{} in a text as it is; write it as `{written}`", stands(byte)))
}

/// The place and reason of bytes that are not UTF-8.
pub(super) fn not_utf8(line: &[u8], offset: usize) -> (usize, String) {
    let rest = line.get(offset..).unwrap_or_default();
    let reason = match rest {
        [0xed, second @ 0xa0..=0xbf, third @ 0x80..=0xbf, ..] => {
            let code = 0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f);
            format!(
                "the bytes of U+{code:04X}, half of a surrogate pair, are not UTF-8; mend the text where it was cut, \
                 or turn CESU-8 into UTF-8"
            )
        }
        [byte @ (0x80..=0xff), ..] => {
            let of_latin = char::from(*byte);
            let like = if *byte >= 0xa0 { format!("; in Latin-1 it is `{of_latin}`") } else { String::new() };
            format!(
                "not UTF-8 from here on: the byte {byte:#04x}{like}. Turn the input into UTF-8, as `iconv -f WINDOWS-1252 -t \
                 UTF-8` does from that encoding"
            )
        }
        _ => "not UTF-8 from here on; turn the input into UTF-8".to_owned(),
    };
    (offset, reason)
}

/// The first escape at or near an offset that is half of a surrogate pair without the other half.
pub(super) fn lone_surrogate(line: &[u8], offset: usize) -> Option<(usize, String)> {
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', line.get(at..)?) {
        at += found;
        let Some(code) = unicode(line, at) else {
            // The escaped byte does not begin another escape.
            at += 2;
            continue;
        };
        let is_pair = (0xd800..0xdc00).contains(&code)
            && unicode(line, at + 6).is_some_and(|next| (0xdc00..0xe000).contains(&next));
        if !is_pair && (0xd800..0xe000).contains(&code) && at + 14 > offset {
            let reason = format!(
                "`\\u{code:04x}` is half of a surrogate pair without its other half, so it is not a character; mend \
                 the text where it was cut"
            );
            return Some((at, reason));
        }
        at += if is_pair { 12 } else { 6 };
    }
    None
}

/// The number of an escape `\uXXXX` at an offset.
fn unicode(line: &[u8], at: usize) -> Option<u16> {
    let digits = line.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let digits =
        std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}
