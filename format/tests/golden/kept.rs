//! Kept objects, and the damage done to their twins.

use std::fmt::Debug;
use std::path::PathBuf;

use bytes::Bytes;
use deltafold_format::{Encoding, Envelope, FormatError, FormatErrorKind as Kind, Inspection, ObjectKind, Section};

/// The kept object `name`; written first if it is missing and the environment asks for it.
pub(crate) fn golden(name: &str, make: impl FnOnce() -> Bytes) -> Bytes {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "golden", "v1", name].iter().collect();
    if !path.exists() && std::env::var_os("DELTAFOLD_WRITE_GOLDENS").is_some() {
        std::fs::write(&path, make()).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

/// The golden object reads as it was meant; no truncation and no single flipped bit changes the
/// answer.
pub(crate) fn survives<T: PartialEq + Debug>(
    object: &Bytes,
    kind: ObjectKind,
    value: &T,
    decode: impl Fn(Bytes) -> Result<T, FormatError>,
) {
    assert_eq!(&decode(object.clone()).unwrap(), value);
    let inspection = Inspection::of(object.clone()).unwrap();
    assert!(inspection.is_sound());
    let envelope = inspection.envelope;
    assert_eq!((envelope.kind(), envelope.version()), (kind, 1));
    for len in 0..object.len() {
        assert_eq!(decode(object.slice(..len)).unwrap_err().kind(), Kind::Truncated, "cut at {len}");
    }
    for bit in 0..object.len() * 8 {
        assert!(decode(flipped(object, bit)).is_err(), "bit {bit} is not noticed");
    }
}

/// Writes `bytes` at `at` and makes the envelope's crc32 right again.
pub(crate) fn forge(object: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let end = Envelope::parse(object).unwrap().envelope_len() - 4;
    let mut forged = object.to_vec();
    forged[at..at + bytes.len()].copy_from_slice(bytes);
    let crc32 = crc32fast::hash(&forged[..end]);
    forged[end..end + 4].copy_from_slice(&crc32.to_le_bytes());
    forged.into()
}

pub(crate) fn flipped(object: &Bytes, bit: usize) -> Bytes {
    let mut flipped = object.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped.into()
}

/// An object of one raw section with this content, and right checksums.
pub(crate) fn with_raw_section(kind: ObjectKind, content: &[u8]) -> Bytes {
    with_raw_sections(kind, &[(1, content.to_vec())])
}

/// An object of these raw sections, and right checksums.
pub(crate) fn with_raw_sections(kind: ObjectKind, sections: &[(u16, Vec<u8>)]) -> Bytes {
    let start = |end: usize| end.next_multiple_of(64);
    let envelope = 28 + 32 * sections.len();
    let mut end = envelope;
    let mut table = Vec::new();
    for (id, content) in sections {
        table.extend([*id, 0].map(u16::to_le_bytes).concat());
        table.extend(crc32fast::hash(content).to_le_bytes());
        table.extend([start(end), content.len(), content.len()].map(|n| (n as u64).to_le_bytes()).concat());
        end = start(end) + content.len();
    }
    let mut object = b"\x89DFOLD\r\n".to_vec();
    object.extend([kind.number(), 1, u16::try_from(sections.len()).unwrap(), 0].map(u16::to_le_bytes).concat());
    object.extend((end as u64).to_le_bytes());
    object.extend(table);
    object.extend(crc32fast::hash(&object).to_le_bytes());
    for (_, content) in sections {
        object.resize(start(object.len()), 0);
        object.extend_from_slice(content);
    }
    object.into()
}

/// The sections of an object, decoded.
pub(crate) fn raw_sections(object: &Bytes) -> Vec<(u16, Vec<u8>)> {
    let raw = |section: &Section| {
        let [start, stored, raw] = [section.offset, section.stored, section.raw].map(|n| usize::try_from(n).unwrap());
        let stored = &object[start..start + stored];
        let content = match section.encoding {
            Encoding::Raw => stored.to_vec(),
            Encoding::Zstd => zstd::bulk::decompress(stored, raw).unwrap(),
        };
        (section.id, content)
    };
    Envelope::parse(object).unwrap().sections().iter().map(raw).collect()
}

/// The object with one section edited, all of them raw, and right checksums.
pub(crate) fn with_section(object: &Bytes, id: u16, edit: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut sections = raw_sections(object);
    edit(&mut sections.iter_mut().find(|(of, _)| *of == id).unwrap().1);
    with_raw_sections(Envelope::parse(object).unwrap().kind(), &sections)
}

/// Where some bytes stand.
pub(crate) fn place_of(bytes: &[u8], within: &[u8]) -> usize {
    within.windows(bytes.len()).position(|window| window == bytes).unwrap()
}
