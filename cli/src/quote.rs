//! Text quoted for a shell, which reads back the same bytes.

use std::ffi::OsStr;
use std::fmt::Write as _;

use super::output::escape::is_active;

/// The text, quoted for a shell.
pub(crate) fn quoted(text: &str) -> String {
    quoted_bytes(text.as_bytes())
}

/// A name of the operating system, which may not be UTF-8, quoted for a shell.
pub(crate) fn quoted_name(name: &OsStr) -> String {
    quoted_bytes(name.as_encoded_bytes())
}

/// A path as an argument that no command takes for an option.
pub(crate) fn quoted_path(path: &OsStr) -> String {
    let name = quoted_name(path);
    if path.as_encoded_bytes().starts_with(b"-") { format!("./{name}") } else { name }
}

/// An option with a value that may itself begin like an option.
pub(crate) fn option(name: &str, value: &str) -> String {
    let glue = if value.starts_with('-') { '=' } else { ' ' };
    format!("{name}{glue}{}", quoted(value))
}

fn quoted_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.contains(is_active) => printed(bytes),
        Ok(text) if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        Ok(text) => format!("'{}'", text.replace('\'', r"'\''")),
        Err(_) => printed(bytes),
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_./:,+@%=".contains(c)
}

/// Bytes that no terminal shows as they are. Every POSIX shell runs `printf`; only some read
/// `$'…'`. Command substitution strips the line breaks at the end, so bytes that end in one need
/// `$'…'`.
fn printed(bytes: &[u8]) -> String {
    let (open, close) = if bytes.ends_with(b"\n") { ("$'", "'") } else { ("\"$(printf '", "')\"") };
    let mut quoted = open.to_owned();
    let octal = |quoted: &mut String, bytes: &[u8]| {
        for byte in bytes {
            // Writing to a string cannot fail.
            let _ = write!(quoted, "\\{byte:03o}");
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_alphanumeric() || " ./:,+@=_".contains(c) {
                quoted.push(c);
            } else {
                octal(&mut quoted, c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        octal(&mut quoted, chunk.invalid());
    }
    quoted.push_str(close);
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_readable() {
        assert_eq!(quoted("a/b-1.jsonl"), "a/b-1.jsonl");
        assert_eq!(quoted("it's here"), r"'it'\''s here'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted_path(OsStr::new("-x")), "./-x");
        assert_eq!(option("--source", "-x"), "--source=-x");
        assert_eq!(option("--source", "x y"), "--source 'x y'");
    }

    /// Runs `printf %s` on the quoted text in a shell. `None` if that shell is missing.
    fn read_back(shell: &str, quoted: &str) -> Option<Vec<u8>> {
        let command = format!("printf %s {quoted}");
        match std::process::Command::new(shell).args(["-c", &command]).output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            output => Some(output.expect("the shell runs").stdout),
        }
    }

    #[cfg(unix)]
    #[test]
    fn shells_read_quoted_bytes_back() {
        use std::os::unix::ffi::OsStrExt as _;
        let hostile: &[&[u8]] = &[
            b"plain",
            b"it's $HOME `id` \"x\" \\ !! * ; &",
            b"",
            b"\x1b[31m",
            b"-n\x1b%s%%\\n!'\"$(id)`id`",
            b"a\nb\tc\r",
            "x\u{9b}2J\u{202e}y\u{2028}\u{7f}".as_bytes(),
            b"\xff\xfe no text \x80",
            b"\x07\x08 8 digits follow \x1b12",
        ];
        for bytes in hostile {
            let quoted = quoted_name(OsStr::from_bytes(bytes));
            assert!(!quoted.contains(is_active), "{quoted:?}");
            for shell in ["sh", "dash", "bash"] {
                let back = read_back(shell, &quoted);
                assert!(back.is_none_or(|back| back == *bytes), "{shell} does not read {quoted} back");
            }
        }
        let back = read_back("bash", &quoted("a\u{1b}\n\n"));
        assert!(back.is_none_or(|back| back == b"a\x1b\n\n"));
    }
}
