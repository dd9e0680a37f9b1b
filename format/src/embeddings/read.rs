//! Reads an embedding object in place: the whole object, or the sections of it that were fetched.

use std::borrow::Cow;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::{BLOCK, EmbeddingSection, EmbeddingsFront, floats};
use crate::codes::{CodeEncoder, Factors, Rotation, sign_bytes};
use crate::envelope::{EnvelopeReader, ObjectKind};
use crate::error::FormatError;
use crate::limits::MAX_EMBEDDING_OBJECT_BYTES;

/// An embedding object, or the sections of it in memory, read in place.
///
/// Opening checks envelope, header and checksum table. The first access to a block of 16 KiB checks
/// that block, so opening a mapped object of any size reads a few pages. Clones share bytes and
/// checks.
#[derive(Debug, Clone)]
pub struct Embeddings {
    front: Arc<EmbeddingsFront>,
    /// Clones share it: a reader clones the object for each record that it makes.
    sections: Arc<[Option<Held>; EmbeddingSection::ALL.len()]>,
}

/// The bytes of one section.
#[derive(Debug, Clone)]
struct Held {
    bytes: Bytes,
    /// One bit a block, set once the block was verified.
    verified: Arc<[AtomicU64]>,
}

impl Held {
    fn new(bytes: Bytes) -> Self {
        let words = bytes.len().div_ceil(BLOCK).div_ceil(64);
        Self { bytes, verified: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    fn is_verified(&self, block: usize) -> bool {
        let word = self.verified.get(block / 64);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & 1 << (block % 64) != 0)
    }
}

/// The codes of one row.
#[derive(Debug, Clone, Copy)]
pub struct RowCodes<'a> {
    /// The sign bits: whole 64-bit words.
    pub signs: &'a [u8],
    /// The 8-bit code, two's complement.
    pub bytes: &'a [u8],
    /// The numbers that belong to them.
    pub factors: Factors,
}

impl Embeddings {
    /// Opens a whole object, without reading rows or codes.
    ///
    /// # Errors
    ///
    /// A fault of envelope, header or checksum table; a section with another number of rows than
    /// the header says.
    pub fn open(object: Bytes) -> Result<Self, FormatError> {
        let mut opened = Self::empty(EmbeddingsFront::read(EnvelopeReader::open(object, ObjectKind::Embeddings)?)?);
        for (held, section) in Arc::make_mut(&mut opened.sections).iter_mut().zip(EmbeddingSection::ALL) {
            let reader = opened.front.reader();
            *held = Some(Held::new(reader.raw_section(section.id(), section.name(), MAX_EMBEDDING_OBJECT_BYTES)?));
        }
        Ok(opened)
    }

    /// Opens an object by its first bytes. It holds the sections that they contain in full.
    ///
    /// # Errors
    ///
    /// As [`EmbeddingsFront::open`].
    pub fn open_prefix(prefix: Bytes) -> Result<Self, FormatError> {
        let front = EmbeddingsFront::open(prefix.clone())?;
        // A front keeps the bytes that it was read from, while sections come and go.
        let len = usize::try_from(front.sections_range(EmbeddingSection::Norms..=EmbeddingSection::Norms).start);
        let own = len.ok().and_then(|len| prefix.get(..len)).unwrap_or(&prefix);
        let mut opened = Self::empty(EmbeddingsFront::open(Bytes::copy_from_slice(own))?);
        for (held, section) in Arc::make_mut(&mut opened.sections).iter_mut().zip(EmbeddingSection::ALL) {
            let range = opened.front.sections_range(section..=section);
            let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
            if let (Ok(start), Ok(end)) = (start, end)
                && end <= prefix.len()
            {
                *held = Some(Held::new(prefix.slice(start..end)));
            }
        }
        Ok(opened)
    }

    fn empty(front: EmbeddingsFront) -> Self {
        Self { front: Arc::new(front), sections: Arc::new([const { None }; EmbeddingSection::ALL.len()]) }
    }

