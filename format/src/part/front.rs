//! The front of a part: its rows, their revisions, and the directory of everything else.

use std::sync::OnceLock;
use std::sync::atomic::{self, AtomicU64};

use bytes::Bytes;

use super::archive::{RevisionsArchive, RowsArchive};
use super::check::{Checked, check};
use super::directory::Directory;
use super::{Absent, DIRECTORY, DOCUMENTS, PartSummary, REVISIONS, ROWS, SECTIONS, VALUES, check_revisions};
use crate::envelope::{Envelope, EnvelopeReader};
use crate::error::FormatError;
use crate::limits::MAX_PART_META_BYTES;

/// The front of a part, checked.
pub(super) struct Front {
    pub(super) rows: RowsArchive,
    pub(super) revisions: Option<RevisionsArchive>,
    pub(super) directory: Directory,
    pub(super) checked: Checked,
    pub(super) absent: Absent,
    pub(super) extent: Extent,
    /// The summary of the columns, made at its first use.
    pub(super) summary: OnceLock<PartSummary>,
    /// Distinguishes the part from every other one opened in this process.
    pub(super) serial: u64,
}

/// The lengths of a part's prefixes, and the checksum that ties them to the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// crc32 of the envelope.
    pub(super) crc32: u32,
    /// Bytes up to the end of the directory.
    pub(super) front: u64,
    /// Bytes up to the end of the metadata columns; the same as `front` without such columns.
    pub(super) columns: u64,
}

impl Extent {
    pub(super) fn of(envelope: &Envelope) -> Result<Self, FormatError> {
        let places = SECTIONS.map(|section| envelope.section(section.id).map(|found| found.offset));
        let ordered = places.iter().flatten().is_sorted();
        if !ordered {
            return Err(FormatError::invalid("envelope", "the sections of the part are not in the order of their ids"));
        }
        let end = |id| envelope.section(id).map(|section| section.offset.saturating_add(section.stored));
        let front = end(DIRECTORY.id).unwrap_or_default();
        Ok(Self { crc32: envelope.crc32(), front, columns: end(VALUES.id).unwrap_or(front) })
    }
}

impl Front {
    /// Reads the front from the first bytes of a part.
    pub(super) fn read(reader: &EnvelopeReader) -> Result<Self, FormatError> {
        let envelope = reader.envelope();
        let extent = Extent::of(envelope)?;
        let rows = reader.section(ROWS.id, ROWS.name, MAX_PART_META_BYTES)?;
        let revisions = match envelope.section(REVISIONS.id) {
            None => None,
            Some(_) => Some(reader.section(REVISIONS.id, REVISIONS.name, MAX_PART_META_BYTES)?),
        };
        let directory = reader.unaligned_section(DIRECTORY.id, DIRECTORY.name, MAX_PART_META_BYTES)?;
        let directory = Directory::decode(&directory, envelope.section(VALUES.id), envelope.section(DOCUMENTS.id))?;
        Self::check(rows, revisions, directory, extent)
    }

    /// Checks every rule of the front.
    pub(super) fn check(
        rows: Bytes,
        revisions: Option<Bytes>,
        directory: Directory,
        extent: Extent,
    ) -> Result<Self, FormatError> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        directory.check()?;
        let raw = directory.raw().saturating_add(rows.len() as u64);
        if raw > MAX_PART_META_BYTES as u64 {
            return Err(FormatError::too_large("part", raw, MAX_PART_META_BYTES as u64));
        }
        let rows = RowsArchive::access(rows)?;
        let revisions = revisions.map(RevisionsArchive::access).transpose()?;
        let checked = check(rows.get(), revisions.is_some())?;
        let absent = revisions.as_ref().map(|revisions| {
            check_revisions::check(revisions.get(), rows.get().forms.len()).map_err(|error| error.of(REVISIONS.name))
        });
        let refuse = |rule: &'static str| FormatError::invalid(DIRECTORY.name, rule);
        if directory.columns.iter().any(|column| column.present as usize > checked.payloads.count) {
            return Err(refuse("a metadata column has more values than the part has payloads"));
        }
        if directory.documents() != checked.documents {
            return Err(refuse("it does not have one document for each payload that sets one"));
        }
        let serial = SERIAL.fetch_add(1, atomic::Ordering::Relaxed);
        Ok(Self {
            rows,
            revisions,
            directory,
            checked,
            absent: absent.transpose()?.unwrap_or_default(),
            extent,
            summary: OnceLock::new(),
            serial,
        })
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let revisions = self.revisions.as_ref().map_or(0, RevisionsArchive::bytes);
        let masks = self.checked.payloads.contents.memory_bytes() + self.checked.payloads.patches.memory_bytes();
        self.rows.bytes() + revisions + masks + self.directory.memory_bytes()
    }
}
