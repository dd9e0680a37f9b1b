use proptest::prelude::*;

use super::*;
use crate::digest::Digest;
use crate::error::FormatErrorKind as Kind;
use crate::manifest::{
    Ancestor, Dropped, EditKind, EditSummary, EmbeddingEntry, Mark, PartEntry, PartObject, Pin, Run,
};
use crate::name::{Nonce, ObjectName, Sequence, TimeRange, Timestamp, Uid, Version};
use crate::part::Absent;
use crate::register::{CollectionConfig, HeadPlace, Metric, Ordering};
use crate::testing::with_section;

fn sequence(number: u64) -> Sequence {
    Sequence::new(number).unwrap()
}

fn name(version: u64, nonce: u64) -> ObjectName {
    ObjectName { version: Version::new(version), nonce: Nonce::new(nonce) }
}

fn part(nonce: u64, rows: u32, min: &str, max: &str) -> PartEntry {
    PartEntry {
        name: name(3, nonce),
        rows,
        bytes: 1_000,
        front_bytes: 300,
        columns_end: 400,
        crc32: 0xDEAD_BEEF,
        min_id: min.to_owned(),
        max_id: max.to_owned(),
        embeddings: vec![name(1, 1), name(2, 0)],
        absent: Absent::default(),
    }
}

fn sample() -> Manifest {
    let times = TimeRange { first: Timestamp::from_millis(1), last: Timestamp::from_millis(2) };
    let run = |id, level, first, last, parts: Vec<PartEntry>| Run {
        id: Nonce::new(id),
        level,
        resolved: level > 0,
        first: sequence(first),
        last: sequence(last),
        rows: parts.iter().map(|part| u64::from(part.rows)).sum(),
        times,
        parts,
    };
    let entry = |name, rows, live| EmbeddingEntry { name, rows, live, bytes: 4_096, crc32: 7 };
    Manifest {
        collection: Uid::new(u128::MAX),
        version: Version::new(9),
        nonce: Nonce::new(99),
        published: Timestamp::from_millis(1_700_000_000_000),
        edit: EditSummary { kind: EditKind::Merge, rows_in: 1, rows_out: 2, bytes_in: 3, bytes_out: 4 },
        folded: sequence(70),
        truncated: sequence(71),
        sweep_floor: Version::new(8),
        ops: 12_345,
        digest: Digest::from_bits(1 << 127),
        runs: vec![
            run(1, 2, 1, 64, vec![part(1, 65_536, "a", "é"), part(2, 1, "ü", "ü")]),
            run(2, 0, 65, 65, vec![]),
            run(3, 0, 66, 70, vec![part(3, 2, "a", "b")]),
        ],
        embeddings: vec![entry(name(1, 1), 65_536, 0), entry(name(2, 0), 1, 1)],
        dropped: vec![
            Dropped { object: PartObject::Meta(name(1, 5)), version: Version::new(9) },
            Dropped { object: PartObject::Embeddings(name(1, 5)), version: Version::new(2) },
        ],
        marks: vec![
            Mark { source: "a".to_owned(), position: 0, sequence: sequence(70) },
            Mark { source: "b".to_owned(), position: u128::MAX, sequence: sequence(1) },
        ],
        marks_floor: sequence(0),
        ancestors: vec![
            Ancestor { version: Version::ZERO, nonce: Nonce::new(0) },
            Ancestor { version: Version::new(8), nonce: Nonce::new(5) },
        ],
        pins: vec![
            Pin {
                name: "p".to_owned(),
                version: Version::new(3),
                nonce: Nonce::new(1),
                id: Nonce::new(11),
                created: times.first,
                ttl_millis: None,
            },
            Pin {
                name: "q".to_owned(),
                version: Version::new(3),
                nonce: Nonce::new(1),
                id: Nonce::new(12),
                created: times.last,
                ttl_millis: Some(0),
            },
        ],
        config: None,
    }
}

fn config(uid: Uid) -> CollectionConfig {
    CollectionConfig {
        uid,
        dimension: 3,
        metric: Metric::Cosine,
        shards: 2,
        ordering: Ordering::Revision { keep_tombstones_millis: 9 },
        created: Timestamp::default(),
        heads: HeadPlace::Store,
        rotation: 0xdead_beef,
    }
}