    /// The front alone, for range reads of the rest.
    pub fn front(&self) -> &EmbeddingsFront {
        &self.front
    }

    /// The same object without some sections.
    #[must_use]
    pub fn without_sections(&self, sections: RangeInclusive<EmbeddingSection>) -> Self {
        let mut without = self.clone();
        for (held, section) in Arc::make_mut(&mut without.sections).iter_mut().zip(EmbeddingSection::ALL) {
            if sections.contains(&section) {
                *held = None;
            }
        }
        without
    }

    /// Whether the section is in memory.
    pub fn holds(&self, section: EmbeddingSection) -> bool {
        self.held(section).is_some()
    }

    /// The bytes of a section in memory, as they came: not verified. They serve to manage their
    /// memory. [`section`](Self::section) serves to read them.
    pub fn held_bytes(&self, section: EmbeddingSection) -> Option<&Bytes> {
        self.held(section).map(|held| &held.bytes)
    }

    /// The same object with more adjoining sections, given the bytes of
    /// [`EmbeddingsFront::sections_range`]. Their blocks are verified at their first use.
    ///
    /// # Errors
    ///
    /// `Truncated` if the bytes are not those of the range.
    pub fn with_sections(
        &self,
        sections: RangeInclusive<EmbeddingSection>,
        fetched: &Bytes,
    ) -> Result<Self, FormatError> {
        let range = self.front.sections_range(sections.clone());
        let wanted = range.end - range.start;
        if fetched.len() as u64 != wanted {
            let reason = format!("{wanted} of its bytes were requested, and {} arrived", fetched.len());
            return Err(FormatError::truncated(sections.start().name(), reason));
        }
        let mut with = self.clone();
        for (held, section) in Arc::make_mut(&mut with.sections).iter_mut().zip(EmbeddingSection::ALL) {
            if sections.contains(&section) {
                let own = self.front.sections_range(section..=section);
                let at = |place: u64| usize::try_from(place.saturating_sub(range.start)).unwrap_or(usize::MAX);
                *held = Some(Held::new(fetched.slice(at(own.start)..at(own.end))));
            }
        }
        Ok(with)
    }

    /// Number of rows, at least 1.
    pub fn rows(&self) -> u32 {
        self.front.rows()
    }

    /// The length of a row.
    pub fn dimension(&self) -> u32 {
        self.front.dimension()
    }

    /// The seed of the rotation of its codes.
    pub fn rotation(&self) -> u64 {
        self.front.rotation()
    }

    /// The crc32 of the object's envelope, to compare with the one in the manifest.
    pub fn crc32(&self) -> u32 {
        self.front.crc32()
    }

