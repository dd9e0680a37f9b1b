//! Writing an embedding object.

use bytes::Bytes;

use super::{BLOCK, CHECKSUMS, HEADER, ROWS, SIGNS, finite, signs};
use crate::codec::Writer;
use crate::envelope::{Compress, Encoded, EnvelopeWriter, ObjectKind, SealedSection};
use crate::error::FormatError;
use crate::limits::{MAX_DIMENSION, MAX_PART_ROWS};

/// How errors call what is built.
const WHAT: &str = "embedding object";

/// Bytes of rows that a writer puts into one object: less than the format allows, so that the memory of a merge stays bounded.
const WRITTEN_BYTES: usize = 16 << 20;

/// How many rows of a dimension are written into one object: 65,536, or as many as fit 16 MiB; at least 1.
pub fn embedding_object_rows(dimension: u32) -> u32 {
    let fit = WRITTEN_BYTES / (dimension.max(1) as usize * size_of::<f32>());
    u32::try_from(fit.clamp(1, MAX_PART_ROWS)).unwrap_or(1)
}

/// Collects the rows of an embedding object. Its memory is that of the rows, up to 16 MiB; finishing adds the sign bits and no copy.
#[derive(Debug)]
pub struct EmbeddingBuilder {
    dimension: u32,
    rows: u32,
    values: Vec<f32>,
}

/// A finished embedding object.
#[derive(Debug)]
pub struct EncodedEmbeddings {
    /// Its bytes.
    pub object: Encoded,
    /// Its rows, at least one.
    pub rows: u32,
}

impl EmbeddingBuilder {
    /// An empty object for embeddings of this dimension.
    pub fn new(dimension: u32) -> Self {
        Self { dimension, rows: 0, values: Vec::new() }
    }

    /// Rows so far.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Whether it holds as many rows as one object is written with: [`embedding_object_rows`].
    pub fn is_full(&self) -> bool {
        self.rows >= embedding_object_rows(self.dimension)
    }

    /// Appends a row, which must be of the builder's dimension; returns its number.
    pub fn push(&mut self, row: &[f32]) -> u32 {
        let number = self.rows;
        self.values.extend_from_slice(row);
        self.rows = self.rows.saturating_add(1);
        number
    }

    /// The finished object.
    ///
    /// # Errors
    ///
    /// `Invalid` where it has no rows, a value is not finite, or the rows are not all of a dimension that the format knows; `TooLarge` where it
    /// was filled on after it was full.
    pub fn finish(self) -> Result<EncodedEmbeddings, FormatError> {
        let Self { dimension, rows, values } = self;
        let limit = embedding_object_rows(dimension);
        if rows > limit {
            return Err(FormatError::too_large(WHAT, rows.into(), limit.into()));
        }
        let whole = rows as usize * dimension as usize;
        if !(1..=MAX_DIMENSION).contains(&(dimension as usize)) || values.len() != whole || whole == 0 {
            return Err(FormatError::invalid(WHAT, "it holds no rows, or rows of another dimension"));
        }
        if !finite(&values) {
            return Err(FormatError::invalid(WHAT, "a value is not finite"));
        }
        let mut header = Writer::default();
        header.u32(dimension);
        header.u32(rows);
        let signs = signs(&values, dimension as usize);
        let bytes = little_endian(values);
        let mut all = crc32fast::Hasher::new();
        let mut checksums = Writer::default();
        for block in bytes.chunks(BLOCK) {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(block);
            all.combine(&hasher);
            checksums.u32(hasher.finalize());
        }
        let mut out = EnvelopeWriter::new(ObjectKind::Embeddings);
        out.section(HEADER, header.into_vec(), Compress::Never);
        out.section(CHECKSUMS, checksums.into_vec(), Compress::Never);
        out.sealed(ROWS, SealedSection::raw(vec![bytes], all.finalize()));
        out.section(SIGNS, signs, Compress::Never);
        Ok(EncodedEmbeddings { object: out.finish(), rows })
    }
}

/// The little-endian bytes of the values, without a copy where the machine is little-endian.
fn little_endian(values: Vec<f32>) -> Bytes {
    struct Owner(Vec<f32>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    if cfg!(target_endian = "little") {
        Bytes::from_owner(Owner(values))
    } else {
        values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
    }
}
