//! Objects of every format version, kept for ever: each later build must read them as they were
//! meant, and must refuse each one's corrupted twin with the error named here.
//!
//! `DELTAFOLD_WRITE_GOLDENS=1 cargo test -p deltafold-format --test golden` writes those that are
//! missing. An object that is there is never overwritten: it stands for what released programs have
//! written.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;

use bytes::Bytes;
use deltafold_format::{
    Absent, Action, Ancestor, Change, Claim, CollectionConfig, Digest, Dropped, EditKind, EditSummary, Effect,
    EmbeddingBuilder, EmbeddingEntry, EmbeddingRef, Embeddings, Encoding, Envelope, Form, FormatError,
    FormatErrorKind as Kind, Head, HeadPlace, Inspection, Manifest, Mark, Metric, Nonce, ObjectKind, ObjectName, Op,
    Ordering, PartBuilder, PartEntry, PartMeta, PartObject, PartPiece, Patch, Pin, Place, Position, Record, Revised,
    Revision, Rotation, Run, Segment, SegmentBody, SegmentHeader, SegmentStamp, Sequence, SourceMark, TimeRange,
    Timestamp, Transition, Uid, Value, Version,
};

/// The digest of the golden segment by revision, and the ties of its ops. Both are written down,
/// not computed: another hash would contradict the digests of every log there is.
const SEGMENT_BY_REVISION: u128 = 0x51810aabc4734a82d17fd92dbaa60a91;
const TIES: [u64; 5] = [
    3_026_517_539_011_935_223,
    8_233_880_070_295_303_564,
    2_033_580_601_229_064_432,
    6_280_286_337_571_068_862,
    9_711_972_683_250_475_185,
];

const COLLECTION: Uid = Uid::new(0x0123_4567_89ab_cdef_0011_2233_4455_6677);

fn sequence(number: u64) -> Sequence {
    Sequence::new(number).unwrap()
}

fn times() -> TimeRange {
    let [first, last] = [1_767_225_600_000, 1_767_225_601_234].map(Timestamp::from_millis);
    TimeRange { first, last }
}

fn head() -> Head {
    Head {
        collection: COLLECTION,
        version: Version::new(9),
        manifest: Nonce::new(0xfeed_beef),
        folded: sequence(70),
        truncated: sequence(65),
        sweep_floor: Version::new(8),
    }
}

fn collection() -> CollectionConfig {
    CollectionConfig {
        uid: COLLECTION,
        dimension: 3,
        metric: Metric::Cosine,
        shards: 4,
        ordering: Ordering::Log,
        created: times().first,
        heads: HeadPlace::Store,
        rotation: 0x0f1e_2d3c_4b5a_6978,
    }
}

fn claim() -> Claim {
    Claim { collection: COLLECTION, claimant: Uid::new(77), version: Version::new(9), beat: 5 }
}

/// Each op, each state of a field, each type of value.
fn ops() -> Vec<Op> {
    let metadata = BTreeMap::from([
        ("bool".to_owned(), Value::Bool(true)),
        ("bools".to_owned(), Value::Bools(vec![true, false])),
        ("f64".to_owned(), Value::F64(-0.0)),
        ("f64s".to_owned(), Value::F64s(vec![1.5, f64::MAX])),
        ("i64".to_owned(), Value::I64(i64::MIN)),
        ("i64s".to_owned(), Value::I64s(vec![-1, 0, 1])),
        ("string".to_owned(), Value::String("naïve".to_owned())),
        ("strings".to_owned(), Value::Strings(vec![String::new(), "δ".to_owned()])),
    ]);
    let whole = Record { embedding: Some(vec![1.0, -0.0, 3.25]), metadata, document: Some("a document".to_owned()) };
    let patch = Patch {
        embedding: Change::Set(vec![0.5, 0.25, -1.0]),
        metadata: BTreeMap::from([("bool".to_owned(), None), ("i64".to_owned(), Some(Value::I64(7)))]),
        document: Change::Clear,
    };
    let document = Change::Set("another".to_owned());
    vec![
        Op::put("first", whole),
        Op::patch("first", patch),
        Op::add("second", Record::default()),
        Op::upsert("third", Patch { embedding: Change::Clear, document, ..Patch::default() }),
        Op::delete("first"),
    ]
}

