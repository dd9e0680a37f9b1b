//! Adjacent items of an input as texts, a bounded part at a time.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use tokio::sync::mpsc;

const BUFFER: usize = 256 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// An item has at most 400 KB in the table. Its JSON is longer, and an incremental export has two.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Adjacent items of one file.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The file's place in the manifest.
    pub(super) file: usize,
    text: Vec<u8>,
    /// The number of each item, and its end in `text`.
    ends: Vec<(u64, usize)>,
}

impl Chunk {
    /// Each item, with its number.
    pub(super) fn items(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        self.ends
            .iter()
            .zip(starts)
            .map(|((number, end), start)| (*number, self.text.get(start..*end).unwrap_or_default()))
    }

    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }
}

/// Gathers items into chunks and sends them.
pub(super) struct Chunks {
    sender: mpsc::Sender<Chunk>,
    now: Chunk,
    most: Most,
    /// Items so far.
    pub(super) items: u64,
}

/// Bounds of a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) items: usize,
    pub(super) bytes: usize,
}

/// The receiver of the chunks is gone and wants no more.
#[derive(Debug)]
pub(super) struct Unwanted;

impl Chunks {
    pub(super) fn new(file: usize, most: Most, sender: mpsc::Sender<Chunk>) -> Self {
        Self { sender, now: Chunk { file, ..Chunk::default() }, most, items: 0 }
    }

    /// Adds an item with its number. Blocks where the receiver lags behind.
    pub(super) fn add(&mut self, number: u64, text: &[u8]) -> Result<(), Unwanted> {
        self.now.text.extend_from_slice(text);
        self.now.ends.push((number, self.now.text.len()));
        self.items += 1;
        if self.now.ends.len() >= self.most.items || self.now.text.len() >= self.most.bytes {
            return self.flush();
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), Unwanted> {
        if self.now.ends.is_empty() {
            return Ok(());
        }
        let next = Chunk { file: self.now.file, ..Chunk::default() };
        self.sender.blocking_send(std::mem::replace(&mut self.now, next)).map_err(|_| Unwanted)
    }
}

/// The reason why an input ended early.
#[derive(Debug)]
pub(super) enum Ended {
    Unwanted,
    Broken(String),
}

impl From<Unwanted> for Ended {
    fn from(_: Unwanted) -> Self {
        Self::Unwanted
    }
}

/// A reader of plain text, or of gzip by its first bytes.
pub(super) fn unpacked(source: impl Read + Send + 'static) -> io::Result<Box<dyn BufRead>> {
    let mut source = BufReader::with_capacity(BUFFER, source);
    Ok(if source.fill_buf()?.starts_with(&GZIP) {
        Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(source)))
    } else {
        Box::new(source)
    })
}

/// Reads a data file, one item a line. Returns its items. Blocks.
pub(super) fn read_lines(source: impl Read + Send + 'static, mut chunks: Chunks) -> Result<u64, Ended> {
    let broken = |number: u64, error: &io::Error| {
        Ended::Broken(format!("from line {number} on it is damaged or cut short: {error}"))
    };
    let mut reader = unpacked(source).map_err(|error| broken(1, &error))?;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = (&mut reader).take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line);
        let length = read.map_err(|error| broken(number, &error))?;
        if length == 0 {
            break;
        }
        if length as u64 > MAX_LINE_BYTES {
            return Err(Ended::Broken(format!("line {number} is longer than {MAX_LINE_BYTES} bytes")));
        }
        if !line.iter().all(u8::is_ascii_whitespace) {
            chunks.add(number, line.trim_ascii())?;
        }
    }
    chunks.flush()?;
    Ok(chunks.items)
}
