//! Embedding objects: raw rows of f32, scanned in place from a mapping or read by ranges. `format/SPEC.md`, section "Embedding object", has
//! the bytes.

mod builder;
mod read;
#[cfg(test)]
mod tests;

pub use builder::{EmbeddingBuilder, EncodedEmbeddings, embedding_object_rows};
pub use read::Embeddings;

/// Dimension and number of rows.
const HEADER: u16 = 1;
/// The crc32 of each MiB of the rows.
const CHECKSUMS: u16 = 2;
/// The rows.
const ROWS: u16 = 3;
/// The sign bits of the rows.
const SIGNS: u16 = 4;

/// Bytes of rows that one checksum covers; the last covers what is left.
const BLOCK: usize = 1 << 20;

/// Bytes of the sign bits of one row: whole 64-bit words.
fn sign_stride(dimension: usize) -> usize {
    dimension.div_ceil(64) * size_of::<u64>()
}

/// One bit a dimension, set where the value is below zero (so not for -0.0): bit `i % 8` of byte `i / 8` of a row is dimension `i`. The bits
/// behind the last dimension are 0.
fn signs(values: &[f32], dimension: usize) -> Vec<u8> {
    let stride = sign_stride(dimension);
    let mut signs = vec![0; values.len() / dimension.max(1) * stride];
    for (row, bits) in values.chunks_exact(dimension.max(1)).zip(signs.chunks_exact_mut(stride.max(1))) {
        let (eights, rest) = row.as_chunks::<8>();
        for (byte, eight) in bits.iter_mut().zip(eights) {
            *byte = sign_byte(eight);
        }
        if let Some(byte) = bits.get_mut(eights.len()).filter(|_| !rest.is_empty()) {
            *byte = sign_byte(rest);
        }
    }
    signs
}

#[inline]
fn sign_byte(values: &[f32]) -> u8 {
    values.iter().zip(0..8).fold(0, |byte, (value, bit)| byte | (u8::from(*value < 0.0) << bit))
}

/// Whether all values are finite; without a branch a value, so that it runs on several at once.
fn finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    !values.iter().fold(false, |infinite, value| infinite | (value.to_bits() & EXPONENT == EXPONENT))
}
