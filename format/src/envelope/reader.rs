//! Reads an object's envelope and sections.

use bytes::Bytes;

use super::aligned::{AlignedBuf, aligned};
use super::table::{Encoding, Envelope, ObjectKind, Section, matches};
use super::zstd_pool;
use crate::error::{FormatError, FormatErrorKind};

/// An object, or its first bytes, with a verified envelope. Sections are verified when they are
/// read.
#[derive(Debug, Clone)]
pub(crate) struct EnvelopeReader {
    object: Bytes,
    envelope: Envelope,
}

impl EnvelopeReader {
    /// Reads the envelope of an object of this kind. The object must be exactly as long as the
    /// envelope says.
    pub(crate) fn open(object: Bytes, expected: ObjectKind) -> Result<Self, FormatError> {
        Self::open_any(object)?.expect(expected)
    }

    /// Reads the envelope from the first bytes of an object of this kind. Reading a section that
    /// they do not hold in full returns `Truncated`.
    pub(crate) fn open_front(prefix: Bytes, expected: ObjectKind) -> Result<Self, FormatError> {
        let envelope = Envelope::parse(&prefix)?;
        Self { object: prefix, envelope }.expect(expected)
    }

    fn expect(self, expected: ObjectKind) -> Result<Self, FormatError> {
        let found = self.envelope.kind();
        if found == expected {
            return Ok(self);
        }
        let kind = FormatErrorKind::WrongKind { expected, found };
        Err(FormatError::new(kind, "envelope", format!("it is a {found}, not a {expected}")))
    }

    /// Reads the envelope of an object of any kind. The padding, which no checksum covers, must be
    /// zero.
    pub(crate) fn open_any(object: Bytes) -> Result<Self, FormatError> {
        let envelope = Envelope::parse(&object)?;
        let (is, says) = (object.len() as u64, envelope.bytes());
        if is < says {
            return Err(FormatError::truncated(
                "object",
                format!("it is {is} bytes long, and its envelope states {says}"),
            ));
        }
        if is > says {
            return Err(FormatError::damaged(
                "object",
                format!("it is {is} bytes long, and its envelope states only {says}"),
            ));
        }
        let mut end = envelope.envelope_len();
        for section in envelope.sections() {
            // The envelope's check proved that offsets ascend and lie in the object.
            let start = usize::try_from(section.offset).unwrap_or(usize::MAX);
            if object.get(end..start).is_none_or(|padding| padding.iter().any(|byte| *byte != 0)) {
                let reason = format!("a byte of the padding in front of section {} is not 0", section.id);
                return Err(FormatError::damaged("object", reason));
            }
            end = usize::try_from(section.offset.saturating_add(section.stored)).unwrap_or(usize::MAX);
        }
        Ok(Self { object, envelope })
    }

    pub(crate) fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The section's bytes, verified and decoded, at a 16-byte boundary. A raw section that lies at
    /// one is not copied.
    ///
    /// Refuses a section of more than `max_raw` bytes before allocating anything for it.
    pub(crate) fn section(&self, id: u16, what: &'static str, max_raw: usize) -> Result<Bytes, FormatError> {
        self.unaligned_section(id, what, max_raw).and_then(|bytes| aligned(bytes, what))
    }

    /// The same at any address, for sections that are read byte by byte.
    pub(crate) fn unaligned_section(&self, id: u16, what: &'static str, max_raw: usize) -> Result<Bytes, FormatError> {
        let (section, stored) = self.stored(id, what)?;
        check_length(section.raw, what, max_raw)?;
        check_crc(section, &stored, what)?;
        match section.encoding {
            Encoding::Raw => Ok(stored),
            Encoding::Zstd => unpack(&stored, section.raw, what),
        }
    }

    /// [`Self::section`] of a section that the format stores raw. Refuses a compressed one.
    pub(crate) fn verified_raw_section(
        &self,
        id: u16,
        what: &'static str,
        max_raw: usize,
    ) -> Result<Bytes, FormatError> {
        let stored = self.raw_section(id, what, max_raw)?;
        self.check(id, what)?;
        aligned(stored, what)
    }

    /// The bytes of a raw section, **not verified**, at any address. For sections with checksums of
    /// their own.
    pub(crate) fn raw_section(&self, id: u16, what: &'static str, max_raw: usize) -> Result<Bytes, FormatError> {
        let (section, stored) = self.stored(id, what)?;
        if section.encoding != Encoding::Raw {
            return Err(FormatError::invalid(what, "it is compressed and must not be"));
        }
        check_length(section.raw, what, max_raw)?;
        Ok(stored)
    }

    /// Verifies the stored bytes of a section without decoding them.
    pub(crate) fn check(&self, id: u16, what: &'static str) -> Result<(), FormatError> {
        let (section, stored) = self.stored(id, what)?;
        check_crc(section, &stored, what)
    }

    fn stored(&self, id: u16, what: &'static str) -> Result<(&Section, Bytes), FormatError> {
        let missing = || FormatError::invalid(what, format!("the object has no section {id}"));
        let section = self.envelope.section(id).ok_or_else(missing)?;
        let start = usize::try_from(section.offset).map_err(|_| missing())?;
        let len = usize::try_from(section.stored).map_err(|_| missing())?;
        let slice = start.checked_add(len).and_then(|end| self.object.get(start..end));
        // A whole object holds all of its sections; a prefix may lack some.
        let short = || FormatError::truncated(what, format!("the object has only {} bytes", self.object.len()));
        let slice = slice.ok_or_else(short)?;
        // An empty slice may lie outside the object's allocation, which `slice_ref` does not
        // accept.
        Ok((section, if slice.is_empty() { Bytes::new() } else { self.object.slice_ref(slice) }))
    }
}

/// Refuses a section above its limit.
pub(super) fn check_length(raw: u64, what: &'static str, max_raw: usize) -> Result<(), FormatError> {
    if raw > max_raw as u64 { Err(FormatError::too_large(what, raw, max_raw as u64)) } else { Ok(()) }
}

/// The content of a zstd frame that must hold `raw` bytes, at a 16-byte boundary.
pub(super) fn unpack(frame: &[u8], raw: u64, what: &'static str) -> Result<Bytes, FormatError> {
    let malformed = || FormatError::invalid(what, "its zstd frame does not decode to the length it states");
    if !zstd_pool::is_one_frame(frame) {
        return Err(FormatError::invalid(what, "it is not exactly one zstd frame"));
    }
    if zstd_pool::content_size(frame) != Some(raw) {
        return Err(malformed());
    }
    let len = usize::try_from(raw).map_err(|_| malformed())?;
    let mut out = AlignedBuf::zeroed(len, what)?;
    zstd_pool::decompress(frame, out.as_mut_slice()).ok_or_else(malformed)?;
    Ok(out.into_bytes())
}

fn check_crc(section: &Section, stored: &[u8], what: &'static str) -> Result<(), FormatError> {
    if matches(stored, section.crc32) {
        return Ok(());
    }
    Err(FormatError::checksum(what, "the crc32 of its bytes does not match the envelope"))
}
