//! Embedding objects: raw rows of f32, scanned in place from a mapping or read by ranges.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::codec::{Cursor, Writer};
use crate::envelope::{Compress, Encoded, EnvelopeReader, EnvelopeWriter, ObjectKind, SealedSection};
use crate::error::FormatError;
use crate::limits::{MAX_DIMENSION, MAX_EMBEDDING_OBJECT_BYTES, MAX_PART_ROWS};

const HEADER: u16 = 1;
const ROWS: u16 = 2;
const SIGNS: u16 = 3;

/// Bytes of rows that one checksum covers.
const BLOCK: usize = 1 << 20;
/// Bytes of rows that a writer puts into one object: less than the format allows, so that memory stays bounded.
const WRITTEN_BYTES: usize = 64 << 20;

/// How many rows of a dimension are written into one object: 65,536, or as many as fit 64 MiB.
pub fn embedding_object_rows(dimension: u32) -> u32 {
    let fit = WRITTEN_BYTES / (dimension.max(1) as usize * 4);
    u32::try_from(fit.clamp(1, MAX_PART_ROWS)).unwrap_or(1)
}

/// Bytes of the sign bits of one row: one bit a dimension, in whole 64-bit words.
fn sign_stride(dimension: usize) -> usize {
    dimension.div_ceil(64) * 8
}

/// Collects the rows of an embedding object.
#[derive(Debug)]
pub struct EmbeddingBuilder {
    dimension: u32,
    values: Vec<f32>,
}

/// A finished embedding object.
#[derive(Debug)]
pub struct EncodedEmbeddings {
    /// Its bytes.
    pub object: Encoded,
    /// Its rows.
    pub rows: u32,
}

impl EmbeddingBuilder {
    /// An empty object for embeddings of this dimension.
    pub fn new(dimension: u32) -> Self {
        Self { dimension: dimension.max(1), values: Vec::new() }
    }

    /// Rows so far.
    pub fn rows(&self) -> u32 {
        u32::try_from(self.values.len() / self.dimension as usize).unwrap_or(u32::MAX)
    }

    /// Whether it holds as many rows as one object is written with.
    pub fn is_full(&self) -> bool {
        self.rows() >= embedding_object_rows(self.dimension)
    }

    /// Appends a row of the builder's dimension; returns its number.
    pub fn push(&mut self, row: &[f32]) -> u32 {
        debug_assert_eq!(row.len(), self.dimension as usize, "every row has the dimension of the object");
        let number = self.rows();
        self.values.extend_from_slice(row);
        number
    }

    /// The finished object.
    ///
    /// # Errors
    ///
    /// `Invalid` where it has no rows, `TooLarge` beyond the limits.
    pub fn finish(self) -> Result<EncodedEmbeddings, FormatError> {
        let (rows, dimension) = (self.rows(), self.dimension as usize);
        if rows == 0 || self.values.len() != rows as usize * dimension {
            return Err(FormatError::invalid("embeddings", "an object holds whole rows, at least one"));
        }
        if rows as usize > MAX_PART_ROWS || self.values.len() * 4 > MAX_EMBEDDING_OBJECT_BYTES {
            return Err(FormatError::too_large("embeddings", rows.into(), MAX_PART_ROWS as u64));
        }
        let signs = signs(&self.values, dimension);
        let bytes = f32_bytes(self.values);
        let mut header = Writer::default();
        header.u32(self.dimension);
        header.u32(rows);
        header.count(bytes.len().div_ceil(BLOCK));
        let mut whole = crc32fast::Hasher::new();
        for block in bytes.chunks(BLOCK) {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(block);
            whole.combine(&hasher);
            header.u32(hasher.finalize());
        }
        let object = EnvelopeWriter::new(ObjectKind::Embeddings)
            .section(HEADER, Bytes::from(header.into_vec()), Compress::Never)
            .sealed(ROWS, SealedSection::raw(vec![bytes], whole.finalize()))
            .section(SIGNS, Bytes::from(signs), Compress::Never)
            .finish();
        Ok(EncodedEmbeddings { object, rows })
    }
}

/// One bit a dimension, set where the value is below zero; rows padded to whole words.
fn signs(values: &[f32], dimension: usize) -> Vec<u8> {
    let mut signs = Vec::with_capacity(values.len() / dimension * sign_stride(dimension));
    for row in values.chunks_exact(dimension) {
        for lane in row.chunks(64) {
            let bits = lane.iter().enumerate().fold(0_u64, |bits, (i, value)| bits | u64::from(*value < 0.0) << i);
            signs.extend_from_slice(&bits.to_le_bytes());
        }
    }
    signs
}

