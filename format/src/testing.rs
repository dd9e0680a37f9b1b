//! Forging objects whose checksums are right.

use bytes::Bytes;

use crate::envelope::{Compress, Encoding, EnvelopeReader, EnvelopeWriter};

/// The object with one section's raw bytes edited and every checksum made right again.
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
