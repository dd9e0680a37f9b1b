//! Lines of an object as ops. A thread of their own decompresses and parses them, a bounded part at
//! a time.

use std::io::{self, BufRead, BufReader, Read};

use bytes::{Buf, Bytes};
use deltafold_format::{Op, OpRules};
use tokio::sync::mpsc;

use crate::jsonl::{Layout, OpTexts, TextError, parse_op_for};

/// The longest line.
const MAX_LINE_BYTES: u64 = 32 << 20;
/// The largest zstd window that a reader accepts, as a power of two: 32 MiB. `zstd --ultra` and
/// `--long` ask for more.
const MAX_WINDOW_LOG: u32 = 25;
/// Lines, and bytes of lines, that the thread hands over at once.
const BATCH_LINES: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
const BUFFER: usize = 256 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An op with its line, counted from 1, and the length of that line.
pub(super) struct LineOp {
    pub(super) line: u64,
    pub(super) bytes: usize,
    pub(super) op: Op,
}

/// The pieces of an object as they arrive. An unannounced end is a failure, because a reader must
/// see the whole object.
pub(super) struct Pieces {
    coming: mpsc::Receiver<Option<Bytes>>,
    now: Bytes,
    ended: bool,
}

impl Pieces {
    /// Pieces, with `None` behind the last.
    pub(super) fn new(coming: mpsc::Receiver<Option<Bytes>>) -> Self {
        Self { coming, now: Bytes::new(), ended: false }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() && !self.ended {
            match self.coming.blocking_recv() {
                Some(Some(piece)) => self.now = piece,
                Some(None) => self.ended = true,
                None => return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the object could not be read on")),
            }
        }
        let length = buffer.len().min(self.now.len());
        self.now.copy_to_slice(buffer.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}

/// Reads lines as ops of a collection, up to the end or the first error. Blocks.
pub(super) fn read(
    source: impl Read + Send + 'static,
    rules: OpRules,
    ops: &mpsc::Sender<Vec<LineOp>>,
) -> Result<(), String> {
    let reader = decompressed(source).map_err(|error| format!("it cannot be decompressed: {error}"))?;
    let mut texts = OpTexts::new(reader, MAX_LINE_BYTES + 1);
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let mut text = Vec::new();
    loop {
        let ended = match next(&mut texts, &mut text, rules) {
            Ok(Next::Op(line, op)) => {
                bytes += text.len();
                batch.push(LineOp { line, bytes: text.len(), op: *op });
                None
            }
            Ok(Next::Blank) => None,
            Ok(Next::End) => Some(Ok(())),
            Err(reason) => Some(Err(reason)),
        };
        if !batch.is_empty() && (ended.is_some() || batch.len() >= BATCH_LINES || bytes >= BATCH_BYTES) {
            bytes = 0;
            if ops.blocking_send(std::mem::take(&mut batch)).is_err() {
                // The receiver is gone.
                return Ok(());
            }
        }
        if let Some(ended) = ended {
            return ended;
        }
    }
}

enum Next {
    /// With the number of its line or element.
    Op(u64, Box<Op>),
    Blank,
    End,
}

fn next(texts: &mut OpTexts<impl BufRead>, text: &mut Vec<u8>, rules: OpRules) -> Result<Next, String> {
    text.clear();
    let at = match texts.read_into(text) {
        Ok(Some(at)) => at,
        Ok(None) => return Ok(Next::End),
        Err(TextError::Unread(error)) => {
            let number = texts.next_number();
            return Err(too_wide(&error)
                .unwrap_or_else(|| format!("from line {number} on it is damaged or cut short: {error}")));
        }
        Err(TextError::TooLong(at)) => {
            return Err(format!("line {} is longer than {MAX_LINE_BYTES} bytes; write one op a line", at.line));
        }
        Err(error) => return Err(error.to_string()),
    };
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(Next::Blank);
    }
    match parse_op_for(text, at.number, rules) {
        Ok(op) => Ok(Next::Op(at.number, Box::new(op))),
        Err(error) if texts.layout() == Layout::Lines => Err(error.to_string()),
        Err(error) => {
            let (line, column) = at.place(text, error.column());
            let field = if error.field().is_empty() { String::new() } else { format!("field `{}`: ", error.field()) };
            Err(format!("element {}, line {line}, column {column}: {field}{}", at.number, error.reason()))
        }
    }
}

/// Whether an object is compressed, by its first bytes.
pub(super) fn is_packed(first: &[u8]) -> bool {
    is_zstd(first) || first.starts_with(&GZIP)
}

/// Whether it begins as zstd: with a frame of data or a skippable frame.
fn is_zstd(first: &[u8]) -> bool {
    first.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || matches!(first, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Decompresses an object to its end, where its checksums are, and discards the data. Blocks.
pub(super) fn check(source: impl Read + Send + 'static) -> Result<(), String> {
    let mut reader = decompressed(source).map_err(|error| format!("it cannot be decompressed: {error}"))?;
    match io::copy(&mut reader, &mut io::sink()) {
        Ok(_) => Ok(()),
        Err(error) => Err(too_wide(&error).unwrap_or_else(|| format!("it is damaged or cut short: {error}"))),
    }
}

/// The reason, if a window exceeds the limit: such an object is sound. libzstd tells it only by
/// this text.
fn too_wide(error: &io::Error) -> Option<String> {
    let limit = 1 << (MAX_WINDOW_LOG - 20);
    error.to_string().contains("too much memory").then(|| {
        format!(
            "its zstd window is larger than {limit} MiB, the limit; compress it again without `--ultra` and `--long`"
        )
    })
}

/// A decoder by the first bytes: zstd, gzip, or plain.
fn decompressed(source: impl Read + Send + 'static) -> io::Result<Box<dyn BufRead>> {
    let mut source = BufReader::with_capacity(BUFFER, source);
    // The first piece holds the whole magic, unless the object is shorter.
    let magic = source.fill_buf()?;
    let (zstd, gzip) = (is_zstd(magic), magic.starts_with(&GZIP));
    Ok(if zstd {
        let mut decoder = zstd::Decoder::with_buffer(source)?;
        decoder.window_log_max(MAX_WINDOW_LOG)?;
        Box::new(BufReader::with_capacity(BUFFER, decoder))
    } else if gzip {
        Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(source)))
    } else {
        Box::new(source)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// The lines of the ops read from these bytes, and the outcome.
    fn lines_of(bytes: &[u8]) -> (Vec<u64>, Result<(), String>) {
        let (sender, mut receiver) = mpsc::channel(1_000);
        let ended = read(io::Cursor::new(bytes.to_vec()), OpRules::log(2), &sender);
        drop(sender);
        let mut lines = Vec::new();
        while let Some(batch) = receiver.blocking_recv() {
            lines.extend(batch.iter().map(|op| op.line));
        }
        (lines, ended)
    }

    fn ops(count: usize) -> Vec<u8> {
        (0..count).map(|n| format!("{{\"op\":\"delete\",\"id\":\"{n}\"}}\n")).collect::<String>().into_bytes()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_gzip_and_zstd_are_told_apart_by_their_bytes() {
        let plain = ops(2_000);
        let members = [gzip(&plain[..1_000]), gzip(&plain[1_000..])].concat();
        for bytes in [plain.clone(), gzip(&plain), members, zstd::encode_all(&plain[..], 3).unwrap()] {
            let (lines, ended) = lines_of(&bytes);
            assert_eq!((lines, ended), ((1..=2_000).collect(), Ok(())));
        }
        let (lines, ended) = lines_of(b"\n \r\n{\"op\":\"delete\",\"id\":\"a\"}\n\n{\"op\":\"delete\",\"id\":\"b\"}");
        assert_eq!((lines, ended), (vec![3, 5], Ok(())));
    }

    #[test]
    fn a_bad_line_is_named_and_lines_before_it_are_read() {
        let good = ops(3);
        let refused = |bytes: &[u8], before: usize, words: &[&str]| {
            let (lines, ended) = lines_of(bytes);
            let said = ended.unwrap_err();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
            assert_eq!(lines.len(), before);
        };
        let wrong = [&good[..], b"{\"op\":\"put\",\"id\":\"a\",\"embedding\":[1]}\n", &good[..]].concat();
        refused(&wrong, 3, &["line 4, column 34", "field `embedding`", "dimension"]);
        refused(
            &[&good[..], b"{\"op\":\"delete\",\"id\":\"a\",\"source\":\"s\"}"].concat(),
            3,
            &["line 4", "unknown field"],
        );
        let packed = zstd::encode_all(&ops(20_000)[..], 3).unwrap();
        let (lines, ended) = lines_of(&packed[..packed.len() / 2]);
        assert!(ended.unwrap_err().contains("damaged or cut short"), "{}", lines.len());
        let packed = gzip(&ops(20_000));
        assert!(lines_of(&packed[..packed.len() - 4]).1.unwrap_err().contains("from line 20001 on"));
        refused(&[0x28, 0xb5, 0x2f, 0xfd, 0xff], 0, &["line 1"]);
        refused(&vec![b' '; MAX_LINE_BYTES as usize + 2], 0, &["line 1 is longer"]);
        // A window of 64 MiB, above the limit of a reader.
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(26).unwrap();
        encoder.write_all(&good).unwrap();
        let wide = encoder.finish().unwrap();
        refused(&wide, 0, &["its zstd window is larger than 32 MiB"]);
        assert!(check(io::Cursor::new(wide)).unwrap_err().contains("window"));
    }

    #[test]
    fn a_check_finds_damage_that_only_the_end_shows() {
        for packed in [gzip(&ops(20)), zstd_with_checksum(&ops(20))] {
            assert_eq!(check(io::Cursor::new(packed.clone())), Ok(()));
            for byte in [packed.len() - 1, packed.len() - 4] {
                let mut broken = packed.clone();
                broken[byte] ^= 1;
                assert!(check(io::Cursor::new(broken)).unwrap_err().contains("damaged or cut short"));
            }
            for damaged in [packed[..packed.len() - 1].to_vec(), [&packed[..], b"garbage"].concat()] {
                assert!(check(io::Cursor::new(damaged)).is_err());
            }
        }
    }

    fn zstd_with_checksum(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Story: an object with a byte order mark, a list or pretty-printed ops was refused.
    #[test]
    fn objects_of_any_layout_are_read() {
        let (a, b) = (r#"{"op":"delete","id":"a"}"#, r#"{"op":"delete","id":"b"}"#);
        let packed = |text: String| gzip(text.as_bytes());
        for bytes in [
            format!("\u{feff}{a}\n{b}\n").into_bytes(),
            format!("[{a},\n{b}]").into_bytes(),
            packed(format!("\u{feff}[\n  {a},{b}]")),
            packed(format!("{a}{b}")),
        ] {
            assert_eq!(lines_of(&bytes), (vec![1, 2], Ok(())), "{bytes:?}");
        }
        let (lines, refused) =
            lines_of(format!("[{a},\n{{\"op\":\"put\",\n\"id\":\"x\",\"embedding\":[1,NaN]}}]").as_bytes());
        let refused = refused.unwrap_err();
        assert_eq!(lines, [1]);
        assert!(refused.contains("element 2, line 3, column 25: field `embedding[1]`: `NaN`"), "{refused}");
        let utf16: Vec<u8> = format!("\u{feff}{a}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(lines_of(&utf16).1.unwrap_err().contains("iconv -f UTF-16LE"));
    }

    /// A consumer holds one batch of an object in memory, bounded in lines and in bytes.
    #[test]
    fn a_batch_ends_at_its_lines_or_its_bytes() {
        let sizes = |bytes: Vec<u8>| {
            let (sender, mut receiver) = mpsc::channel(1_000);
            read(io::Cursor::new(bytes), OpRules::log(2), &sender).unwrap();
            drop(sender);
            let batches = std::iter::from_fn(|| receiver.blocking_recv());
            batches.map(|batch| (batch.len(), batch.iter().map(|op| op.bytes).sum::<usize>())).collect::<Vec<_>>()
        };
        let short = sizes(ops(2 * BATCH_LINES + 1));
        assert_eq!(short.iter().map(|(lines, _)| *lines).collect::<Vec<_>>(), [BATCH_LINES, BATCH_LINES, 1]);
        let line = format!("{{\"op\":\"put\",\"id\":\"a\",\"document\":\"{}\"}}\n", "d".repeat(BATCH_BYTES / 4));
        let long = sizes(line.repeat(10).into_bytes());
        assert_eq!(long.iter().map(|(lines, _)| *lines).collect::<Vec<_>>(), [4, 4, 2]);
        assert!(long.iter().all(|(_, bytes)| *bytes < BATCH_BYTES + line.len()), "{long:?}");
    }

    #[test]
    fn an_object_that_stops_coming_has_no_end() {
        let (sender, receiver) = mpsc::channel(4);
        sender.blocking_send(Some(Bytes::from(ops(2)))).unwrap();
        drop(sender);
        let (to, mut from) = mpsc::channel(4);
        let said = read(Pieces::new(receiver), OpRules::log(2), &to).unwrap_err();
        assert!(said.contains("line 3"), "{said}");
        assert_eq!(from.blocking_recv().map(|batch| batch.len()), Some(2));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), magic in 0usize..3) {
            let magic: &[u8] = [&[][..], &[0x28, 0xb5, 0x2f, 0xfd], &[0x1f, 0x8b, 8, 0]][magic];
            drop(lines_of(&[magic, &bytes].concat()));
        }
    }
}
