//! The bytes of a manifest: `format/SPEC.md`, section "Manifest".

mod check;
mod read;
mod write;

use bytes::Bytes;

use crate::codec::{Cursor, Writer};
use crate::envelope::{Compress, Encoded, EnvelopeReader, EnvelopeWriter, ObjectKind};
use crate::error::FormatError;
use crate::limits::MAX_MANIFEST_BYTES;
use crate::manifest::Manifest;

/// The only section of a manifest.
const FIELDS: u16 = 1;
const WHAT: &str = "manifest";

impl Manifest {
    /// The object.
    ///
    /// # Errors
    /// `Invalid` where the manifest breaks a rule that [`Manifest::decode`] checks, `TooLarge` above [`MAX_MANIFEST_BYTES`]: what is
    /// encoded decodes.
    pub fn encode(&self) -> Result<Encoded, FormatError> {
        check::check(self)?;
        let mut out = Writer::with_capacity(4 << 10);
        write::manifest(&mut out, self);
        if out.len() > MAX_MANIFEST_BYTES {
            return Err(FormatError::too_large(WHAT, out.len() as u64, MAX_MANIFEST_BYTES as u64));
        }
        Ok(EnvelopeWriter::new(ObjectKind::Manifest).section(FIELDS, out.into_vec(), Compress::WhenSmaller).finish())
    }

    /// Reads the object and checks what a manifest tells by itself: orders, counts, ranges.
    ///
    /// # Errors
    /// Any [`FormatErrorKind`](crate::FormatErrorKind).
    pub fn decode(object: Bytes) -> Result<Self, FormatError> {
        let fields = EnvelopeReader::open(object, ObjectKind::Manifest)?.section(FIELDS, WHAT, MAX_MANIFEST_BYTES)?;
        let mut from = Cursor::new(&fields, WHAT);
        let manifest = read::manifest(&mut from)?;
        from.finish()?;
        check::check(&manifest)?;
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests;
