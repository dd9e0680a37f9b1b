//! Checks an Arrow file before it is decoded: its messages lie within it, and none takes more
//! memory than there is.
//!
//! A file holds the stream of its messages behind its magic and zeros, which fill it up to 8 or 64
//! bytes. So files and streams are read alike.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek, SeekFrom};

use arrow_ipc::{MessageHeader, root_as_message};

use super::TableError;

const MAGIC: &[u8; 6] = b"ARROW1";
/// Least and most bytes in front of the stream in a file: the magic and zeros.
const BEFORE: std::ops::RangeInclusive<u64> = 8..=64;
/// The mark in front of each message.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Most bytes of the description of one message.
const MAX_DESCRIPTION: u32 = 16 << 20;

/// A checked file.
#[derive(Debug)]
pub(super) struct ArrowFile {
    /// At the first message.
    pub(super) file: BufReader<File>,
    pub(super) rows: u64,
}

/// Reads the descriptions of all messages. `most` is the memory that one batch may take.
pub(super) fn check(file: File, most: u64) -> Result<ArrowFile, TableError> {
    let length = file.metadata().map_err(unread)?.len();
    let mut file = BufReader::new(file);
    let mut magic = [0; 6];
    let is_file = file.read_exact(&mut magic).is_ok() && magic == *MAGIC;
    let end = if is_file { length.saturating_sub(MAGIC.len() as u64) } else { length };
    if is_file {
        file.seek(SeekFrom::Start(end)).map_err(unread)?;
        let mut tail = [0; 6];
        if length < 2 * BEFORE.start() || file.read_exact(&mut tail).is_err() || tail != *MAGIC {
            return Err(cut_short());
        }
    }
    let start = if is_file { first_message(&mut file)? } else { 0 };
    let mut messages = Messages { file, at: start, end, most, rows: 0, batches: 0 };
    while messages.next(is_file)? {}
    let Messages { mut file, rows, .. } = messages;
    file.seek(SeekFrom::Start(start)).map_err(unread)?;
    Ok(ArrowFile { file, rows })
}

/// The place of the first message of a file.
fn first_message(file: &mut BufReader<File>) -> Result<u64, TableError> {
    for at in BEFORE.step_by(8) {
        let mut bytes = [0; 8];
        file.seek(SeekFrom::Start(at)).map_err(unread)?;
        file.read_exact(&mut bytes).map_err(unread)?;
        if bytes != [0; 8] {
            return Ok(at);
        }
    }
    Err(damaged("there is no message behind its beginning"))
}

struct Messages {
    file: BufReader<File>,
    at: u64,
    end: u64,
    most: u64,
    rows: u64,
    batches: u64,
}

impl Messages {
    /// Checks the next message. Returns false at the end of the stream.
    fn next(&mut self, is_file: bool) -> Result<bool, TableError> {
        // A stream may end without a mark.
        if self.at == self.end && !is_file && self.at > 0 {
            return Ok(false);
        }
        let mut front = [0; 8];
        self.file.seek(SeekFrom::Start(self.at)).map_err(unread)?;
        self.file.read_exact(&mut front).map_err(unread)?;
        let [mark @ .., a, b, c, d] = front;
        if mark != CONTINUATION {
            let text = "this is not an Arrow file, or one from before 2019; write it again with a current program";
            return Err(TableError::new(text));
        }
        let described = u32::from_le_bytes([a, b, c, d]);
        if described == 0 {
            return Ok(false);
        }
        if described > MAX_DESCRIPTION {
            return Err(damaged("the description of a message is too long"));
        }
        let mut description = vec![0; described as usize];
        self.file.read_exact(&mut description).map_err(unread)?;
        let message = root_as_message(&description).map_err(damaged)?;
        let body = u64::try_from(message.bodyLength()).map_err(damaged)?;
        let start = self.at + 8 + u64::from(described);
        self.at = start.checked_add(body).filter(|at| *at <= self.end).ok_or_else(cut_short)?;
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|batch| batch.data()),
            _ => None,
        };
        let Some(batch) = batch else { return Ok(true) };
        if message.header_type() == MessageHeader::RecordBatch {
            self.batches += 1;
            self.rows = self.rows.saturating_add(u64::try_from(batch.length()).map_err(damaged)?);
        }
        let mut takes = body;
        for buffer in batch.buffers().into_iter().flatten() {
            let (Ok(offset), Ok(length)) = (u64::try_from(buffer.offset()), u64::try_from(buffer.length())) else {
                return Err(damaged("a buffer lies outside its message"));
            };
            if offset.checked_add(length).is_none_or(|end| end > body) {
                return Err(damaged("a buffer lies outside its message"));
            }
            if batch.compression().is_some() && length > 0 {
                if length < 8 {
                    return Err(damaged("a compressed buffer is too short"));
                }
                takes = takes.saturating_add(self.unpacked(start + offset)?);
            }
        }
        if takes > self.most {
            return Err(TableError::new(format!(
                "batch {} takes {takes} bytes, and {} are allowed; give more memory, or write the file with smaller \
                 batches",
                self.batches, self.most
            )));
        }
        Ok(true)
    }

    /// The length of a compressed buffer after decompression.
    fn unpacked(&mut self, at: u64) -> Result<u64, TableError> {
        let mut length = [0; 8];
        self.file.seek(SeekFrom::Start(at)).map_err(unread)?;
        self.file.read_exact(&mut length).map_err(unread)?;
        match i64::from_le_bytes(length) {
            // The buffer is not compressed after all.
            -1 => Ok(0),
            length => u64::try_from(length).map_err(damaged),
        }
    }
}

pub(super) fn unread(error: io::Error) -> TableError {
    if error.kind() == io::ErrorKind::UnexpectedEof { cut_short() } else { TableError::new(error) }
}

fn cut_short() -> TableError {
    TableError::new("the file is cut short; get it whole")
}

pub(super) fn damaged(error: impl std::fmt::Display) -> TableError {
    // Some messages of the decoder have several lines.
    let error = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: String = error.chars().take(200).collect();
    TableError::new(format!("the file is damaged, or in a form that is not supported: {shown}"))
}
