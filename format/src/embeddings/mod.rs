//! Embedding objects: rows of f32 with their codes, scanned in place from a mapping or read by
//! ranges. `format/SPEC.md`, section "Embedding object", has the bytes.

mod builder;
mod columns;
mod front;
mod read;
mod section;
#[cfg(test)]
mod tests;

pub use builder::{EmbeddingBuilder, EncodedEmbeddings, embedding_object_rows};
pub use front::EmbeddingsFront;
pub use read::{Embeddings, RowCodes};
pub use section::EmbeddingSection;

use std::borrow::Cow;

/// Dimension, number of rows, rotation.
const HEADER: u16 = 1;
/// The crc32 of each block of the other sections.
const CHECKSUMS: u16 = 2;

/// Bytes of a section that one checksum covers. The last block of a section may be shorter.
const BLOCK: usize = 16 << 10;

/// Whether all values are finite. No branch depends on a value, so the compiler vectorizes the
/// loop.
fn finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    !values.iter().fold(false, |infinite, value| infinite | (value.to_bits() & EXPONENT == EXPONENT))
}

/// Little-endian bytes as floats, without a copy if alignment and machine allow it.
fn floats(bytes: &[u8]) -> Cow<'_, [f32]> {
    if cfg!(target_endian = "little")
        && let Ok(values) = bytemuck::try_cast_slice(bytes)
    {
        return Cow::Borrowed(values);
    }
    Cow::Owned(bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect())
}
