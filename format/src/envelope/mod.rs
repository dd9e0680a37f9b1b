//! The envelope that every object opens with: `format/SPEC.md`, section "Envelope".

mod aligned;
mod piece;
mod reader;
mod table;
mod writer;
mod zstd_pool;

pub(crate) use piece::{PieceSum, SealedPiece};
pub(crate) use reader::EnvelopeReader;
pub use table::{Encoding, Envelope, MAX_ENVELOPE_BYTES, MAX_SECTIONS, ObjectKind, Section};
pub(crate) use table::{envelope_len, matches};
pub use writer::Encoded;
pub(crate) use writer::{Compress, EnvelopeWriter, SealedSection};

/// The newest version of the format that this crate reads, and the one it writes.
pub const FORMAT_VERSION: u16 = 1;

/// The first bytes of every object. The first is not ASCII. The last two are a line end that text
/// transfers change.
pub(crate) const MAGIC: [u8; 8] = *b"\x89DFOLD\r\n";

/// Every section begins at a multiple of this many bytes.
pub(crate) const SECTION_ALIGN: u64 = 64;

/// `offset` rounded up to a place where a section may begin; `None` past the end of `u64`.
fn align(offset: u64) -> Option<u64> {
    offset.checked_next_multiple_of(SECTION_ALIGN)
}

#[cfg(test)]
mod tests;
