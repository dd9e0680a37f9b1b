//! Known formats by their first bytes, each with its remedy. `docs/formats.md` lists them.

use super::{ONE_A_LINE, shown, text};

/// Formats with a signature at the beginning.
pub(super) const SIGNED: &[(&[u8], &str, &str)] = &[
    (b"BZh", "a bzip2 file", "decompress it: `bzip2 -dc FILE | deltafold append NAME -`"),
    (b"\xfd7zXZ\0", "an xz file", "decompress it: `xz -dc FILE | deltafold append NAME -`"),
    (b"LZIP", "an lzip file", "decompress it: `lzip -dc FILE | deltafold append NAME -`"),
    (b"\x1f\x9d", "a file of `compress`", "decompress it: `gzip -dc FILE | deltafold append NAME -`"),
    (b"\x04\x22\x4d\x18", "an lz4 file", "decompress it: `lz4 -dc FILE | deltafold append NAME -`"),
    (b"\xff\x06\0\0sNaPpY", "a snappy file", "decompress it: `snzip -dc FILE | deltafold append NAME -`"),
    (b"\x1f\x8b", "gzip within compressed data, more often than is opened", "decompress it once before"),
    (b"\x28\xb5\x2f\xfd", "zstd within compressed data, more often than is opened", "decompress it once before"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it, and append its files"),
    (b"PK\x03\x04", "a zip archive, perhaps `.npz`", "unpack it, and append its files"),
    (b"PK\x05\x06", "an empty zip archive", "name another file"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it, and append its files"),
    (b"PAR1", "a Parquet file", "name it as a file, not through a pipe; `append` then takes a row as a record"),
    (b"ARROW1", "an Arrow file", "name it as a file, not through a pipe; `append` then takes a row as a record"),
    (b"\xff\xff\xff\xff", "an Arrow stream, by its first bytes", "save it as a file with the ending `.arrow`"),
    (b"\x93NUMPY", "an array of NumPy", "add ids to it: write Parquet with the columns `id` and `embedding`"),
    (b"\x89HDF\r\n", "an HDF5 file", "write its data as Parquet or JSON Lines"),
    (b"SQLite format 3\0", "a database of SQLite", "a directory of Chroma comes in by `deltafold import chroma`"),
    (b"Obj\x01", "an Avro file", "write its data as Parquet or JSON Lines"),
    (b"ORC", "an ORC file", "write its data as Parquet or JSON Lines"),
    (b"\x89PNG\r\n", "a picture", "name another file"),
    (b"%PDF-", "a PDF document", "name another file"),
    (b"\x7fELF", "a program", "name another file"),
];

/// Beginnings of the base64 forms of gzip, zstd, `{"` and `[{`.
const BASE64: [&str; 4] = ["H4sI", "KLUv", "eyJ", "W3s"];

/// The name of a known format that an input or a line begins as, with the remedy. `bytes` begins
/// with the first byte that is not white space.
pub(crate) fn first_bytes(bytes: &[u8]) -> Option<String> {
    let told = |what: &str, remedy: &str| Some(format!("this is {what}, and ops are JSON Lines; {remedy}"));
    if let Some((_, what, remedy)) = SIGNED.iter().find(|(signature, ..)| bytes.starts_with(signature)) {
        return told(what, remedy);
    }
    if let Some(encoding) = wide(bytes) {
        return Some(in_wide(encoding));
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return told("a tar archive", "unpack it, and append its files");
    }
    match bytes {
        [0x80, 2..=5, ..] => return told("a pickle of Python", "write its data as JSON Lines or Parquet"),
        [0xef, 0xbb, 0xbf, ..] => {
            return Some(
                "a byte order mark stands here, and it may only stand at the beginning of an input; remove it. Files \
                 that were joined have one at each seam"
                    .to_owned(),
            );
        }
        [0, ..] => {
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            return Some(format!(
                "{zeros} NUL bytes stand here; the file was padded, or not written to its end, as after a crash. Get it \
                 whole, or remove them: `tr -d '\\000'`"
            ));
        }
        [0x1a, ..] => return Some(format!("{}, and text follows; remove it", text::stands(0x1a))),
        [0x1e, ..] => {
            return Some(format!("{} in front of an op, and not of the first one; {ONE_A_LINE}", text::stands(0x1e)));
        }
        [b'#', ..] | [b'/', b'/' | b'*', ..] => {
            return Some("a comment stands here, and JSON has none; remove the line: `grep -v '^#' FILE`".to_owned());
        }
        _ => {}
    }
    lettered(std::str::from_utf8(bytes).ok()?)
}

/// The reason for a text in UTF-16 or UTF-32.
pub(super) fn in_wide(encoding: &str) -> String {
    format!("this is {encoding} text, and ops are UTF-8; turn it into UTF-8: `iconv -f {encoding} -t UTF-8 FILE`")
}

/// UTF-16 and UTF-32, with and without a byte order mark. Ops begin with an ASCII character.
pub(super) fn wide(bytes: &[u8]) -> Option<&'static str> {
    Some(match bytes {
        [0xff, 0xfe, 0, 0, ..] | [b'{' | b'[', 0, 0, 0, ..] => "UTF-32LE",
        [0, 0, 0xfe, 0xff, ..] | [0, 0, 0, b'{' | b'[', ..] => "UTF-32BE",
        [0xff, 0xfe, ..] | [b'{' | b'[', 0, ..] => "UTF-16LE",
        [0xfe, 0xff, ..] | [0, b'{' | b'[', ..] => "UTF-16BE",
        _ => return None,
    })
}

/// Formats of text.
fn lettered(text: &str) -> Option<String> {
    let line = text.lines().next().unwrap_or_default().trim_end();
    let told = |what: &str, remedy: &str| Some(format!("this is {what}, and ops are JSON Lines; {remedy}"));
    let begins =
        |beginning: &str| line.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning));
    if begins("<!doctype html") || begins("<html") {
        return told("an HTML page, perhaps the answer of a server", "look at it, and get the file itself");
    }
    if line.starts_with('<') {
        return told("XML, perhaps the answer of a server", "look at it, and get the file itself");
    }
    if line.starts_with("version https://git-lfs") {
        return told("a pointer of Git LFS", "get the file itself with `git lfs pull`");
    }
    if line == "---" || line.starts_with("%YAML") {
        return told("YAML", "turn it into JSON Lines, as `yq -o json -I 0` does");
    }
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_');
    if BASE64.iter().any(|beginning| line.starts_with(beginning)) && line.len() >= 8 && line.bytes().all(is_base64) {
        return told("base64", "decode it: `base64 -d FILE | deltafold append NAME -`");
    }
    // A header or a row: fields, of which none opens a bracket of JSON.
    let is_row = |separator: char| {
        line.contains(separator)
            && !line.starts_with(['[', ']', ',', '"', '\'', '{', '}'])
            && !line.ends_with(['.', ':'])
    };
    for (separator, what) in [('\t', "TSV"), (';', "CSV with semicolons"), (',', "CSV")] {
        if is_row(separator) {
            let like = format!("{what}, by its first line `{}`", shown(line));
            return told(&like, "write Parquet with the columns `id` and `embedding`, or JSON Lines");
        }
    }
    None
}
