//! Elements of a list, and of a sequence of objects.

use std::io::{self, BufRead};

use super::layout::RECORD_SEPARATOR;
use super::{END_OF_DOS, OpText, OpTexts, TextError, broken};
use crate::jsonl::grammar::{Grammar, Step};

/// Bytes of the line of a fault that its error may look at.
const BEHIND: usize = 64;

/// The progress in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListState {
    /// In front of the opening bracket.
    Start,
    /// Behind it.
    First,
    /// Behind an element.
    Behind,
    /// Behind the closing bracket.
    End,
}

impl<R: BufRead> OpTexts<R> {
    /// The next element of a list.
    pub(super) fn of_list(&mut self, text: &mut Vec<u8>) -> Result<Option<OpText>, TextError> {
        loop {
            let byte = self.behind_space(false)?;
            match (self.list, byte) {
                (ListState::End, None) => return Ok(None),
                (ListState::End, Some(_)) => {
                    return Err(self.fault("text stands behind the end of the list; remove it"));
                }
                (_, None) => {
                    return Err(self.fault("the input ends before its list does: it is cut short, or `]` is missing"));
                }
                (ListState::Start, Some(_)) => {
                    self.take(1);
                    self.list = ListState::First;
                }
                (ListState::First | ListState::Behind, Some(b']')) => {
                    self.take(1);
                    self.list = ListState::End;
                }
                (ListState::First, Some(_)) => {
                    self.list = ListState::Behind;
                    return self.element(text).map(Some);
                }
                (ListState::Behind, Some(b',')) => {
                    self.take(1);
                    if self.behind_space(false)? == Some(b']') {
                        return Err(self.fault("a comma stands in front of the end of the list; remove it"));
                    }
                    return self.element(text).map(Some);
                }
                (ListState::Behind, Some(_)) => {
                    return Err(self.fault("a comma is missing between two elements of the list"));
                }
            }
        }
    }

    /// The next object of a sequence.
    pub(super) fn of_sequence(&mut self, text: &mut Vec<u8>) -> Result<Option<OpText>, TextError> {
        match self.behind_space(true)? {
            None => Ok(None),
            Some(b',') => Err(self.fault(
                "a comma stands between two objects, as in a list without brackets; remove the commas, or write `[` in \
                 front of the first object and `]` behind the last one",
            )),
            Some(_) => self.element(text).map(Some),
        }
    }

    /// Appends the value that begins at the next byte.
    fn element(&mut self, text: &mut Vec<u8>) -> Result<OpText, TextError> {
        let at = OpText { number: self.number + 1, line: self.line, column: self.column };
        let start = text.len();
        let mut grammar = Grammar::new();
        loop {
            let bytes = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if bytes.is_empty() {
                let reason = "the input ends within an object: it is cut short. It begins here";
                let (line, column) = (at.line, at.column);
                return Err(TextError::Broken { line, column, field: String::new(), reason: reason.to_owned() });
            }
            let mut ended = None;
            let mut length = bytes.len();
            for (index, byte) in bytes.iter().enumerate() {
                match grammar.step(*byte) {
                    Step::Goes => continue,
                    Step::Done => (length, ended) = (index + 1, Some(Step::Done)),
                    other => (length, ended) = (index, Some(other)),
                }
                break;
            }
            text.extend_from_slice(bytes.get(..length).unwrap_or(bytes));
            if ended == Some(Step::Wrong) {
                let wrong = text.len() - start + 1;
                // The error looks at some bytes behind the fault, as far as they can be read.
                let _ = self.reader.see(length + BEHIND);
                let behind = self.reader.fill_buf()?.get(length..).unwrap_or_default();
                text.extend_from_slice(behind.get(..BEHIND).unwrap_or(behind));
                return Err(broken(at, text.get(start..).unwrap_or_default(), wrong));
            }
            self.take(length);
            if (text.len() - start) as u64 >= self.limit {
                return Err(TextError::TooLong(at));
            }
            if ended.is_some() {
                self.number += 1;
                return Ok(at);
            }
        }
    }

    /// Skips white space, and returns the byte behind it; `None` at the end.
    fn behind_space(&mut self, is_sequence: bool) -> Result<Option<u8>, TextError> {
        loop {
            let bytes = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let is_space =
                |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n') || (is_sequence && *byte == RECORD_SEPARATOR);
            match bytes.iter().position(|byte| !is_space(byte)) {
                None if bytes.is_empty() => return Ok(None),
                None => {
                    let length = bytes.len();
                    self.take(length);
                }
                Some(length) => {
                    let byte = bytes.get(length).copied();
                    self.take(length);
                    if byte == Some(END_OF_DOS) && self.reader.see(1)?.is_none() {
                        return Ok(None);
                    }
                    return Ok(byte);
                }
            }
        }
    }

    /// Consumes bytes, and counts their lines.
    fn take(&mut self, length: usize) {
        // Nothing is read in front of these bytes, so they are in the buffer without an error.
        if let Ok(bytes) = self.reader.fill_buf() {
            let bytes = bytes.get(..length).unwrap_or(bytes);
            match memchr::memrchr(b'\n', bytes) {
                None => self.column += bytes.len(),
                Some(at) => {
                    self.line += memchr::memchr_iter(b'\n', bytes).count() as u64;
                    self.column = bytes.len() - at;
                }
            }
        }
        self.reader.consume(length);
    }

    fn fault(&self, reason: &str) -> TextError {
        TextError::Broken { line: self.line, column: self.column, field: String::new(), reason: reason.to_owned() }
    }
}
