//! Reading an embedding object.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::{BLOCK, CHECKSUMS, HEADER, ROWS, SIGNS, finite, sign_stride, signs};
use crate::codec::Cursor;
use crate::envelope::{EnvelopeReader, ObjectKind};
use crate::error::FormatError;
use crate::limits::{MAX_DIMENSION, MAX_EMBEDDING_OBJECT_BYTES, MAX_PART_ROWS};

/// How errors call the sections.
const HEADER_WHAT: &str = "embeddings header";
const CHECKSUMS_WHAT: &str = "checksum table";
const ROWS_WHAT: &str = "embedding rows";
const SIGNS_WHAT: &str = "sign bits";

/// An embedding object, read in place. Envelope, header and checksum table are checked when it is opened, each MiB of its rows when it is
/// first touched: opening a mapped object of any size reads a few pages.
#[derive(Debug)]
pub struct Embeddings {
    reader: EnvelopeReader,
    dimension: u32,
    rows: u32,
    values: Bytes,
    checksums: Vec<u32>,
    /// One bit a MiB: it was found sound.
    verified: Vec<AtomicU64>,
}

impl Embeddings {
    /// Opens a whole object, without reading its rows.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with envelope, header or checksum table; that rows and sign bits are not as many as the header says.
    pub fn open(object: Bytes) -> Result<Self, FormatError> {
        let reader = EnvelopeReader::open(object, ObjectKind::Embeddings)?;
        let header = reader.section(HEADER, HEADER_WHAT, 2 * size_of::<u32>())?;
        let mut cursor = Cursor::new(&header, HEADER_WHAT);
        let (dimension, rows) = (cursor.u32()?, cursor.u32()?);
        cursor.finish()?;
        let in_limits =
            (1..=MAX_DIMENSION).contains(&(dimension as usize)) && (1..=MAX_PART_ROWS).contains(&(rows as usize));
        if !in_limits {
            return Err(FormatError::invalid(HEADER_WHAT, "its dimension or number of rows is out of bounds"));
        }
        let values = reader.raw_section(ROWS, ROWS_WHAT, MAX_EMBEDDING_OBJECT_BYTES)?;
        if values.len() as u64 != u64::from(dimension) * u64::from(rows) * size_of::<f32>() as u64 {
            return Err(FormatError::invalid(ROWS_WHAT, "there are not as many as the header says"));
        }
        let signs = rows as usize * sign_stride(dimension as usize);
        if reader.raw_section(SIGNS, SIGNS_WHAT, signs)?.len() != signs {
            return Err(FormatError::invalid(SIGNS_WHAT, "there is not one bit for each dimension of each row"));
        }
        let blocks = values.len().div_ceil(BLOCK);
        let table = reader.section(CHECKSUMS, CHECKSUMS_WHAT, blocks * size_of::<u32>())?;
        let (checksums, rest) = table.as_chunks::<4>();
        if checksums.len() != blocks || !rest.is_empty() {
            return Err(FormatError::invalid(CHECKSUMS_WHAT, "there is not one for each MiB of the rows"));
        }
        let checksums = checksums.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let verified = (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { reader, dimension, rows, values, checksums, verified })
    }

    /// How many rows it has, at least one.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The length of a row.
    pub fn dimension(&self) -> u32 {
        self.dimension
    }

    /// The crc32 of the object's envelope, to be compared with the one in the manifest.
    pub fn crc32(&self) -> u32 {
        self.reader.envelope().crc32()
    }

    /// A row. It borrows from the object where that lies at a multiple of 4 in memory, as mapped files do, and is a copy elsewhere. The first
    /// row asked for in a MiB costs reading that MiB, about 0.1 ms.
    ///
    /// # Errors
    ///
    /// `Checksum` where the MiB it lies in is damaged; `Invalid` where a value in it is not finite, or there is no such row.
    pub fn row(&self, row: u32) -> Result<Cow<'_, [f32]>, FormatError> {
        let len = self.dimension as usize * size_of::<f32>();
        let start = row as usize * len;
        let bytes = self.values.get(start..start + len).ok_or_else(|| {
            FormatError::invalid(ROWS_WHAT, format!("there is no row {row}, there are only {}", self.rows))
        })?;
        for block in start / BLOCK..=(start + len - 1) / BLOCK {
            self.verify(block)?;
        }
        Ok(floats(bytes))
    }

    /// The sign bits, verified: `dimension` bits a row, set where the value is below zero, bit `i % 8` of byte `i / 8` being dimension `i`; each
    /// row padded with zero bits to whole 64-bit words. Reads all of them at every call.
    ///
    /// # Errors
    ///
    /// `Checksum` where they are damaged.
    pub fn sign_bits(&self) -> Result<Bytes, FormatError> {
        self.reader.section(SIGNS, SIGNS_WHAT, self.rows as usize * sign_stride(self.dimension as usize))
    }

    /// Verifies everything that opening did not.
    ///
    /// # Errors
    ///
    /// `Checksum` where something is damaged; `Invalid` where a value is not finite, or the sign bits are not those of the rows.
    pub fn verify_all(&self) -> Result<(), FormatError> {
        for block in 0..self.checksums.len() {
            self.verify(block)?;
        }
        self.reader.check(ROWS, ROWS_WHAT)?;
        if self.sign_bits()? != signs(&floats(&self.values), self.dimension as usize) {
            return Err(FormatError::invalid(SIGNS_WHAT, "they are not those of the rows"));
        }
        Ok(())
    }

    /// Verifies one MiB of the rows, once.
    fn verify(&self, block: usize) -> Result<(), FormatError> {
        let bit = 1 << (block % 64);
        let word = self.verified.get(block / 64);
        if word.is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0) {
            return Ok(());
        }
        let bytes = self.values.chunks(BLOCK).nth(block).unwrap_or_default();
        if self.checksums.get(block) != Some(&crc32fast::hash(bytes)) {
            return Err(FormatError::checksum(ROWS_WHAT, format!("the crc32 of MiB {block} does not match")));
        }
        if !finite(&floats(bytes)) {
            return Err(FormatError::invalid(ROWS_WHAT, format!("a value in MiB {block} is not finite")));
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
    Cow::Owned(bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect())
}
