//! The envelope's fixed fields and its section table.

use std::fmt;

use super::{FORMAT_VERSION, MAGIC, align};
use crate::error::{FormatError, FormatErrorKind};

/// Most sections of an object.
pub const MAX_SECTIONS: usize = 16;
/// Bytes before the section table.
pub(super) const FIXED_BYTES: usize = 24;
/// Bytes of one entry of the section table.
pub(super) const ENTRY_BYTES: usize = 32;
/// Bytes of the crc32 after the section table.
pub(super) const CRC_BYTES: usize = 4;
/// The longest envelope. A range read of this many bytes from the start of an object is enough for
/// [`Envelope::parse`].
pub const MAX_ENVELOPE_BYTES: usize = envelope_len(MAX_SECTIONS);

/// The kind of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum ObjectKind {
    /// Ops at one place of a log.
    Segment = 1,
    /// A part's columns.
    PartMeta = 2,
    /// Embedding rows.
    Embeddings = 3,
    /// A snapshot's list of runs and parts.
    Manifest = 4,
    /// A shard's head register.
    Head = 5,
    /// The collection register.
    Collection = 6,
    /// The advisory claim of a compactor.
    Claim = 7,
}

impl ObjectKind {
    /// All kinds.
    pub const ALL: [Self; 7] =
        [Self::Segment, Self::PartMeta, Self::Embeddings, Self::Manifest, Self::Head, Self::Collection, Self::Claim];

    /// The number in the envelope.
    pub const fn number(self) -> u16 {
        self as u16
    }

    fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The kind's name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::PartMeta => "part",
            Self::Embeddings => "embedding object",
            Self::Manifest => "manifest",
            Self::Head => "head",
            Self::Collection => "collection register",
            Self::Claim => "claim",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The stored form of a section's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Raw,
    /// One zstd frame that states its content size.
    Zstd,
}

impl Encoding {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Zstd => 1,
        }
    }

    /// The encoding's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Zstd => "zstd",
        }
    }
}

/// One entry of the section table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// The section's id, from a numbering of its own for each kind of object.
    pub id: u16,
    /// Its encoding.
    pub encoding: Encoding,
    /// Its offset in the object, a multiple of 64.
    pub offset: u64,
    /// Bytes as stored.
    pub stored: u64,
    /// Bytes after decoding.
    pub raw: u64,
    /// crc32 of the bytes as stored.
    pub crc32: u32,
}

/// The envelope of an object: its kind, its length, and the places of its sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    kind: ObjectKind,
    version: u16,
    bytes: u64,
    crc32: u32,
    sections: Vec<Section>,
}