fn stamp() -> SegmentStamp {
    let marks = vec![SourceMark { source: "orders.fifo".to_owned(), position: u128::MAX - 1 }];
    SegmentStamp {
        collection: COLLECTION,
        sequence: sequence(71),
        writer: Uid::new(42),
        batch: 6,
        times: times(),
        marks,
        passed: 3,
    }
}

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

/// The kept object `name`; written first if it is missing and the environment asks for it.
fn golden(name: &str, make: impl FnOnce() -> Bytes) -> Bytes {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "golden", "v1", name].iter().collect();
    if !path.exists() && std::env::var_os("DELTAFOLD_WRITE_GOLDENS").is_some() {
        std::fs::write(&path, make()).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

/// Writes `bytes` at `at` and makes the envelope's crc32 right again.
fn forge(object: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let end = Envelope::parse(object).unwrap().envelope_len() - 4;
    let mut forged = object.to_vec();
    forged[at..at + bytes.len()].copy_from_slice(bytes);
    let crc32 = crc32fast::hash(&forged[..end]);
    forged[end..end + 4].copy_from_slice(&crc32.to_le_bytes());
    forged.into()
}

fn flipped(object: &Bytes, bit: usize) -> Bytes {
    let mut flipped = object.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped.into()
}

/// The golden object reads as it was meant; no truncation and no single flipped bit changes the
/// answer.
fn survives<T: PartialEq + Debug>(
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

#[test]
fn head_v1() {
    let object = golden("head", || head().encode());
    survives(&object, ObjectKind::Head, &head(), Head::decode);
    let twin = golden("head.newer", || forge(&object, 10, &2u16.to_le_bytes()));
    assert_eq!(Head::decode(twin).unwrap_err().kind(), Kind::NewerFormat { found: 2 });
}

#[test]
fn collection_v1() {
    let object = golden("collection", || collection().encode());
    survives(&object, ObjectKind::Collection, &collection(), CollectionConfig::decode);
    let heads = HeadPlace::DynamoDb { table: "deltafold-heads".to_owned(), region: "eu-west-1".to_owned() };
    let elsewhere = CollectionConfig { heads, ..collection() };
    let object_elsewhere = golden("collection-heads-in-dynamodb", || elsewhere.encode());
    survives(&object_elsewhere, ObjectKind::Collection, &elsewhere, CollectionConfig::decode);
    let twin = golden("collection.truncated", || object.slice(..object.len() - 1));
    assert_eq!(CollectionConfig::decode(twin).unwrap_err().kind(), Kind::Truncated);
}

#[test]
fn collection_by_revision_v1() {
    let ordering = Ordering::Revision { keep_tombstones_millis: 1_209_600_000 };
    let heads = HeadPlace::DynamoDb { table: "deltafold-heads".to_owned(), region: "eu-west-1".to_owned() };
    let config = CollectionConfig { ordering, heads, ..collection() };
    let object = golden("collection-revision", || config.encode());
    survives(&object, ObjectKind::Collection, &config, CollectionConfig::decode);
    // The ordering's number is right and nothing says how long tombstones are kept.
    let twin = golden("collection-revision.invalid", || {
        let mut fields = collection().encode()[64..].to_vec();
        fields[23] = 2;
        with_raw_section(ObjectKind::Collection, &fields)
    });
    assert_eq!(CollectionConfig::decode(twin).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn claim_v1() {
    let object = golden("claim", || claim().encode());
    survives(&object, ObjectKind::Claim, &claim(), Claim::decode);
    let twin = golden("claim.not-deltafold", || flipped(&object, 0));
    assert_eq!(Claim::decode(twin).unwrap_err().kind(), Kind::NotDeltafold);
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

/// The golden ops as they are in a collection that is ordered by revision, which has no `add`; two
/// of one revision.
fn ops_by_revision() -> Vec<Op> {
    let revisions = [7, u128::MAX, 7, 1 << 64, 8];
    let op = |(op, revision): (Op, u128)| {
        let action = if let Action::Add(record) = op.action { Action::Put(record) } else { op.action };
        Op::new(op.id, action).at(Revision::new(revision))
    };
    ops().into_iter().zip(revisions).map(op).collect()
}

#[test]
fn segment_by_revision_v1() {
    let make = || SegmentBody::encode(&ops_by_revision(), 3).unwrap().seal(stamp()).unwrap().to_bytes();
    let object = golden("segment-revision", make);
    let SegmentStamp { collection, sequence, writer, batch, times, marks, passed } = stamp();
    let digest = Digest::from_bits(SEGMENT_BY_REVISION);
    let header = SegmentHeader {
        collection,
        sequence,
        writer,
        batch,
        times,
        marks,
        ops: 5,
        digest,
        dimension: 3,
        vectors: 2,
        passed,
    };
    survives(&object, ObjectKind::Segment, &(header, ops_by_revision()), plain);
    // Written down and not computed: they decide which op wins.
    let segment = Segment::decode(object.clone()).unwrap();
    let ties = (0..5).map(|index| match segment.place(index) {
        Place::Revision(stamp) => stamp.tie,
        Place::Log(position) => panic!("op {position} has no revision"),
    });
    assert_eq!(ties.collect::<Vec<_>>(), TIES);
    // Every checksum is right, and one op says that it bears no revision.
    let twin = golden("segment-revision.invalid", || {
        let section = *Envelope::parse(&object).unwrap().section(2).unwrap();
        assert_eq!(section.encoding, Encoding::Raw);
        let [start, len] = [section.offset, section.stored].map(|n| usize::try_from(n).unwrap());
        let mut forged = object.to_vec();
        forged[start + 4] &= 0x7f;
        let crc32 = crc32fast::hash(&forged[start..start + len]);
        forge(&forged.into(), 24 + 32 + 4, &crc32.to_le_bytes())
    });
    let error = plain(twin).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "ops"));
}

/// A segment as plain values.
fn plain(object: Bytes) -> Result<(SegmentHeader, Vec<Op>), FormatError> {
    let segment = Segment::decode(object)?;
    let ops = segment.ops().map(|(_, op)| op.map_embedding(|row| segment.vector(row).to_vec())).collect();
    Ok((segment.header().clone(), ops))
}

#[test]
fn segment_v1() {
    let object = golden("segment", || SegmentBody::encode(&ops(), 3).unwrap().seal(stamp()).unwrap().to_bytes());
    let SegmentStamp { collection, sequence, writer, batch, times, marks, passed } = stamp();
    // Written down and not computed: hashing otherwise would make every log ever written contradict
    // its own digests.
    let digest = Digest::from_bits(0x2da8_19e4_5f47_95d9_9ef1_f020_f3b5_0fba);
    let header = SegmentHeader {
        collection,
        sequence,
        writer,
        batch,
        times,
        marks,
        ops: 5,
        digest,
        dimension: 3,
        vectors: 2,
        passed,
    };
    survives(&object, ObjectKind::Segment, &(header, ops()), plain);
    let twin = golden("segment.checksum", || flipped(&object, (object.len() - 1) * 8));
    assert_eq!(plain(twin).unwrap_err().kind(), Kind::Checksum);
    // Every checksum is right and the header's digest is not that of the ops: a writer that mixed
    // up two batches.
    let twin = golden("segment.invalid", || {
        let section = Envelope::parse(&object).unwrap().sections()[0];
        let [start, len] = [section.offset, section.stored].map(|n| usize::try_from(n).unwrap());
        let forged = flipped(&object, (start + 76) * 8);
        forge(&forged, 24 + 4, &crc32fast::hash(&forged[start..start + len]).to_le_bytes())
    });
    let error = plain(twin).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "ops"));
}

/// The rows that the golden ops come to in a collection ordered by its log. They have each form of
/// a row, and a column of each type.
fn rows() -> BTreeMap<String, Transition<EmbeddingRef>> {
    let mut next = 0..;
    let mut stored = |_| {
        let row = next.next().unwrap();
        EmbeddingRef {
            object: ObjectName { version: Version::new(7), nonce: Nonce::new(12 + u64::from(row) % 2) },
            row,
        }
    };
    let ops = ops().into_iter().map(|op| op.map_embedding(&mut stored)).zip(0..);
    let at = |index| Position::new(sequence(71), index).unwrap();
    let one: Vec<_> = ops.map(|(op, index)| (op.id, Transition::from_op(op.action, at(index)))).collect();
    let [(_, put), (_, patch), (_, add), (_, upsert), (_, delete)]: [_; 5] = one.try_into().unwrap();
    let many = (0..70).map(|i| {
        let record = Record { metadata: [("i".to_owned(), Value::I64(i))].into(), ..Record::default() };
        let inserted = Transition::from_op(Action::Put(record), at(100 + usize::try_from(i).unwrap()));
        (format!("number {i:02}"), inserted)
    });
    let noted = Record { metadata: [("i".to_owned(), Value::I64(-1))].into(), ..Record::default() };
    let named = [
        ("added", add.clone()),
        ("deleted", delete.clone()),
        ("patched", patch.clone()),
        ("put", put.clone()),
        ("renewed", delete.then(put.clone())),
        ("split é", Transition::from_op(Action::Add(noted), at(0)).then(patch)),
        ("upserted", upsert),
    ];
    named.map(|(id, transition)| (id.to_owned(), transition)).into_iter().chain(many).collect()
}

fn part() -> Bytes {
    let mut builder = PartBuilder::new();
    for (id, transition) in rows() {
        builder.push(&id, &transition).unwrap();
    }
    builder.finish().unwrap().object.to_bytes()
}

fn transitions(object: Bytes) -> Result<Vec<(String, Transition<EmbeddingRef>)>, FormatError> {
    let part = PartMeta::decode(object)?;
    Ok((0..part.rows()).map(|row| (part.id(row).to_owned(), part.transition(row).unwrap())).collect())
}

/// An object of one raw section with this content, and right checksums.
fn with_raw_section(kind: ObjectKind, content: &[u8]) -> Bytes {
    with_raw_sections(kind, &[(1, content.to_vec())])
}

/// An object of these raw sections, and right checksums.
fn with_raw_sections(kind: ObjectKind, sections: &[(u16, Vec<u8>)]) -> Bytes {
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
fn raw_sections(object: &Bytes) -> Vec<(u16, Vec<u8>)> {
    let raw = |section: &deltafold_format::Section| {
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
fn with_section(object: &Bytes, id: u16, edit: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut sections = raw_sections(object);
    edit(&mut sections.iter_mut().find(|(of, _)| *of == id).unwrap().1);
    with_raw_sections(Envelope::parse(object).unwrap().kind(), &sections)
}

/// Where some bytes stand.
fn place_of(bytes: &[u8], within: &[u8]) -> usize {
    within.windows(bytes.len()).position(|window| window == bytes).unwrap()
}

#[test]
fn part_v1() {
    let object = golden("part", part);
    survives(&object, ObjectKind::PartMeta, &rows().into_iter().collect(), transitions);
    let part = PartMeta::decode(object.clone()).unwrap();
    let form = |id| part.form(part.find(id).unwrap());
    let ids = ["put", "deleted", "patched", "upserted", "added", "split é"];
    assert_eq!(ids.map(form), [Form::Put, Form::Delete, Form::Patch, Form::Upsert, Form::Add, Form::Split]);
    let twin = golden("part.checksum", || flipped(&object, (object.len() - 1) * 8));
    assert_eq!(PartMeta::decode(twin).unwrap_err().kind(), Kind::Checksum);
    // Every checksum is right, and two ids are swapped: looking one up would miss it.
    let twin = golden("part.invalid", || {
        with_section(&object, 1, |rows| {
            let at = place_of(b"number 01number 02", rows);
            rows[at + 8] = b'2';
            rows[at + 17] = b'1';
        })
    });
    let error = PartMeta::decode(twin).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "rows"));
    assert!(error.to_string().contains("ids do not ascend"), "{error}");
    // Every checksum is right, and a summary says that the greatest value is less than it is: a
    // filter would skip it.
    let twin = golden("part.invalid-summary", || {
        with_section(&object, 3, |directory| {
            let at = place_of(&[&(-1_i64).to_le_bytes()[..], &69_i64.to_le_bytes()[..]].concat(), directory);
            directory[at + 8] = 68;
        })
    });
    let error = PartMeta::decode(twin).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "metadata columns"));
    assert!(error.to_string().contains("summary"), "{error}");
    // The envelope's checksums are right, and the one of a block is not: a reader of the block
    // alone must notice.
    let twin =
        golden("part.checksum-of-block", || with_section(&object, 5, |documents| *documents.last_mut().unwrap() ^= 1));
    let error = PartMeta::decode(twin).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Checksum, "documents"));
}

