//! Manifests, in both orderings.

use deltafold_format::{
    Absent, Ancestor, Digest, Dropped, EditKind, EditSummary, EmbeddingEntry, Encoding, Envelope,
    FormatErrorKind as Kind, Manifest, Mark, Nonce, ObjectKind, ObjectName, PartEntry, PartObject, Pin, Run, Version,
};

use crate::kept::{forge, golden, survives};
use crate::registers::collection;
use crate::{COLLECTION, sequence, times};

fn manifest() -> Manifest {
    let name = |version, nonce| ObjectName { version: Version::new(version), nonce: Nonce::new(nonce) };
    let part = |nonce, rows, min_id: &str, max_id: &str| PartEntry {
        name: name(7, nonce),
        rows,
        bytes: 4_096 + nonce,
        front_bytes: 1_000 + nonce,
        columns_end: 2_000 + nonce,
        crc32: 0x1234_5678,
        min_id: min_id.to_owned(),
        max_id: max_id.to_owned(),
        embeddings: vec![name(1, 11), name(7, 12)],
        absent: Absent::default(),
    };
    let run = |id, level, first, last, parts: Vec<PartEntry>| Run {
        id: Nonce::new(id),
        level,
        resolved: first == 1,
        first: sequence(first),
        last: sequence(last),
        rows: parts.iter().map(|part| u64::from(part.rows)).sum(),
        times: times(),
        parts,
    };
    Manifest {
        collection: COLLECTION,
        version: Version::new(9),
        nonce: Nonce::new(0xfeed_beef),
        published: times().last,
        edit: EditSummary { kind: EditKind::Fold, rows_in: 64, rows_out: 60, bytes_in: 9_000, bytes_out: 8_000 },
        folded: sequence(70),
        truncated: sequence(65),
        sweep_floor: Version::new(8),
        ops: 700,
        digest: Digest::from_bits(0xabcd << 100),
        runs: vec![
            run(1, 2, 1, 64, vec![part(1, 600, "a", "m"), part(2, 1, "z", "z")]),
            run(2, 0, 65, 70, vec![part(3, 60, "b", "ž")]),
        ],
        embeddings: [(1, 11), (7, 12)]
            .map(|(version, nonce)| EmbeddingEntry {
                name: name(version, nonce),
                rows: 600,
                live: 333,
                bytes: 7_424,
                crc32: 9,
            })
            .to_vec(),
        dropped: vec![
            Dropped { object: PartObject::Meta(name(2, 4)), version: Version::new(8) },
            Dropped { object: PartObject::Embeddings(name(2, 4)), version: Version::new(9) },
        ],
        marks: vec![Mark { source: "orders.fifo".to_owned(), position: 1 << 90, sequence: sequence(69) }],
        marks_floor: sequence(3),
        ancestors: [7, 8].map(|v| Ancestor { version: Version::new(v), nonce: Nonce::new(v * 3) }).to_vec(),
        pins: [None, Some(86_400_000)]
            .map(|ttl_millis| Pin {
                name: format!("pin{}", ttl_millis.unwrap_or(0)),
                version: Version::new(8),
                nonce: Nonce::new(24),
                id: Nonce::new(ttl_millis.unwrap_or(0) + 1),
                created: times().first,
                ttl_millis,
            })
            .to_vec(),
        config: Some(collection()),
    }
}

#[test]
fn manifest_v1() {
    let object = golden("manifest", || manifest().encode().unwrap().to_bytes());
    survives(&object, ObjectKind::Manifest, &manifest(), Manifest::decode);
    let twin = golden("manifest.wrong-kind", || forge(&object, 8, &ObjectKind::Head.number().to_le_bytes()));
    let (expected, found) = (ObjectKind::Manifest, ObjectKind::Head);
    assert_eq!(Manifest::decode(twin).unwrap_err().kind(), Kind::WrongKind { expected, found });
}

#[test]
fn manifest_by_revision_v1() {
    let mut by_revision = Manifest { config: None, ..manifest() };
    by_revision.runs[0].parts[0].absent = Absent { rows: 7, oldest: times().last };
    by_revision.runs[1].parts[0].absent = Absent { rows: 60, oldest: times().first };
    let object = golden("manifest-revision", || by_revision.encode().unwrap().to_bytes());
    survives(&object, ObjectKind::Manifest, &by_revision, Manifest::decode);
    // Every checksum is right, and a part of one row has two that hold no record.
    let twin = golden("manifest-revision.invalid", || {
        let section = *Envelope::parse(&object).unwrap().section(2).unwrap();
        assert_eq!((section.encoding, section.stored), (Encoding::Raw, 36));
        let start = usize::try_from(section.offset).unwrap();
        let mut forged = object.to_vec();
        forged[start + 12..start + 16].copy_from_slice(&2u32.to_le_bytes());
        let crc32 = crc32fast::hash(&forged[start..]);
        forge(&forged.into(), 24 + 32 + 4, &crc32.to_le_bytes())
    });
    let error = Manifest::decode(twin).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "manifest"));
}