/// The little-endian bytes of the values, without a copy where the machine is little-endian.
fn f32_bytes(values: Vec<f32>) -> Bytes {
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

/// An embedding object. Its envelope and header are checked when it is opened, each MiB of its rows when it is first touched.
#[derive(Debug)]
pub struct Embeddings {
    reader: EnvelopeReader,
    dimension: u32,
    rows: u32,
    values: Bytes,
    checksums: Vec<u32>,
    /// One bit a block: its checksum was found right.
    verified: Vec<AtomicU64>,
}

impl Embeddings {
    /// Opens an object; reads envelope and header only.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with these.
    pub fn open(object: Bytes) -> Result<Self, FormatError> {
        const WHAT: &str = "embedding header";
        let reader = EnvelopeReader::open(object, ObjectKind::Embeddings)?;
        let header = reader.section(HEADER, WHAT, 12 + MAX_EMBEDDING_OBJECT_BYTES / BLOCK * 4)?;
        let mut cursor = Cursor::new(&header, WHAT);
        let (dimension, rows) = (cursor.u32()?, cursor.u32()?);
        let checksums = cursor.list(4, Cursor::u32)?;
        cursor.finish()?;
        let values = reader.raw_section(ROWS, "embedding rows", MAX_EMBEDDING_OBJECT_BYTES)?;
        let expected = u64::from(dimension) * u64::from(rows) * 4;
        let in_limits =
            (1..=MAX_DIMENSION as u64).contains(&dimension.into()) && (1..=MAX_PART_ROWS as u64).contains(&rows.into());
        if !in_limits || values.len() as u64 != expected || checksums.len() != values.len().div_ceil(BLOCK) {
            return Err(FormatError::invalid(WHAT, "dimension, rows and checksums do not fit the rows that are there"));
        }
        let signs = reader.envelope().section(SIGNS).map(|section| section.raw);
        if signs != Some(u64::from(rows) * sign_stride(dimension as usize) as u64) {
            return Err(FormatError::invalid("sign bits", "there is not one bit for each dimension of each row"));
        }
        let verified = (0..checksums.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { reader, dimension, rows, values, checksums, verified })
    }

    /// How many rows it has.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The length of a row.
    pub fn dimension(&self) -> u32 {
        self.dimension
    }

    /// The crc32 of the object's envelope.
    pub fn crc32(&self) -> u32 {
        self.reader.envelope().crc32()
    }

    /// A row, borrowed from the object where its bytes are aligned as floats are.
    ///
    /// # Errors
    ///
    /// `Checksum` where the MiB it lies in is damaged, `Invalid` where there is no such row.
    pub fn row(&self, row: u32) -> Result<Cow<'_, [f32]>, FormatError> {
        let length = self.dimension as usize * 4;
        let start = row as usize * length;
        let bytes = self.values.get(start..start + length).ok_or_else(|| {
            FormatError::invalid("embedding rows", format!("there is no row {row}: there are {}", self.rows))
        })?;
        for block in start / BLOCK..=(start + length - 1) / BLOCK {
            self.verify(block)?;
        }
        Ok(floats(bytes))
    }

    /// Verifies everything that opening did not.
    ///
    /// # Errors
    ///
    /// `Checksum` where something is damaged, `Invalid` where a value is not finite or a sign bit is wrong.
    pub fn verify_all(&self) -> Result<(), FormatError> {
        for block in 0..self.checksums.len() {
            self.verify(block)?;
        }
        let found = self.sign_bits()?;
        let values = floats(&self.values);
        if !values.iter().all(|value| value.is_finite()) {
            return Err(FormatError::invalid("embedding rows", "a value is not finite"));
        }
        if found != signs(&values, self.dimension as usize) {
            return Err(FormatError::invalid("sign bits", "they are not those of the rows"));
        }
        Ok(())
    }

    /// The sign bits, checked: one bit a dimension, set where the value is below zero; rows padded to whole 64-bit words.
    ///
    /// # Errors
    ///
    /// `Checksum` where they are damaged.
    pub fn sign_bits(&self) -> Result<Bytes, FormatError> {
        self.reader.section(SIGNS, "sign bits", MAX_PART_ROWS * sign_stride(MAX_DIMENSION))
    }

    fn verify(&self, block: usize) -> Result<(), FormatError> {
        let bit = 1 << (block % 64);
        let word = self.verified.get(block / 64);
        if word.is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0) {
            return Ok(());
        }
        let bytes = self.values.chunks(BLOCK).nth(block).unwrap_or_default();
        if self.checksums.get(block) != Some(&crc32fast::hash(bytes)) {
            return Err(FormatError::checksum("embedding rows", format!("the crc32 of MiB {block} does not match")));
        }
        if let Some(word) = word {
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Little-endian bytes as floats, without a copy where alignment and machine allow.
fn floats(bytes: &[u8]) -> Cow<'_, [f32]> {
    if cfg!(target_endian = "little")
        && let Ok(values) = bytemuck::try_cast_slice(bytes)
    {
        return Cow::Borrowed(values);
    }
    let values = bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value));
    Cow::Owned(values.collect())
}