/// A cold reader loads the front of a part, and then the pieces that it needs.
#[test]
fn part_v1_is_read_piece_by_piece() {
    let object = golden("part", part);
    let range = |range: std::ops::Range<u64>| {
        object.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap())
    };
    let whole = PartMeta::decode(object.clone()).unwrap();
    let front = PartMeta::open(range(0..whole.front_bytes())).unwrap();
    assert_eq!((front.front_bytes(), front.columns_end()), (whole.front_bytes(), whole.columns_end()));
    assert!(front.columns_end() < object.len() as u64);
    let pieces: Vec<PartPiece> = front.unloaded_columns().chain(front.unloaded_documents()).collect();
    assert_eq!(pieces.len(), 11);
    let part = front.with(pieces.iter().map(|piece| (*piece, range(front.range(*piece))))).unwrap();
    for (row, (id, transition)) in rows().into_iter().enumerate() {
        assert_eq!((part.id(row), part.transition(row).unwrap()), (id.as_str(), transition));
    }
    for end in 0..whole.front_bytes() {
        assert_eq!(PartMeta::open(range(0..end)).unwrap_err().kind(), Kind::Truncated, "cut at {end}");
    }
}

/// The rows of the same ops in a collection ordered by revision.
fn rows_by_revision() -> BTreeMap<String, Revised<EmbeddingRef>> {
    let object = ObjectName { version: Version::new(7), nonce: Nonce::new(12) };
    let segment =
        Segment::decode(SegmentBody::encode(&ops_by_revision(), 3).unwrap().seal(stamp()).unwrap().to_bytes());
    let segment = segment.unwrap();
    let revised = |index| {
        let op = segment.op(index).unwrap().clone().map_embedding(|row| EmbeddingRef { object, row });
        match Effect::from_op(op.action, segment.place(index)) {
            Effect::Revision(revised) => revised,
            Effect::Log(_) => panic!("op {index} has no revision"),
        }
    };
    let dated = |revised: Revised<EmbeddingRef>| Revised { dated: times().last, ..revised };
    let [put, patch, empty, upsert, delete] = [0, 1, 2, 3, 4].map(revised);
    let many = (0..70).map(|i| (format!("number {i:02}"), empty.clone()));
    let named = [
        ("deleted", dated(delete.clone())),
        ("deleted, then patched", dated(put.clone().join(delete.clone()).join(patch.clone()))),
        ("deleted, then upserted", delete.join(upsert.clone())),
        ("patched", dated(patch.clone())),
        ("put", put.clone()),
        ("put, then patched and upserted", put.join(patch).join(upsert.clone())),
        ("upserted", upsert),
    ];
    named.map(|(id, revised)| (id.to_owned(), revised)).into_iter().chain(many).collect()
}

