//! The bytes of a pickle, read through two windows: the file may be larger than the memory.

use std::io;

use super::{Result, fault};
use crate::import::chroma::index::ReadAt;

/// Length of a window. It grows for a longer text.
const WINDOW: u64 = 64 << 10;
/// Longest text. Ids of real collections are far shorter.
const MAX_TEXT: u64 = 1 << 20;
/// Longest line: the name of a module or a class.
const MAX_LINE: u64 = 1 << 10;
/// The reason of a file that is cut off.
const ENDS: &str = "the file ends inside an opcode";

/// The place of a text in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) at: u64,
    pub(super) len: u32,
}

/// The file, with the offset of the next byte.
pub(super) struct Input<R> {
    file: R,
    len: u64,
    at: u64,
    /// Around the next byte.
    ahead: Window,
    /// Around the last text that was recalled. Recalled texts come in the order of the file.
    recalled: Window,
}

/// Some bytes of the file.
#[derive(Default)]
struct Window {
    at: u64,
    bytes: Vec<u8>,
}

impl<R: ReadAt> Input<R> {
    pub(super) fn new(file: R) -> Result<Self> {
        let len = file.length().or_else(|error| unread(&error))?;
        Ok(Self { file, len, at: 0, ahead: Window::default(), recalled: Window::default() })
    }

    /// The offset of the next byte.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.len
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.next(N as u64)?.first_chunk::<N>().copied();
        taken.map_or_else(|| fault(ENDS), Ok)
    }

    /// The next bytes.
    pub(super) fn slice(&mut self, len: u8) -> Result<&[u8]> {
        self.next(len.into())
    }

    /// Passes a text, which must be UTF-8.
    pub(super) fn text(&mut self, len: u64) -> Result<Text> {
        if len > self.len - self.at {
            return fault(ENDS);
        }
        if len > MAX_TEXT {
            return fault(format!("a text of {len} bytes, the limit is {MAX_TEXT}"));
        }
        let text = Text { at: self.at, len: u32::try_from(len).unwrap_or(u32::MAX) };
        utf8(self.next(len)?)?;
        Ok(text)
    }

    /// Passes a line, and returns it without its end.
    pub(super) fn line(&mut self) -> Result<Text> {
        let start = self.at;
        let most = (self.len - start).min(MAX_LINE);
        let len = memchr::memchr(b'\n', self.next(most)?).map_or_else(|| fault(ENDS), Ok)?;
        self.at = start;
        let text = self.text(len as u64)?;
        self.at += 1;
        Ok(text)
    }

    /// The content of a text that was passed.
    pub(super) fn read(&mut self, text: Text) -> Result<&str> {
        let len = u64::from(text.len);
        let window = if self.ahead.find(text.at, len).is_some() { &mut self.ahead } else { &mut self.recalled };
        utf8(window.load(&self.file, self.len, text.at, len)?)
    }

    fn next(&mut self, len: u64) -> Result<&[u8]> {
        let bytes = self.ahead.load(&self.file, self.len, self.at, len)?;
        self.at += len;
        Ok(bytes)
    }
}

impl Window {
    /// Bytes of the window; `None` if they do not lie within it.
    fn find(&self, at: u64, len: u64) -> Option<&[u8]> {
        let from = usize::try_from(at.checked_sub(self.at)?).ok()?;
        self.bytes.get(from..)?.get(..usize::try_from(len).ok()?)
    }

    /// Bytes of the file, of the length `file_len`. The window moves if they do not lie within it.
    fn load<R: ReadAt>(&mut self, file: &R, file_len: u64, at: u64, len: u64) -> Result<&[u8]> {
        if self.find(at, len).is_none() {
            if at.checked_add(len).is_none_or(|end| end > file_len) {
                return fault(ENDS);
            }
            self.bytes.resize(usize::try_from(len.max(WINDOW).min(file_len - at)).unwrap_or(usize::MAX), 0);
            self.at = at;
            if let Err(error) = file.read_at(&mut self.bytes, at) {
                self.bytes.clear();
                return unread(&error);
            }
        }
        self.find(at, len).map_or_else(|| fault(ENDS), Ok)
    }
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).or_else(|_| fault("a text that is not UTF-8"))
}

fn unread<T>(error: &io::Error) -> Result<T> {
    fault(format!("it cannot be read: {error}"))
}
