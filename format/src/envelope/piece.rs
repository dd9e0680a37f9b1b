//! Pieces of a raw section, each compressed and checksummed alone, so that a reader can fetch one
//! alone.

use bytes::Bytes;

use super::aligned::aligned;
use super::reader::{check_length, unpack};
use super::table::matches;
use super::zstd_pool;
use crate::error::FormatError;

/// The bytes of a piece as stored: compressed exactly if that makes it shorter.
#[derive(Debug, Clone)]
pub(crate) struct SealedPiece {
    pub(crate) stored: Bytes,
    pub(crate) sum: PieceSum,
}

/// The lengths of a piece, and the checksum of its stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PieceSum {
    /// Bytes as stored.
    pub(crate) stored: u32,
    /// Bytes after decoding; the same number if it is not compressed.
    pub(crate) raw: u32,
    /// crc32 of the bytes as stored.
    pub(crate) crc32: u32,
}

impl SealedPiece {
    /// Compresses `raw` and computes its checksum.
    pub(crate) fn new(raw: Bytes, what: &'static str) -> Result<Self, FormatError> {
        let length = |bytes: &Bytes| {
            u32::try_from(bytes.len()).map_err(|_| FormatError::too_large(what, bytes.len() as u64, u32::MAX.into()))
        };
        let raw_length = length(&raw)?;
        let stored = zstd_pool::compress(&raw).map_or(raw, Bytes::from);
        let sum = PieceSum { stored: length(&stored)?, raw: raw_length, crc32: crc32fast::hash(&stored) };
        Ok(Self { stored, sum })
    }
}

impl PieceSum {
    /// The raw bytes of a piece at a 16-byte boundary, verified. Allocates at most `max_raw`.
    pub(crate) fn unseal(&self, stored: Bytes, what: &'static str, max_raw: usize) -> Result<Bytes, FormatError> {
        if stored.len() != self.stored as usize {
            let reason = format!("{} of its bytes were requested, and {} arrived", self.stored, stored.len());
            return Err(FormatError::truncated(what, reason));
        }
        check_length(u64::from(self.raw), what, max_raw)?;
        if !matches(&stored, self.crc32) {
            return Err(FormatError::checksum(what, "the crc32 of its bytes does not match the directory"));
        }
        if self.stored == self.raw { aligned(stored, what) } else { unpack(&stored, u64::from(self.raw), what) }
    }
}