fn part_by_revision() -> Bytes {
    let mut builder = PartBuilder::new();
    for (id, revised) in rows_by_revision() {
        builder.push_revised(&id, &revised).unwrap();
    }
    builder.finish().unwrap().object.to_bytes()
}

fn revised(object: Bytes) -> Result<Vec<(String, Revised<EmbeddingRef>)>, FormatError> {
    let part = PartMeta::decode(object)?;
    Ok((0..part.rows()).map(|row| (part.id(row).to_owned(), part.revised(row).unwrap().unwrap())).collect())
}

#[test]
fn part_by_revision_v1() {
    let object = golden("part-revision", part_by_revision);
    survives(&object, ObjectKind::PartMeta, &rows_by_revision().into_iter().collect(), revised);
    let part = PartMeta::decode(object.clone()).unwrap();
    assert_eq!(part.absent(), Absent { rows: 3, oldest: times().last });
    let twin = golden("part-revision.checksum", || flipped(&object, (object.len() - 1) * 8));
    assert_eq!(PartMeta::decode(twin).unwrap_err().kind(), Kind::Checksum);
    // Every checksum is right, and the revisions are gone: nothing would tell which write is the
    // newer.
    let twin = golden("part-revision.invalid", || {
        let sections: Vec<_> = raw_sections(&object).into_iter().filter(|(id, _)| *id != 2).collect();
        with_raw_sections(ObjectKind::PartMeta, &sections)
    });
    let error = PartMeta::decode(twin).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, "rows"));
    assert!(error.to_string().contains("lacks its revisions"), "{error}");
}