    /// A row. It borrows from the object if the row lies at a multiple of 4 in memory, as in mapped
    /// files, and is a copy elsewhere. The first access to a block costs reading that block.
    ///
    /// # Errors
    ///
    /// `Checksum` if one of its blocks is damaged; `Invalid` if a value in it is not finite, or
    /// there is no such row.
    pub fn row(&self, row: u32) -> Result<Cow<'_, [f32]>, FormatError> {
        self.section(EmbeddingSection::Rows, row..row.saturating_add(1)).map(floats)
    }

    /// The bytes of some rows of a section, each block verified at its first use.
    ///
    /// # Errors
    ///
    /// `Checksum` if a block is damaged; `Invalid` for a forbidden value, or if there are no such
    /// rows; `Truncated` if the section is not in memory.
    pub fn section(&self, section: EmbeddingSection, rows: Range<u32>) -> Result<&[u8], FormatError> {
        let wanted = self.front.wanted(section, rows)?;
        let not_held = || FormatError::truncated(section.name(), "they were not fetched");
        let held = self.held(section).ok_or_else(not_held)?;
        if !wanted.is_empty() {
            for block in wanted.start / BLOCK..=(wanted.end - 1) / BLOCK {
                self.verify(section, held, block)?;
            }
        }
        // The section is as long as the front says, and the range lies in it.
        Ok(held.bytes.get(wanted).unwrap_or_default())
    }

    /// The bytes of some rows of a section, if all their blocks were verified before. Reads none of
    /// them. `None` also if the section is not in memory.
    ///
    /// # Errors
    ///
    /// `Invalid` if there are no such rows.
    pub fn verified(&self, section: EmbeddingSection, rows: Range<u32>) -> Result<Option<&[u8]>, FormatError> {
        let wanted = self.front.wanted(section, rows)?;
        let Some(held) = self.held(section) else { return Ok(None) };
        let mut blocks = wanted.start / BLOCK..wanted.end.div_ceil(BLOCK);
        let all_verified = blocks.all(|block| held.is_verified(block));
        Ok(held.bytes.get(wanted).filter(|_| all_verified))
    }

    /// The numbers of some rows in a section of f32: norms, estimators, scales or residuals.
    /// Borrows as [`row`](Self::row) does.
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

    /// The codes of one row, to copy them into another object.
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

    /// Verifies everything that opening did not, and computes the codes of each row again.
    ///
    /// # Errors
    ///
    /// `Checksum` if something is damaged; `Invalid` for a forbidden value, or if the codes are not
    /// those of the rows.
    pub fn verify_all(&self) -> Result<(), FormatError> {
        for section in EmbeddingSection::ALL {
            self.section(section, 0..self.rows())?;
            self.front.reader().check(section.id(), section.name())?;
        }
        let all = 0..self.rows();
        let numbers = |section| self.numbers(section, all.clone());
        let [norms, estimators, scales, residuals] = [
            numbers(EmbeddingSection::Norms)?,
            numbers(EmbeddingSection::Estimators)?,
            numbers(EmbeddingSection::Scales)?,
            numbers(EmbeddingSection::Residuals)?,
        ];
        let of_each = |section: EmbeddingSection| {
            let bytes = self.section(section, all.clone())?;
            Ok::<_, FormatError>(bytes.chunks_exact(section.stride(self.dimension()).max(1)))
        };
        let codes = of_each(EmbeddingSection::Signs)?.zip(of_each(EmbeddingSection::Bytes)?);
        let mut encoder = CodeEncoder::new(Rotation::new(self.dimension(), self.rotation()));
        let mut signs = vec![0; sign_bytes(self.dimension())];
        let mut bytes = vec![0; self.dimension() as usize];
        for (row, (values, (its_signs, its_bytes))) in of_each(EmbeddingSection::Rows)?.zip(codes).enumerate() {
            let factors = encoder.encode(&floats(values), &mut signs, &mut bytes);
            let same = |a: f32, all: &[f32]| all.get(row).is_some_and(|b| a.to_bits() == b.to_bits());
            let differs = if signs != its_signs {
                EmbeddingSection::Signs
            } else if bytes != its_bytes {
                EmbeddingSection::Bytes
            } else if !same(factors.norm, &norms) {
                EmbeddingSection::Norms
            } else if !same(factors.estimator, &estimators) {
                EmbeddingSection::Estimators
            } else if !same(factors.scale, &scales) {
                EmbeddingSection::Scales
            } else if !same(factors.residual, &residuals) {
                EmbeddingSection::Residuals
            } else {
                continue;
            };
            return Err(FormatError::invalid(differs.name(), format!("they are not those of row {row}")));
        }
        Ok(())
    }

    /// Verifies one block of a section, once.
    fn verify(&self, section: EmbeddingSection, held: &Held, block: usize) -> Result<(), FormatError> {
        if held.is_verified(block) {
            return Ok(());
        }
        let bytes = held.bytes.get(block * BLOCK..).unwrap_or_default();
        self.front.check(section, block, bytes.get(..BLOCK).unwrap_or(bytes))?;
        if let Some(word) = held.verified.get(block / 64) {
            word.fetch_or(1 << (block % 64), Ordering::Relaxed);
        }
        Ok(())
    }

    fn held(&self, section: EmbeddingSection) -> Option<&Held> {
        self.sections.get(section.place()).and_then(Option::as_ref)
    }
}
