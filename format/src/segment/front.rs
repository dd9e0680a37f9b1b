//! The front of a segment: its envelope and header, which one range read of the object's first
//! bytes returns.

use bytes::Bytes;

use super::header::{MAX_HEADER_BYTES, SegmentHeader};
use super::section;
use crate::envelope::{Encoding, Envelope, EnvelopeReader, ObjectKind, Section};
use crate::error::FormatError;

/// The header of a segment and the lengths of its sections, from the first bytes of the object.
/// Their checksums were verified. The ops are unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFront {
    header: SegmentHeader,
    bytes: u64,
    decoded_bytes: u64,
}

impl SegmentFront {
    /// Bytes from the start of the object that [`SegmentFront::decode`] needs. `prefix` must hold
    /// the envelope: [`MAX_ENVELOPE_BYTES`](crate::MAX_ENVELOPE_BYTES) bytes, or the whole object,
    /// are always enough.
    ///
    /// # Errors
    /// Those of [`Envelope::parse`]; `WrongKind`; `Invalid` or `TooLarge` if the header is not the
    /// first section or is too long.
    pub fn bytes_needed(prefix: Bytes) -> Result<u64, FormatError> {
        let reader = EnvelopeReader::open_front(prefix, ObjectKind::Segment)?;
        let section = header_section(reader.envelope())?;
        Ok(section.offset.saturating_add(section.stored))
    }

    /// Decodes the front from the first bytes of an object: at least
    /// [`SegmentFront::bytes_needed`].
    ///
    /// # Errors
    /// The same, and a fault of the header; `Truncated` if the prefix is too short.
    pub fn decode(prefix: Bytes) -> Result<Self, FormatError> {
        Self::of(&EnvelopeReader::open_front(prefix, ObjectKind::Segment)?)
    }

    pub(super) fn of(reader: &EnvelopeReader) -> Result<Self, FormatError> {
        let envelope = reader.envelope();
        header_section(envelope)?;
        let header = reader.verified_raw_section(section::HEADER, "segment header", MAX_HEADER_BYTES)?;
        let header = SegmentHeader::decode(&header)?;
        Ok(Self { header, bytes: envelope.bytes(), decoded_bytes: decoded_bytes(envelope) })
    }

    /// The header.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    pub(super) fn into_header(self) -> SegmentHeader {
        self.header
    }

    /// Length of the whole object in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Estimated bytes of memory of the decoded segment, with its compressed bytes. Known before
    /// anything is allocated for it.
    pub fn decoded_bytes(&self) -> u64 {
        // The place of each op's row.
        self.decoded_bytes.saturating_add(4 * u64::from(self.header.ops))
    }
}

/// The header's entry in the section table. It must be the first one, so that it lies at the start
/// of the object.
fn header_section(envelope: &Envelope) -> Result<&Section, FormatError> {
    let first = envelope.sections().first().filter(|first| first.id == section::HEADER);
    let first = first.ok_or_else(|| FormatError::invalid("segment header", "it is not the first section"))?;
    let longest = MAX_HEADER_BYTES as u64;
    if first.stored > longest || first.raw > longest {
        return Err(FormatError::too_large("segment header", first.stored.max(first.raw), longest));
    }
    Ok(first)
}

/// Bytes of memory of the decoded sections: a raw one itself, and a compressed one its content. A
/// section that is read in place keeps the whole object in memory.
fn decoded_bytes(envelope: &Envelope) -> u64 {
    // Header and hashes of ids are not kept as they are stored.
    let kept = |entry: &&Section| ![section::HEADER, section::IDS].contains(&entry.id);
    let sections = || envelope.sections().iter().filter(kept);
    let in_place = sections().any(|entry| entry.encoding == Encoding::Raw);
    let object = if in_place { envelope.bytes() } else { 0 };
    let unpacked = sections().filter(|entry| entry.encoding == Encoding::Zstd).map(|entry| entry.raw);
    unpacked.fold(object, u64::saturating_add)
}