/// Rows of more dimensions than one word has sign bits.
fn embeddings() -> Vec<Vec<f32>> {
    let row = |row: u16| (0..70).map(|i: u16| (f32::from(i * 7 % 11) - 5.0) * 0.25 + f32::from(row)).collect();
    (0..3).map(row).collect()
}

fn embedding_object() -> Bytes {
    let mut builder = EmbeddingBuilder::new(Rotation::new(70, collection().rotation));
    for row in embeddings() {
        builder.push(&row);
    }
    builder.finish().unwrap().object.to_bytes()
}

fn embedding_rows(object: Bytes) -> Result<Vec<Vec<f32>>, FormatError> {
    let embeddings = Embeddings::open(object)?;
    embeddings.verify_all()?;
    (0..embeddings.rows()).map(|row| embeddings.row(row).map(|row| row.to_vec())).collect()
}

#[test]
fn embeddings_v1() {
    let object = golden("embeddings", embedding_object);
    survives(&object, ObjectKind::Embeddings, &embeddings(), embedding_rows);
    // Written down and not computed: a program in another language made them from the specification
    // alone.
    let codes = Embeddings::open(object.clone()).unwrap();
    let codes = codes.codes(0).unwrap();
    assert_eq!(codes.signs, [0x99, 0x7f, 0x27, 0x1b, 0xee, 0x44, 0x7d, 0x6b, 0x36, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(codes.bytes[..8], [0x81, 0x23, 0x17, 0xc3, 0xf0, 0x09, 0x10, 0xc9]);
    let factors = [codes.factors.norm, codes.factors.estimator, codes.factors.scale, codes.factors.residual];
    assert_eq!(factors.map(f32::to_bits), [0x40d6_5d3b, 0x3f80_96ec, 0x3c89_a712, 0x3d21_5c31]);
    let twin = golden("embeddings.checksum", || {
        let rows = Envelope::parse(&object).unwrap().section(9).unwrap().offset;
        flipped(&object, usize::try_from(rows).unwrap() * 8)
    });
    // It opens, and no row is given away.
    let error = Embeddings::open(twin).unwrap().row(2).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Checksum, "embedding rows"));
}
