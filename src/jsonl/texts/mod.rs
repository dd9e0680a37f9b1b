//! Cuts an input into the texts of its ops, whatever their layout: one a line, a list, or objects
//! that follow each other.

mod ahead;
mod element;
mod layout;

use std::fmt;
use std::io::{self, BufRead, Read as _};

use ahead::Ahead;

use super::error::LineError;

/// The arrangement of the ops in an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// One op a line: JSON Lines.
    Lines,
    /// One JSON list of ops.
    List,
    /// Objects that follow each other, on any number of lines each: printed for people, without
    /// line breaks, with line ends of CR alone, or as a JSON text sequence (RFC 7464).
    Sequence,
}

impl Layout {
    /// The unit that its ops are counted in.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Lines => "line",
            Self::List | Self::Sequence => "element",
        }
    }
}

/// The place of an op's text in its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpText {
    /// The number of the line or element, counted from 1. Blank lines count.
    pub number: u64,
    /// The line on which it begins, counted from 1.
    pub line: u64,
    /// The byte of that line at which it begins, counted from 1.
    pub column: usize,
}

impl OpText {
    /// The line and column of a byte of the text, which is counted from 1.
    pub fn place(&self, text: &[u8], byte: usize) -> (u64, usize) {
        let before = text.get(..byte.saturating_sub(1)).unwrap_or(text);
        let lines = memchr::memchr_iter(b'\n', before).count() as u64;
        match memchr::memrchr(b'\n', before) {
            None => (self.line, self.column + before.len()),
            Some(at) => (self.line + lines, before.len() - at),
        }
    }
}

/// The reason why no further text can be cut off an input.
#[derive(Debug)]
#[non_exhaustive]
pub enum TextError {
    /// The input cannot be read.
    Unread(io::Error),
    /// A text is longer than the limit.
    TooLong(OpText),
    /// The list or the sequence is broken, so no place is known where the next op begins.
    Broken {
        /// The line of the fault.
        line: u64,
        /// Its byte in that line.
        column: usize,
        /// The field, as in [`LineError::field`].
        field: String,
        /// The reason and the remedy.
        reason: String,
    },
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread(error) => error.fmt(f),
            Self::TooLong(at) => write!(f, "line {}: the op that begins here is too long", at.line),
            Self::Broken { line, column, field, reason } if field.is_empty() => {
                write!(f, "line {line}, column {column}: {reason}")
            }
            Self::Broken { line, column, field, reason } => {
                write!(f, "line {line}, column {column}: field `{field}`: {reason}")
            }
        }
    }
}

impl std::error::Error for TextError {}

impl From<io::Error> for TextError {
    fn from(error: io::Error) -> Self {
        Self::Unread(error)
    }
}

/// The texts of the ops of an input. Its first bytes tell their layout; a byte order mark in front
/// of them is skipped.
///
/// It reads up to 1 MiB ahead to tell the layout, and never beyond the first line of JSON Lines.
#[derive(Debug)]
pub struct OpTexts<R> {
    reader: Ahead<R>,
    layout: Option<Layout>,
    /// The longest text, in bytes.
    limit: u64,
    /// The last text.
    number: u64,
    /// The place of the next byte, in a list or sequence.
    line: u64,
    column: usize,
    /// The progress in a list.
    list: element::ListState,
}

impl<R: BufRead> OpTexts<R> {
    /// The texts of an input. None may be as long as `limit`, in bytes.
    pub fn new(reader: R, limit: u64) -> Self {
        let list = element::ListState::Start;
        Self { reader: Ahead::new(reader), layout: None, limit, number: 0, line: 1, column: 1, list }
    }

    /// The layout; lines until the first text was read.
    pub fn layout(&self) -> Layout {
        self.layout.unwrap_or(Layout::Lines)
    }

    /// The bytes that were read and not yet handed out; perhaps not all of them.
    pub fn ahead(&self) -> &[u8] {
        self.reader.held()
    }

    /// The reader, whose next bytes may have been read ahead.
    pub fn reader(&self) -> &R {
        self.reader.inner()
    }

    /// The reader, to read the rest of the input for its checksums.
    pub fn reader_mut(&mut self) -> &mut R {
        self.reader.inner_mut()
    }

    /// The number of the line or element that is read next.
    pub fn next_number(&self) -> u64 {
        self.number + 1
    }

    /// Appends the next text to `text`; `None` at the end.
    ///
    /// # Errors
    ///
    /// A failure of the reader, a text that is too long, a list or sequence that is broken. Nothing
    /// more can be read then, except behind a line that is too long:
    /// [`skip_line`](Self::skip_line).
    pub fn read_into(&mut self, text: &mut Vec<u8>) -> Result<Option<OpText>, TextError> {
        let layout = match self.layout {
            Some(layout) => layout,
            None => *self.layout.insert(layout::find(&mut self.reader)?),
        };
        match layout {
            Layout::Lines => self.line(text),
            Layout::List => self.of_list(text),
            Layout::Sequence => self.of_sequence(text),
        }
    }

    /// Skips the rest of a line that is too long, so that the next one can be read. `begun` is what
    /// was read of it.
    ///
    /// # Errors
    ///
    /// A failure of the reader.
    pub fn skip_line(&mut self, begun: &[u8]) -> io::Result<()> {
        self.number += 1;
        if begun.ends_with(b"\n") {
            return Ok(());
        }
        loop {
            let ahead = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                ahead => ahead?,
            };
            let end = ahead.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(ahead.len(), |end| end + 1);
            self.reader.consume(length);
            if end.is_some() || length == 0 {
                return Ok(());
            }
        }
    }

    fn line(&mut self, text: &mut Vec<u8>) -> Result<Option<OpText>, TextError> {
        let number = self.number + 1;
        let at = OpText { number, line: number, column: 1 };
        let length = (&mut self.reader).take(self.limit).read_until(b'\n', text)?;
        if length as u64 == self.limit {
            return Err(TextError::TooLong(at));
        }
        if length == 0 {
            return Ok(None);
        }
        // Programs of DOS end a text with Ctrl-Z.
        if text.last() == Some(&END_OF_DOS) {
            text.pop();
            if length == 1 {
                return Ok(None);
            }
        }
        self.number = number;
        Ok(Some(at))
    }
}

const END_OF_DOS: u8 = 0x1a;

/// The error of an element that breaks the grammar, by the words for the line that it would be.
fn broken(at: OpText, text: &[u8], byte: usize) -> TextError {
    let (error, byte) = match super::parse_op(text, at.number) {
        Err(error) => {
            let byte = error.column();
            (error, byte)
        }
        Ok(_) => (LineError::new(byte, "", "this breaks the grammar of JSON"), byte),
    };
    let (line, column) = at.place(text, byte);
    TextError::Broken { line, column, field: error.field().to_owned(), reason: error.reason().to_owned() }
}

#[cfg(test)]
mod tests;
