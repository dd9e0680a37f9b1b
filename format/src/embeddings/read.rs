//! Reading a whole embedding object in place.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::{BLOCK, EmbeddingSection, EmbeddingsFront, floats};
use crate::codes::{CodeEncoder, Factors, Rotation, sign_bytes};
use crate::envelope::{EnvelopeReader, ObjectKind};
use crate::error::FormatError;
use crate::limits::MAX_EMBEDDING_OBJECT_BYTES;

/// An embedding object, read in place.
///
/// Opening checks envelope, header and checksum table. Each block of 16 KiB is checked when it is first
/// touched, so opening a mapped object of any size reads a few pages.
#[derive(Debug)]
pub struct Embeddings {
    front: EmbeddingsFront,
    sections: [Bytes; EmbeddingSection::ALL.len()],
    /// One bit a block: it was found sound.
    verified: Vec<AtomicU64>,
}

/// The codes of one row.
#[derive(Debug, Clone, Copy)]
pub struct RowCodes<'a> {
    /// The sign bits: whole 64-bit words.
    pub signs: &'a [u8],
    /// The 8-bit code, two's complement.
    pub bytes: &'a [u8],
    /// The numbers beside them.
    pub factors: Factors,
}

impl Embeddings {
    /// Opens a whole object, without reading rows or codes.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with envelope, header or checksum table; that a section has not as many rows as the
    /// header says.
    pub fn open(object: Bytes) -> Result<Self, FormatError> {
        let front = EmbeddingsFront::read(EnvelopeReader::open(object, ObjectKind::Embeddings)?)?;
        let mut sections = [const { Bytes::new() }; EmbeddingSection::ALL.len()];
        for (bytes, section) in sections.iter_mut().zip(EmbeddingSection::ALL) {
            *bytes = front.reader().raw_section(section.id(), section.name(), MAX_EMBEDDING_OBJECT_BYTES)?;
        }
        let (_, blocks) = front.blocks(EmbeddingSection::Norms);
        let verified = (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { front, sections, verified })
    }

    /// How many rows it has, at least one.
    pub fn rows(&self) -> u32 {
        self.front.rows()
    }

    /// The length of a row.
    pub fn dimension(&self) -> u32 {
        self.front.dimension()
    }

    /// The seed of the rotation that its codes are of.
    pub fn rotation(&self) -> u64 {
        self.front.rotation()
    }

    /// The crc32 of the object's envelope, to be compared with the one in the manifest.
    pub fn crc32(&self) -> u32 {
        self.front.crc32()
    }

    /// A row. It borrows from the object where that lies at a multiple of 4 in memory, as mapped files do,
    /// and is a copy elsewhere. The first row asked for in a block costs reading that block.
    ///
    /// # Errors
    ///
    /// `Checksum` where a block it lies in is damaged; `Invalid` where a value in it is not finite, or there
    /// is no such row.
    pub fn row(&self, row: u32) -> Result<Cow<'_, [f32]>, FormatError> {
        self.section(EmbeddingSection::Rows, row..row.saturating_add(1)).map(floats)
    }

    /// The bytes of some rows of a section, each block verified at its first use.
    ///
    /// # Errors
    ///
    /// `Checksum` where a block is damaged; `Invalid` where a value must not occur, or there are no such rows.
    pub fn section(&self, section: EmbeddingSection, rows: Range<u32>) -> Result<&[u8], FormatError> {
        let wanted = self.front.wanted(section, rows)?;
        if !wanted.is_empty() {
            for block in wanted.start / BLOCK..=(wanted.end - 1) / BLOCK {
                self.verify(section, block)?;
            }
        }
        // The section is as long as the front says, and the range lies in it.
        Ok(self.bytes(section).get(wanted).unwrap_or_default())
    }

    /// The numbers of some rows in a section of f32: norms, estimators, scales or residuals. Borrows as
    /// [`row`](Self::row) does.
    ///
    /// # Errors
    ///
    /// As [`section`](Self::section).
    pub fn numbers(&self, section: EmbeddingSection, rows: Range<u32>) -> Result<Cow<'_, [f32]>, FormatError> {
        self.section(section, rows).map(floats)
    }

    /// The 8-bit codes of some rows.
    ///
    /// # Errors
    ///
    /// As [`section`](Self::section).
    pub fn byte_codes(&self, rows: Range<u32>) -> Result<&[i8], FormatError> {
        self.section(EmbeddingSection::Bytes, rows).map(bytemuck::cast_slice)
    }

    /// The codes of one row, to be copied into another object.
    ///
    /// # Errors
    ///
    /// As [`section`](Self::section).
    pub fn codes(&self, row: u32) -> Result<RowCodes<'_>, FormatError> {
        let rows = row..row.saturating_add(1);
        let number = |section| {
            let numbers = self.numbers(section, rows.clone())?;
            Ok::<_, FormatError>(numbers.first().copied().unwrap_or_default())
        };
        Ok(RowCodes {
            signs: self.section(EmbeddingSection::Signs, rows.clone())?,
            bytes: self.section(EmbeddingSection::Bytes, rows.clone())?,
            factors: Factors {
                norm: number(EmbeddingSection::Norms)?,
                estimator: number(EmbeddingSection::Estimators)?,
                scale: number(EmbeddingSection::Scales)?,
                residual: number(EmbeddingSection::Residuals)?,
            },
        })
    }

    /// Verifies everything that opening did not, and computes the codes of each row anew.
    ///
    /// # Errors
    ///
    /// `Checksum` where something is damaged; `Invalid` where a value must not occur, or the codes are not
    /// those of the rows.
    pub fn verify_all(&self) -> Result<(), FormatError> {
        for section in EmbeddingSection::ALL {
            self.section(section, 0..self.rows())?;
            self.front.reader().check(section.id(), section.name())?;
        }
        let mut encoder = CodeEncoder::new(Rotation::new(self.dimension(), self.rotation()));
        let mut signs = vec![0; sign_bytes(self.dimension())];
        let mut bytes = vec![0; self.dimension() as usize];
        for row in 0..self.rows() {
            let factors = encoder.encode(&self.row(row)?, &mut signs, &mut bytes);
            let found = self.codes(row)?;
            let same = |a: f32, b: f32| a.to_bits() == b.to_bits();
            let differs = if signs != found.signs {
                EmbeddingSection::Signs
            } else if bytes != found.bytes {
                EmbeddingSection::Bytes
            } else if !same(factors.norm, found.factors.norm) {
                EmbeddingSection::Norms
            } else if !same(factors.estimator, found.factors.estimator) {
                EmbeddingSection::Estimators
            } else if !same(factors.scale, found.factors.scale) {
                EmbeddingSection::Scales
            } else if !same(factors.residual, found.factors.residual) {
                EmbeddingSection::Residuals
            } else {
                continue;
            };
            return Err(FormatError::invalid(differs.name(), format!("they are not those of row {row}")));
        }
        Ok(())
    }

    /// Verifies one block of a section, once.
    fn verify(&self, section: EmbeddingSection, block: usize) -> Result<(), FormatError> {
        let (first, _) = self.front.blocks(section);
        let number = first + block;
        let bit = 1 << (number % 64);
        let word = self.verified.get(number / 64);
        if word.is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0) {
            return Ok(());
        }
        let bytes = self.bytes(section).get(block * BLOCK..).unwrap_or_default();
        self.front.check(section, block, bytes.get(..BLOCK).unwrap_or(bytes))?;
        if let Some(word) = word {
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(())
    }

    fn bytes(&self, section: EmbeddingSection) -> &[u8] {
        self.sections.get(section.place()).map_or(&[], |bytes| bytes)
    }
}