impl Envelope {
    /// Reads the envelope from the first bytes of an object. [`MAX_ENVELOPE_BYTES`] of them, or the
    /// whole object if it is shorter, are always enough.
    ///
    /// It verifies everything about the envelope and nothing about the sections' bytes.
    ///
    /// # Errors
    /// `NotDeltafold`, `Truncated`, `Damaged`, `Checksum`, `NewerFormat` or `Invalid`, about the
    /// envelope alone.
    pub fn parse(prefix: &[u8]) -> Result<Self, FormatError> {
        let magic = prefix.get(..MAGIC.len());
        if magic != Some(&MAGIC) {
            if MAGIC.starts_with(prefix) {
                return Err(FormatError::truncated("envelope", format!("only {} bytes are there", prefix.len())));
            }
            let reason = "it does not begin with the magic bytes of a Deltafold object";
            return Err(FormatError::new(FormatErrorKind::NotDeltafold, "envelope", reason));
        }
        let short = || FormatError::truncated("envelope", format!("only {} bytes are there", prefix.len()));
        let count = usize::from(u16::from_le_bytes(field(prefix, 12).ok_or_else(short)?));
        if count > MAX_SECTIONS {
            // The checksum lies behind the sections, so it cannot tell whether the count is damaged
            // or a broken writer's.
            let reason = format!("it lists {count} sections, the limit is {MAX_SECTIONS}");
            return Err(FormatError::damaged("envelope", reason));
        }
        let end = FIXED_BYTES + count * ENTRY_BYTES;
        let covered = prefix.get(..end).ok_or_else(short)?;
        let crc32 = u32::from_le_bytes(field(prefix, end).ok_or_else(short)?);
        if !matches(covered, crc32) {
            return Err(FormatError::checksum("envelope", "its crc32 does not match"));
        }
        // The shape of the envelope is the same in every version of the format, so its checksum
        // comes before the version.
        let version = u16::from_le_bytes(field(covered, 10).ok_or_else(short)?);
        if version > FORMAT_VERSION {
            return Err(FormatError::new(
                FormatErrorKind::NewerFormat { found: version },
                "envelope",
                format!("the object is written in format version {version}, this program reads up to {FORMAT_VERSION}"),
            ));
        }
        let number = u16::from_le_bytes(field(covered, 8).ok_or_else(short)?);
        let kind = ObjectKind::from_number(number)
            .ok_or_else(|| FormatError::invalid("envelope", format!("the object has the unknown kind {number}")))?;
        if version == 0 || field(covered, 14) != Some([0; 2]) {
            return Err(FormatError::invalid(
                "envelope",
                "its version or its reserved bytes have a value that the format does not allow",
            ));
        }
        let bytes = u64::from_le_bytes(field(covered, 16).ok_or_else(short)?);
        let entries = covered.get(FIXED_BYTES..).unwrap_or_default().chunks_exact(ENTRY_BYTES);
        let sections = entries
            .map(|entry| {
                section(entry).ok_or_else(|| FormatError::invalid("envelope", "a section's entry is malformed"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        check_layout(&sections, bytes)?;
        Ok(Self { kind, version, bytes, crc32, sections })
    }

    /// The kind of the object.
    pub fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// The version of the format.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Length of the whole object in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The crc32 of the envelope. The envelope holds the crc32 of every section, so this identifies
    /// the whole object's content.
    pub fn crc32(&self) -> u32 {
        self.crc32
    }

    /// The sections in the order in which they lie.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The section `id`, if the object has it.
    pub fn section(&self, id: u16) -> Option<&Section> {
        self.sections.iter().find(|section| section.id == id)
    }

    /// Bytes of the envelope with its crc32, without the padding after it.
    pub fn envelope_len(&self) -> usize {
        envelope_len(self.sections.len())
    }
}

/// Bytes of an envelope with this many sections.
pub(crate) const fn envelope_len(sections: usize) -> usize {
    FIXED_BYTES + sections * ENTRY_BYTES + CRC_BYTES
}

/// Whether the bytes have this crc32.
pub(crate) fn matches(bytes: &[u8], crc32: u32) -> bool {
    #[cfg(feature = "simulation")]
    if crate::simulation::unchecked() {
        return true;
    }
    crc32fast::hash(bytes) == crc32
}

/// The bytes before the crc32 of an envelope.
pub(super) fn encode_table(kind: ObjectKind, bytes: u64, sections: &[Section]) -> Vec<u8> {
    let mut out = Vec::with_capacity(envelope_len(sections.len()));
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&kind.number().to_le_bytes());
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    let count = u16::try_from(sections.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&bytes.to_le_bytes());
    for section in sections {
        out.extend_from_slice(&section.id.to_le_bytes());
        out.extend_from_slice(&[section.encoding.number(), 0]);
        out.extend_from_slice(&section.crc32.to_le_bytes());
        out.extend_from_slice(&section.offset.to_le_bytes());
        out.extend_from_slice(&section.stored.to_le_bytes());
        out.extend_from_slice(&section.raw.to_le_bytes());
    }
    out
}

/// The `N` bytes at `offset`.
fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

fn section(entry: &[u8]) -> Option<Section> {
    let id = u16::from_le_bytes(field(entry, 0)?);
    let encoding = match field(entry, 2)? {
        [0, 0] => Encoding::Raw,
        [1, 0] => Encoding::Zstd,
        _ => return None,
    };
    let crc32 = u32::from_le_bytes(field(entry, 4)?);
    let [offset, stored, raw] = [8, 16, 24].map(|at| field(entry, at).map(u64::from_le_bytes));
    let (offset, stored, raw) = (offset?, stored?, raw?);
    let lengths = match encoding {
        Encoding::Raw => stored == raw,
        Encoding::Zstd => raw > 0 && stored > 0,
    };
    lengths.then_some(Section { id, encoding, offset, stored, raw, crc32 })
}

/// Checks that each section begins at the next multiple of 64 behind the one before, and that the
/// object ends with the last one.
fn check_layout(sections: &[Section], bytes: u64) -> Result<(), FormatError> {
    let mut end = Some(envelope_len(sections.len()) as u64);
    for (i, section) in sections.iter().enumerate() {
        if sections.iter().take(i).any(|earlier| earlier.id == section.id) {
            return Err(FormatError::invalid("envelope", format!("it lists section {} twice", section.id)));
        }
        if end.and_then(align) != Some(section.offset) {
            return Err(FormatError::invalid("envelope", format!("section {} lies at a wrong offset", section.id)));
        }
        end = section.offset.checked_add(section.stored);
    }
    if end != Some(bytes) {
        return Err(FormatError::invalid("envelope", "the object's length and its sections do not agree"));
    }
    Ok(())
}
