//! A reader that lets its next bytes be seen before they are read.

use std::io::{self, BufRead, Read};

/// The bytes seen so far come first.
#[derive(Debug)]
pub(super) struct Ahead<R> {
    seen: Vec<u8>,
    /// The first of them that was not read.
    at: usize,
    inner: R,
}

impl<R: BufRead> Ahead<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { seen: Vec::new(), at: 0, inner }
    }

    pub(super) fn inner(&self) -> &R {
        &self.inner
    }

    pub(super) fn inner_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// The bytes that were seen and not read.
    pub(super) fn held(&self) -> &[u8] {
        self.seen.get(self.at..).unwrap_or_default()
    }

    /// The byte at this distance from the next one; `None` behind the end.
    pub(super) fn see(&mut self, distance: usize) -> io::Result<Option<u8>> {
        while self.held().len() <= distance {
            let more = match self.inner.fill_buf() {
                Ok(more) => more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if more.is_empty() {
                return Ok(None);
            }
            let length = more.len();
            self.seen.extend_from_slice(more);
            self.inner.consume(length);
        }
        Ok(self.held().get(distance).copied())
    }
}

impl<R: BufRead> Read for Ahead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Ahead<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.held().is_empty() {
            return self.inner.fill_buf();
        }
        Ok(self.held())
    }

    fn consume(&mut self, length: usize) {
        if self.held().is_empty() {
            return self.inner.consume(length);
        }
        self.at += length;
        if self.held().is_empty() {
            (self.seen, self.at) = (Vec::new(), 0);
        }
    }
}