/// JSON and tables hold these names.
#[test]
fn each_edit_has_its_name() {
    let all = [EditKind::Fold, EditKind::Merge, EditKind::Pin, EditKind::Unpin, EditKind::Sweep, EditKind::Repair];
    assert_eq!(all.map(EditKind::name), ["fold", "merge", "pin", "unpin", "sweep", "repair"]);
}

#[test]
fn a_manifest_keeps_a_copy_of_the_collection_register() {
    let manifest = Manifest { config: Some(config(sample().collection)), ..sample() };
    let object = manifest.encode().unwrap().to_bytes();
    assert_eq!(Manifest::decode(object.clone()).unwrap().config, manifest.config);
    // Encoding and decoding refuse the copy of another collection's register.
    let foreign = Manifest { config: Some(config(Uid::new(99))), ..sample() };
    assert_eq!(foreign.encode().unwrap_err().kind(), Kind::Invalid);
    let forged = with_section(&object, FIELDS, &|fields| fields[0] ^= 1);
    assert_eq!(Manifest::decode(forged).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn a_manifest_comes_back() {
    use EditKind::{Fold, Merge, Pin, Repair, Sweep, Unpin};
    for kind in [Fold, Merge, Pin, Unpin, Sweep, Repair] {
        let mut manifest = sample();
        manifest.edit.kind = kind;
        let encoded = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(encoded.to_bytes()).unwrap(), manifest);
    }
    let first = Manifest { version: Version::new(1), ..Manifest::empty(Uid::new(1)) };
    assert_eq!(Manifest::decode(first.encode().unwrap().to_bytes()).unwrap(), first);
}

#[test]
fn each_rule_of_manifests_is_checked_by_both_codecs() {
    type Edit = fn(&mut Manifest);
    let broken: [(&str, Edit); 30] = [
        ("version 0", |m| m.version = Version::ZERO),
        ("truncated 0", |m| m.truncated = Sequence::ZERO),
        ("truncated beyond folded", |m| m.truncated = sequence(72)),
        ("floor above version", |m| m.sweep_floor = Version::new(10)),
        ("marks floor", |m| m.marks_floor = sequence(71)),
        ("gap", |m| m.runs[1].first = sequence(66)),
        ("runs in another order", |m| m.runs.swap(1, 2)),
        ("the log's beginning missing", |m| drop(m.runs.remove(0))),
        ("the log's end missing", |m| drop(m.runs.pop())),
        ("no segments", |m| m.runs[1].last = sequence(64)),
        ("row count", |m| m.runs[0].rows += 1),
        ("parts overlap", |m| m.runs[0].parts[1].min_id = "é".to_owned()),
        ("parts in another order", |m| m.runs[0].parts.swap(0, 1)),
        ("empty part", |m| {
            m.runs[0].parts[1].rows = 0;
            m.runs[0].rows -= 1
        }),
        ("part too big", |m| {
            m.runs[0].parts[0].rows += 1;
            m.runs[0].rows += 1
        }),
        ("a front without bytes", |m| m.runs[0].parts[1].front_bytes = 0),
        ("a front longer than with its columns", |m| m.runs[0].parts[1].front_bytes = 401),
        ("columns that end behind the object", |m| m.runs[0].parts[1].columns_end = 1_001),
        ("first id after the last", |m| m.runs[0].parts[1].max_id = "u".to_owned()),
        ("one id, two rows", |m| m.runs[2].parts[0].max_id = "a".to_owned()),
        ("empty id", |m| m.runs[2].parts[0].min_id = String::new()),
        ("part's embeddings", |m| m.runs[0].parts[0].embeddings.swap(0, 1)),
        ("embeddings' order", |m| m.embeddings.swap(0, 1)),
        ("live rows", |m| m.embeddings[1].live = 2),
        ("embeddings' length", |m| m.embeddings[1].bytes = u64::MAX),
        ("marks' order", |m| m.marks.swap(0, 1)),
        ("mark of nothing folded", |m| m.marks[0].sequence = sequence(71)),
        ("ancestors' order", |m| m.ancestors.swap(0, 1)),
        ("an ancestor that is not before", |m| m.ancestors[1].version = Version::new(9)),
        ("dropped by a later version", |m| m.dropped[0].version = Version::new(10)),
    ];
    let pins: [(&str, Edit); 5] = [
        ("two pins of one name", |m| m.pins[1].name = "p".to_owned()),
        ("two pins of one id", |m| m.pins[1].id = m.pins[0].id),
        ("a pin without a name", |m| m.pins[0].name = String::new()),
        ("a long name", |m| m.pins[0].name = "x".repeat(129)),
        ("a pin of itself", |m| m.pins[0].version = Version::new(9)),
    ];
    for (what, edit) in broken.into_iter().chain(pins) {
        let mut manifest = sample();
        edit(&mut manifest);
        assert_eq!(manifest.encode().unwrap_err().kind(), Kind::Invalid, "{what}");
        let mut out = Writer::default();
        write::manifest(&mut out, &manifest);
        let bytes = out.into_vec();
        let forged = with_section(&sample().encode().unwrap().to_bytes(), FIELDS, &|fields| fields.clone_from(&bytes));
        assert_eq!(Manifest::decode(forged).unwrap_err().kind(), Kind::Invalid, "{what}");
    }
}

/// Values at their limits are valid.
#[test]
fn a_manifest_at_its_limits_comes_back() {
    let edits: [fn(&mut Manifest); 9] = [
        |m| m.sweep_floor = Version::new(9),
        |m| m.marks_floor = sequence(70),
        |m| m.truncated = sequence(1),
        |m| m.embeddings[1].bytes = 2 * crate::limits::MAX_EMBEDDING_OBJECT_BYTES as u64,
        |m| m.embeddings[0].live = 65_536,
        |m| m.pins[0].name = "x".repeat(crate::limits::MAX_PIN_NAME),
        |m| m.marks[1].source = "x".repeat(crate::limits::MAX_SOURCE_BYTES),
        |m| m.runs[0].parts[1].max_id = "ü".repeat(crate::limits::MAX_ID_BYTES / 2),
        |m| m.runs[0].parts[1].absent = Absent { rows: 1, oldest: Timestamp::from_millis(5) },
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut manifest = sample();
        edit(&mut manifest);
        if manifest.runs[0].parts[1].max_id != "ü" {
            manifest.runs[0].parts[1].rows = 2;
            manifest.runs[0].rows += 1;
        }
        let object = manifest.encode().unwrap_or_else(|error| panic!("edit {number}: {error}")).to_bytes();
        assert_eq!(Manifest::decode(object).unwrap(), manifest, "edit {number}");
    }
}

/// Each of these breaks its rule by the least amount, and breaks no other.
#[test]
fn a_manifest_just_beyond_its_limits_is_refused() {
    type Edit = fn(&mut Manifest);
    let edits: [(&str, Edit); 12] = [
        ("a run from slot 0", |m| m.runs[0].first = Sequence::ZERO),
        ("one object listed twice", |m| m.embeddings[1].name = m.embeddings[0].name),
        ("an object too long by a byte", |m| {
            m.embeddings[1].bytes = 2 * crate::limits::MAX_EMBEDDING_OBJECT_BYTES as u64 + 1;
        }),
        ("one source twice", |m| m.marks[1].source = "a".to_owned()),
        ("a source without a name", |m| m.marks[0].source = String::new()),
        ("a source's name too long", |m| m.marks[1].source = "x".repeat(crate::limits::MAX_SOURCE_BYTES + 1)),
        ("one ancestor twice", |m| m.ancestors[0].version = Version::new(8)),
        ("parts that share an id", |m| {
            m.runs[0].parts[1].min_id = "é".to_owned();
            m.runs[0].parts[1].max_id = "é".to_owned();
        }),
        ("an object named twice by a part", |m| m.runs[0].parts[0].embeddings[1] = name(1, 1)),
        ("more rows without a record than rows", |m| m.runs[0].parts[1].absent.rows = 2),
        ("a date of no row", |m| m.runs[0].parts[1].absent.oldest = Timestamp::from_millis(5)),
        ("the last id too long", |m| {
            m.runs[0].parts[1].max_id = "ü".repeat(crate::limits::MAX_ID_BYTES / 2 + 1);
            m.runs[0].parts[1].rows = 2;
            m.runs[0].rows += 1;
        }),
    ];
    for (what, edit) in edits {
        let mut manifest = sample();
        edit(&mut manifest);
        assert_eq!(manifest.encode().unwrap_err().kind(), Kind::Invalid, "{what}");
    }
    let nothing = Manifest { version: Version::ZERO, ..Manifest::empty(Uid::new(1)) };
    assert_eq!(nothing.encode().unwrap_err().kind(), Kind::Invalid, "version 0");
    // The last run ends before it begins, and all fields derived from its end agree.
    let backwards = Manifest {
        runs: vec![Run { first: sequence(1), last: Sequence::ZERO, ..sample().runs.remove(1) }],
        version: Version::new(1),
        ..Manifest::empty(Uid::new(1))
    };
    assert_eq!(backwards.encode().unwrap_err().kind(), Kind::Invalid, "a run that ends before it begins");
}

/// Counts of rows without a record have a section of their own, which is present only if one is not
/// zero.
#[test]
fn counts_of_absent_rows_come_back() {
    let section = |manifest: &Manifest| {
        let object = manifest.encode().unwrap().to_bytes();
        crate::Envelope::parse(&object).unwrap().section(ABSENT).is_some()
    };
    let mut manifest = sample();
    assert_eq!((manifest.absent_rows(), section(&manifest)), (0, false));
    for (rows, total) in [(1, 1), (2, 3)] {
        let part = if rows == 1 { &mut manifest.runs[0].parts[1] } else { &mut manifest.runs[2].parts[0] };
        part.absent = Absent { rows, oldest: Timestamp::from_millis(-7) };
        assert_eq!((manifest.absent_rows(), section(&manifest)), (total, true));
        let object = manifest.encode().unwrap().to_bytes();
        assert_eq!(Manifest::decode(object.clone()).unwrap(), manifest);
        let error = Manifest::decode(with_section(&object, ABSENT, &|counts| counts.fill(0))).unwrap_err();
        assert_eq!(error.reason(), "it lists rows without a record, and has none");
    }
    assert_eq!((manifest.runs[0].absent(), manifest.runs[1].absent(), manifest.runs[2].absent()), (1, 0, 2));
    assert_eq!(manifest.name(), name(9, 99));
}

/// The encoder writes no manifest that is too long for readers.
#[test]
fn a_manifest_of_the_greatest_length_comes_back() {
    let mut manifest = sample();
    let pin = manifest.pins.remove(0);
    let length = |manifest: &Manifest| {
        let mut out = Writer::default();
        write::manifest(&mut out, manifest);
        out.len()
    };
    let before = length(&manifest);
    manifest.dropped.push(manifest.dropped[0]);
    let each = length(&manifest) - before;
    let room = MAX_MANIFEST_BYTES - length(&manifest);
    manifest.dropped.extend(vec![manifest.dropped[0]; room / each]);
    let rest = MAX_MANIFEST_BYTES - length(&manifest);
    // A text of any length fills the rest.
    manifest.runs[2].parts[0].max_id.push_str(&"b".repeat(rest));
    assert_eq!(length(&manifest), MAX_MANIFEST_BYTES);
    assert_eq!(Manifest::decode(manifest.encode().unwrap().to_bytes()).unwrap(), manifest);
    manifest.runs[2].parts[0].max_id.push('b');
    assert_eq!(manifest.encode().unwrap_err().kind(), Kind::TooLarge);
    manifest.pins.push(pin);
    assert_eq!(manifest.encode().unwrap_err().kind(), Kind::TooLarge);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn forged_bytes_neither_panic_nor_pass_unchecked(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let object = sample().encode().unwrap().to_bytes();
        let forged = with_section(&object, FIELDS, &|bytes| {
            for (at, byte) in &edits {
                let at = at.index(bytes.len());
                bytes[at] ^= byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
        });
        if let Ok(manifest) = Manifest::decode(forged.clone()) {
            // One value, one encoding.
            let fields = |object| EnvelopeReader::open(object, ObjectKind::Manifest)?.section(FIELDS, WHAT, 1 << 20);
            prop_assert_eq!(fields(manifest.encode().unwrap().to_bytes()).unwrap(), fields(forged).unwrap());
        }
    }
}
