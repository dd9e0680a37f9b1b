//! Inspects any single object, without knowledge of its collection: its kind, and whether its bytes
//! are sound.

use bytes::Bytes;

use crate::embeddings::EmbeddingSection;
use crate::envelope::{Envelope, EnvelopeReader, ObjectKind, Section};
use crate::error::FormatError;
use crate::part;

/// The kind of an object, and whether its bytes are sound.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspection {
    /// Its envelope, verified.
    pub envelope: Envelope,
    /// Its sections in the order in which they lie.
    pub sections: Vec<SectionCheck>,
}

/// One section of an inspected object.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SectionCheck {
    /// Its entry in the envelope.
    pub section: Section,
    /// Its name.
    pub name: &'static str,
    /// Whether the checksum of its stored bytes matches.
    pub result: Result<(), FormatError>,
}

impl Inspection {
    /// Reads the envelope of a whole object of any kind and verifies the checksum of each section.
    /// It does not decode them.
    ///
    /// # Errors
    /// A fault of the envelope or of the object's length. A fault of a section is in
    /// [`SectionCheck::result`].
    pub fn of(object: Bytes) -> Result<Self, FormatError> {
        let reader = EnvelopeReader::open_any(object)?;
        let envelope = reader.envelope().clone();
        let sections = envelope.sections().iter().map(|section| {
            let name = section_name(envelope.kind(), section.id);
            SectionCheck { section: *section, name, result: reader.check(section.id, name) }
        });
        Ok(Self { sections: sections.collect(), envelope: envelope.clone() })
    }

    /// Whether every section is sound.
    pub fn is_sound(&self) -> bool {
        self.sections.iter().all(|check| check.result.is_ok())
    }
}

/// The name of a section: `format/SPEC.md` lists them by kind of object.
fn section_name(kind: ObjectKind, id: u16) -> &'static str {
    match (kind, id) {
        (ObjectKind::Segment, 1) => "segment header",
        (ObjectKind::Segment, 2) => "ops",
        (ObjectKind::Segment, 3) => "embeddings",
        (ObjectKind::Segment, 4) => "hashes of ids",
        (ObjectKind::PartMeta, id) => {
            let known = part::SECTIONS.iter().find(|section| section.id == id);
            known.map_or("unknown section", |section| section.name)
        }
        (ObjectKind::Embeddings, 1) => "embeddings header",
        (ObjectKind::Embeddings, 2) => "checksum table",
        (ObjectKind::Embeddings, id) => embedding_section_name(id),
        (ObjectKind::Manifest, 1) => "manifest",
        (ObjectKind::Manifest, 2) => "rows without a record",
        (ObjectKind::Manifest, 3) => "copy of the collection register",
        (ObjectKind::Head | ObjectKind::Collection | ObjectKind::Claim, 1) => "fields",
        _ => "unknown section",
    }
}

fn embedding_section_name(id: u16) -> &'static str {
    let known = EmbeddingSection::ALL.into_iter().find(|section| section.id() == id);
    known.map_or("unknown section", EmbeddingSection::name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Uid;
    use crate::register::Head;

    #[test]
    fn a_flipped_bit_shows_in_its_section() {
        let object = Head::empty(Uid::new(1)).encode();
        let sound = Inspection::of(object.clone()).unwrap();
        assert!(sound.is_sound());
        assert_eq!((sound.envelope.kind(), sound.sections[0].name), (ObjectKind::Head, "fields"));
        let mut flipped = object.to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        let broken = Inspection::of(flipped.into()).unwrap();
        assert!(!broken.is_sound() && broken.sections[0].result.is_err());
        assert!(Inspection::of(object.slice(..10)).is_err());
    }

    #[test]
    fn only_known_sections_have_names() {
        let known =
            ObjectKind::ALL.map(|kind| (1..12).filter(|id| section_name(kind, *id) != "unknown section").count());
        assert_eq!(known, [4, 5, 9, 3, 1, 1, 1]);
    }
}
