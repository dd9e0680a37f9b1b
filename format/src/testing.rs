//! Forges objects whose checksums are right.

use bytes::Bytes;

use crate::envelope::{Compress, Encoding, EnvelopeReader, EnvelopeWriter, SealedSection};

/// The object with one section's raw bytes edited, and every checksum corrected.
pub(crate) fn with_section(object: &Bytes, id: u16, edit: &dyn Fn(&mut Vec<u8>)) -> Bytes {
    let reader = EnvelopeReader::open_any(object.clone()).unwrap();
    let mut writer = EnvelopeWriter::new(reader.envelope().kind());
    for section in reader.envelope().sections() {
        let mut bytes = reader.section(section.id, "section", 1 << 30).unwrap().to_vec();
        if section.id == id {
            edit(&mut bytes);
        }
        let compress = if section.encoding == Encoding::Raw { Compress::Never } else { Compress::WhenSmaller };
        writer.section(section.id, bytes, compress);
    }
    writer.finish().to_bytes()
}

/// The object with the zstd frame of one section passed through `edit`. A raw section is made a
/// frame first.
pub(crate) fn with_frame(object: &Bytes, id: u16, edit: &dyn Fn(Vec<u8>) -> Vec<u8>) -> Bytes {
    let reader = EnvelopeReader::open_any(object.clone()).unwrap();
    let mut writer = EnvelopeWriter::new(reader.envelope().kind());
    for section in reader.envelope().sections() {
        let bytes = reader.section(section.id, "section", 1 << 30).unwrap();
        if section.id == id {
            let frame = zstd::bulk::compress(&bytes, 1).unwrap();
            writer.sealed(id, SealedSection::forged(edit(frame), bytes.len() as u64));
        } else {
            let compress = if section.encoding == Encoding::Raw { Compress::Never } else { Compress::WhenSmaller };
            writer.section(section.id, bytes, compress);
        }
    }
    writer.finish().to_bytes()
}
