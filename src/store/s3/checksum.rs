//! The checksum of an object, as S3 keeps it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

/// The metadata entry with the CRC32 of an object's bytes, in hexadecimal digits.
pub(super) const CHECKSUM: &str = "deltafold-crc32";

/// A CRC32 as S3 writes it.
pub(super) fn base64(checksum: u32) -> String {
    BASE64_STANDARD.encode(checksum.to_be_bytes())
}

pub(super) fn checksum_of(chunks: &[Bytes]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    chunks.iter().for_each(|chunk| hasher.update(chunk));
    hasher.finalize()
}
