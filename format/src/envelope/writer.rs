//! Writes an object: an envelope, and its sections.

use bytes::{Bytes, BytesMut};

use super::table::{Encoding, ObjectKind, Section, encode_table, envelope_len};
use super::{align, zstd_pool};

/// An object's bytes, ready to store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Encoded {
    /// The bytes, in order; their concatenation is the object. Large sections are chunks of their
    /// own, never copied.
    pub chunks: Vec<Bytes>,
    /// Length of the object.
    pub bytes: u64,
    /// crc32 of its envelope, as [`Envelope::crc32`](super::Envelope::crc32) gives it.
    pub crc32: u32,
}

impl Encoded {
    /// The whole object in one piece; copies it unless it already is.
    pub fn to_bytes(&self) -> Bytes {
        match self.chunks.as_slice() {
            [whole] => whole.clone(),
            chunks => chunks.concat().into(),
        }
    }
}

/// Whether a section may be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compress {
    /// Stored as it is.
    Never,
    /// Stored as zstd if that is shorter.
    WhenSmaller,
}

/// The bytes of one section as stored, with its checksum. Making one is costly, cloning it is
/// cheap.
#[derive(Debug, Clone)]
pub(crate) struct SealedSection {
    encoding: Encoding,
    raw: u64,
    stored: u64,
    crc32: u32,
    chunks: Vec<Bytes>,
}

impl SealedSection {
    /// Compresses, if `compress` allows it, and computes the checksum.
    pub(crate) fn new(chunks: Vec<Bytes>, compress: Compress) -> Self {
        let raw = total(&chunks);
        if compress == Compress::WhenSmaller {
            let compressed = match chunks.as_slice() {
                [one] => zstd_pool::compress(one),
                many => zstd_pool::compress(&many.concat()),
            };
            if let Some(compressed) = compressed {
                let crc32 = crc32fast::hash(&compressed);
                let stored = compressed.len() as u64;
                return Self { encoding: Encoding::Zstd, raw, stored, crc32, chunks: vec![compressed.into()] };
            }
        }
        let mut hasher = crc32fast::Hasher::new();
        for chunk in &chunks {
            hasher.update(chunk);
        }
        Self::raw(chunks, hasher.finalize())
    }

    /// Stored as it is. `crc32` is the checksum of the chunks' concatenation, which the caller
    /// knows.
    pub(crate) fn raw(chunks: Vec<Bytes>, crc32: u32) -> Self {
        let raw = total(&chunks);
        Self { encoding: Encoding::Raw, raw, stored: raw, crc32, chunks }
    }

    /// Stored as zstd: any bytes that claim to be a frame of `raw` bytes.
    #[cfg(test)]
    pub(crate) fn forged(frame: Vec<u8>, raw: u64) -> Self {
        let (stored, crc32) = (frame.len() as u64, crc32fast::hash(&frame));
        Self { encoding: Encoding::Zstd, raw, stored, crc32, chunks: vec![frame.into()] }
    }

    /// Bytes in the object, without padding.
    pub(crate) fn stored(&self) -> u64 {
        self.stored
    }
}

/// Chunks up to this length are copied together. Longer ones are passed on as they are.
const COPY_UP_TO: usize = 64 << 10;

/// Writes sections behind an envelope.
#[derive(Debug)]
pub(crate) struct EnvelopeWriter {
    kind: ObjectKind,
    sections: Vec<(u16, SealedSection)>,
}

impl EnvelopeWriter {
    pub(crate) fn new(kind: ObjectKind) -> Self {
        Self { kind, sections: Vec::new() }
    }

    /// Adds a section. Sections lie in the order of the calls. At most
    /// [`MAX_SECTIONS`](super::MAX_SECTIONS), each id once.
    pub(crate) fn section(&mut self, id: u16, data: impl Into<SectionData>, compress: Compress) -> &mut Self {
        self.sealed(id, SealedSection::new(data.into().0, compress))
    }

    /// Adds a sealed section.
    pub(crate) fn sealed(&mut self, id: u16, section: SealedSection) -> &mut Self {
        debug_assert!(self.sections.len() < super::MAX_SECTIONS && self.sections.iter().all(|(other, _)| *other != id));
        self.sections.push((id, section));
        self
    }

    /// The object.
    pub(crate) fn finish(&mut self) -> Encoded {
        let mut end = envelope_len(self.sections.len()) as u64;
        let table: Vec<Section> = self
            .sections
            .iter()
            .map(|(id, section)| {
                let offset = align(end).unwrap_or(u64::MAX);
                end = offset.saturating_add(section.stored);
                Section {
                    id: *id,
                    encoding: section.encoding,
                    offset,
                    stored: section.stored,
                    raw: section.raw,
                    crc32: section.crc32,
                }
            })
            .collect();
        let envelope = encode_table(self.kind, end, &table);
        let crc32 = crc32fast::hash(&envelope);
        let mut out = Chunks::default();
        out.push(&envelope.into());
        out.push(&Bytes::copy_from_slice(&crc32.to_le_bytes()));
        for ((_, section), entry) in self.sections.drain(..).zip(&table) {
            out.pad_to(entry.offset);
            for chunk in &section.chunks {
                out.push(chunk);
            }
        }
        debug_assert_eq!(out.bytes, end);
        Encoded { chunks: out.finish(), bytes: end, crc32 }
    }
}

/// The bytes of a section in one or several pieces.
pub(crate) struct SectionData(Vec<Bytes>);

impl From<Vec<Bytes>> for SectionData {
    fn from(chunks: Vec<Bytes>) -> Self {
        Self(chunks)
    }
}

impl From<Bytes> for SectionData {
    fn from(chunk: Bytes) -> Self {
        Self(vec![chunk])
    }
}

impl From<Vec<u8>> for SectionData {
    fn from(bytes: Vec<u8>) -> Self {
        Self(vec![bytes.into()])
    }
}

fn total(chunks: &[Bytes]) -> u64 {
    chunks.iter().map(|chunk| chunk.len() as u64).sum()
}

/// An object under construction. Short chunks are copied together, long ones are kept as they are.
#[derive(Default)]
struct Chunks {
    done: Vec<Bytes>,
    open: BytesMut,
    bytes: u64,
}

impl Chunks {
    fn push(&mut self, chunk: &Bytes) {
        self.bytes += chunk.len() as u64;
        if chunk.len() <= COPY_UP_TO {
            self.open.extend_from_slice(chunk);
        } else {
            self.close();
            self.done.push(chunk.clone());
        }
    }

    fn pad_to(&mut self, offset: u64) {
        let missing = usize::try_from(offset.saturating_sub(self.bytes)).unwrap_or(0);
        self.bytes += missing as u64;
        self.open.resize(self.open.len() + missing, 0);
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.done.push(self.open.split().freeze());
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.close();
        self.done
    }
}
