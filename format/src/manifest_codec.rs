//! The bytes of a manifest: `format/SPEC.md`, section "Manifest".

mod check;
mod read;
mod write;

use bytes::Bytes;

use crate::codec::{Cursor, Writer};
use crate::envelope::{Compress, Encoded, EnvelopeReader, EnvelopeWriter, ObjectKind};
use crate::error::FormatError;
use crate::limits::{MAX_MANIFEST_BYTES, MAX_REGISTER_BYTES};
use crate::manifest::Manifest;
use crate::register::CollectionConfig;

/// All fields without a section of their own.
const FIELDS: u16 = 1;
/// The count of rows without a record in each part. Present only if one is not zero, so never in
/// log order.
const ABSENT: u16 = 2;
/// A copy of the collection register's fields.
const CONFIG: u16 = 3;
const WHAT: &str = "manifest";

impl Manifest {
    /// The object.
    ///
    /// # Errors
    /// `Invalid` if the manifest breaks a rule that [`Manifest::decode`] checks, `TooLarge` above
    /// [`MAX_MANIFEST_BYTES`]. Every encoded manifest decodes.
    pub fn encode(&self) -> Result<Encoded, FormatError> {
        check::check(self)?;
        let mut out = Writer::with_capacity(4 << 10);
        write::manifest(&mut out, self);
        if out.len() > MAX_MANIFEST_BYTES {
            return Err(FormatError::too_large(WHAT, out.len() as u64, MAX_MANIFEST_BYTES as u64));
        }
        let mut object = EnvelopeWriter::new(ObjectKind::Manifest);
        object.section(FIELDS, out.into_vec(), Compress::WhenSmaller);
        if self.absent_rows() > 0 {
            let mut out = Writer::default();
            write::absent(&mut out, self);
            object.section(ABSENT, out.into_vec(), Compress::WhenSmaller);
        }
        if let Some(config) = &self.config {
            let mut out = Writer::with_capacity(64);
            config.write(&mut out);
            object.section(CONFIG, out.into_vec(), Compress::Never);
        }
        Ok(object.finish())
    }

    /// Reads the object and checks the rules of a single manifest: orders, counts, ranges.
    ///
    /// # Errors
    /// Any [`FormatErrorKind`](crate::FormatErrorKind).
    pub fn decode(object: Bytes) -> Result<Self, FormatError> {
        let reader = EnvelopeReader::open(object, ObjectKind::Manifest)?;
        let fields = reader.section(FIELDS, WHAT, MAX_MANIFEST_BYTES)?;
        let mut from = Cursor::new(&fields, WHAT);
        let mut manifest = read::manifest(&mut from)?;
        from.finish()?;
        if reader.envelope().section(ABSENT).is_some() {
            let rows = reader.section(ABSENT, WHAT, MAX_MANIFEST_BYTES)?;
            let mut from = Cursor::new(&rows, WHAT);
            read::absent(&mut from, &mut manifest)?;
            from.finish()?;
        }
        if reader.envelope().section(CONFIG).is_some() {
            let fields = reader.verified_raw_section(CONFIG, WHAT, MAX_REGISTER_BYTES)?;
            let mut from = Cursor::new(&fields, WHAT);
            manifest.config = Some(CollectionConfig::read(&mut from)?);
            from.finish()?;
        }
        check::check(&manifest)?;
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests;
