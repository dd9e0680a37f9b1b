//! Bytes at a 16-byte boundary, as rkyv archives and rows of `f32` need them.

use bytes::Bytes;

use crate::error::FormatError;
use crate::reserve::reserve_exact;

/// The boundary.
pub(super) const ALIGN: usize = 16;

/// A zeroed buffer at a 16-byte boundary.
pub(super) struct AlignedBuf {
    words: Vec<u128>,
    len: usize,
}

impl AlignedBuf {
    /// A buffer for `len` bytes of `what`; an error if there is no memory for them.
    pub(super) fn zeroed(len: usize, what: &'static str) -> Result<Self, FormatError> {
        let mut words = Vec::new();
        reserve_exact(&mut words, len.div_ceil(ALIGN)).map_err(|_| FormatError::out_of_memory(what, len as u64))?;
        words.resize(len.div_ceil(ALIGN), 0);
        Ok(Self { words, len })
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        let bytes = bytemuck::cast_slice_mut(&mut self.words);
        let len = self.len.min(bytes.len());
        bytes.split_at_mut(len).0
    }

    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.words).get(..self.len).unwrap_or_default()
    }
}

/// The same bytes at a 16-byte boundary: without a copy if they lie at one already.
pub(super) fn aligned(bytes: Bytes, what: &'static str) -> Result<Bytes, FormatError> {
    if bytes.as_ptr().addr().is_multiple_of(ALIGN) {
        return Ok(bytes);
    }
    let mut copy = AlignedBuf::zeroed(bytes.len(), what)?;
    copy.as_mut_slice().copy_from_slice(&bytes);
    Ok(copy.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::FormatErrorKind;

    #[test]
    fn a_buffer_that_cannot_be_had_is_an_error() {
        // Story: the reader allocated the length that an envelope announced, and the program
        // aborted where memory was short.
        let error = AlignedBuf::zeroed(usize::MAX - 1, "ops").err().unwrap();
        assert_eq!((error.kind(), error.what()), (FormatErrorKind::OutOfMemory, "ops"));
        assert!(error.to_string().contains("memory for its 18446744073709551614 bytes is not available"), "{error}");
        assert_eq!(AlignedBuf::zeroed(17, "ops").unwrap().into_bytes(), [0; 17].as_slice());
    }
}
