//! Bytes at a 16-byte boundary, as rkyv archives and rows of `f32` need them.

use bytes::Bytes;

/// The boundary.
pub(super) const ALIGN: usize = 16;

/// A zeroed buffer at a 16-byte boundary. The zeros come from the allocator, so that pages nobody writes cost nothing.
pub(super) struct AlignedBuf {
    words: Vec<u128>,
    len: usize,
}

impl AlignedBuf {
    pub(super) fn zeroed(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(ALIGN)], len }
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

/// The same bytes at a 16-byte boundary: themselves where they lie at one, else a copy.
pub(super) fn aligned(bytes: Bytes) -> Bytes {
    if bytes.as_ptr().addr().is_multiple_of(ALIGN) {
        return bytes;
    }
    let mut copy = AlignedBuf::zeroed(bytes.len());
    copy.as_mut_slice().copy_from_slice(&bytes);
    copy.into_bytes()
}
