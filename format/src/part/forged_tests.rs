//! Parts that a broken writer could make. Every checksum is right and rkyv finds no fault, and the
//! decoder must still refuse the content.

use bytes::Bytes;
use proptest::prelude::*;

use super::directory::Directory;
use super::draft::Draft;
use super::presence::{self, Presence};
use super::rows::Texts;
use super::tests::{self, at, embedding_at};
use super::values::{self, Values};
use super::*;
use crate::envelope::{Compress, EnvelopeReader, EnvelopeWriter, ObjectKind, PieceSum, SealedPiece};
use crate::error::FormatErrorKind as Kind;
use crate::record::{Change, Metadata, Patch, Record, Value};
use crate::testing;
use crate::transition::{Stored, Transition};

/// One row of each form, in the order of [`Form`], and a second tombstone. These are six rows, and
/// the patch of the split one is payload 6. `a` put, `b` delete, `c` patch, `d` upsert, `e` add,
/// `f` split.
fn sample() -> PartBuilder {
    let metadata = |entries: &[(&str, Value)]| -> Metadata {
        entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    };
    let stored = |record| Stored { record, inserted: at(1), changed: at(2) };
    let whole = Record {
        embedding: Some(embedding_at(1, 10)),
        metadata: metadata(&[
            ("bool", Value::Bool(true)),
            ("bools", Value::Bools(vec![true, false])),
            ("f64", Value::F64(1.5)),
            ("f64s", Value::F64s(vec![2.5, 3.5])),
            ("i64", Value::I64(-7)),
            ("i64s", Value::I64s(vec![8, 9])),
            ("string", Value::String("é".to_owned())),
            ("strings", Value::Strings(vec!["x".to_owned(), "yz".to_owned()])),
            ("two", Value::I64(1)),
        ]),
        document: Some("doc".to_owned()),
    };
    let removal =
        Patch { embedding: Change::Clear, metadata: [("two".to_owned(), None)].into(), document: Change::Clear };
    let sets = Patch {
        embedding: Change::Set(embedding_at(2, 20)),
        metadata: metadata(&[("two", Value::String("s".to_owned()))]).into_iter().map(|(k, v)| (k, Some(v))).collect(),
        document: Change::Set("more".to_owned()),
    };
    let upserted = stored(sets.clone().apply(Record::default()));
    let modify = |absent, patch, changed| Transition::Modify { absent, patch, changed };
    let mut builder = PartBuilder::new();
    for (id, transition) in [
        ("a", Transition::Replace { record: Some(stored(whole.clone())), renewed: true }),
        ("b", Transition::TOMBSTONE),
        ("c", modify(None, removal.clone(), Some(at(3)))),
        ("d", modify(Some(upserted), sets, Some(at(2)))),
        ("e", modify(Some(stored(whole.clone())), Patch::default(), None)),
        ("f", modify(Some(stored(whole)), removal, Some(at(3)))),
    ] {
        builder.push(id, &transition).unwrap();
    }
    builder
}

fn draft() -> Draft {
    sample().into_draft()
}

/// Encodes and decodes a part without checking its content.
fn decode(draft: &Draft) -> Result<PartMeta, crate::FormatError> {
    PartMeta::decode(draft.seal().unwrap().object.to_bytes())
}

#[track_caller]
fn refused_in(section: PartSection, rule: &str, edit: impl FnOnce(&mut Draft)) {
    let mut draft = draft();
    edit(&mut draft);
    let error = decode(&draft).unwrap_err();
    assert_eq!((error.kind(), error.what()), (Kind::Invalid, section.name), "{error}");
    assert!(error.to_string().contains(rule), "{error}");
}

#[track_caller]
fn refused(rule: &str, edit: impl FnOnce(&mut Draft)) {
    refused_in(ROWS, rule, edit);
}

#[track_caller]
fn column_refused(rule: &str, edit: impl FnOnce(&mut Draft)) {
    refused_in(VALUES, rule, edit);
}

#[track_caller]
fn directory_refused(rule: &str, edit: impl FnOnce(&mut Draft)) {
    refused_in(DIRECTORY, rule, edit);
}

/// The column of a key and type.
fn column<'a>(draft: &'a mut Draft, key: &str, kind: u32) -> &'a mut Values {
    let mut columns = draft.columns.iter_mut();
    columns.find_map(|(of, values)| (of == key && values.kind == kind).then_some(values)).unwrap()
}

/// Presence as bits of the payloads 0 to 6.
fn bits(word: u64) -> Presence {
    Presence { kind: presence::BITS, words: vec![word], ranks: vec![0], listed: Vec::new() }
}

fn texts(texts: &[&str]) -> Texts {
    let mut column = Texts::new();
    texts.iter().for_each(|text| column.push(text.as_bytes()));
    column
}

#[test]
fn the_sample_itself_is_sound_and_has_each_form() {
    let part = decode(&draft()).unwrap();
    let forms: Vec<Form> = (0..part.rows()).map(|row| part.form(row)).collect();
    assert_eq!(forms, [Form::Put, Form::Delete, Form::Patch, Form::Upsert, Form::Add, Form::Split]);
    assert_eq!(draft().rows.documents.kind, presence::BITS);
    // Payloads count: a, e and f have a record's embedding, d that of its patch.
    let counts: Vec<_> = part.references().collect();
    assert_eq!(counts, [(embedding_at(1, 0).object, 3), (embedding_at(2, 0).object, 1)]);
}

#[test]
fn ids() {
    refused("ids do not ascend", |c| c.rows.ids = texts(&["a", "b", "d", "c", "e", "f"]));
    refused("ids do not ascend", |c| c.rows.ids = texts(&["a", "b", "b", "d", "e", "f"]));
    refused("not have one id for each row", |c| c.rows.ids = texts(&["a", "b", "c", "d", "e"]));
    refused("too short", |c| c.rows.ids = texts(&["", "b", "c", "d", "e", "f"]));
    refused("too long", |c| c.rows.ids = texts(&["a", "b", "c", "d", "e", &"f".repeat(1_025)]));
    refused("not UTF-8", |c| c.rows.ids.bytes[0] = 0xff);
    refused("within a character", |c| {
        c.rows.ids = texts(&["a", "b", "c", "d", "é", "ê"]);
        c.rows.ids.offsets[5] -= 1;
    });
    refused("do not begin at 0", |c| c.rows.ids.offsets.clear());
    refused("do not begin at 0", |c| c.rows.ids.offsets[0] = 1);
    refused("do not end with the texts", |c| c.rows.ids.bytes.push(b'g'));
    refused("too short or too long", |c| c.rows.ids.offsets[2] = 0);
    refused("too short or too long", |c| c.rows.ids.offsets[6] = 7);
}

#[test]
fn forms_and_splits() {
    refused("it has no rows", |c| c.rows = rows::Rows { ids: Texts::new(), ..Default::default() });
    refused("row 1 has the unknown form 7", |c| c.rows.forms[1] = 7);
    refused("a row lacks its revisions", |c| c.rows.forms[1] = Form::Revised as u8);
    refused("row 2 has the unknown form 64", |c| c.rows.forms[2] = 0x40);
    refused("is renewed, and is not a put", |c| c.rows.forms[1] |= rows::RENEWED);
    refused("splits is too short", |c| c.rows.splits.clear());
    refused("splits is too short", |c| c.rows.splits[0] = 4);
    refused("splits is too short", |c| c.rows.forms[4] = Form::Split as u8);
    refused("splits is too long", |c| c.rows.splits.push(5));
    refused("more splits than rows", |c| c.rows.splits = vec![5; 7]);
    let mut many = draft();
    many.rows.forms = vec![0; 65_537];
    assert_eq!(decode(&many).unwrap_err().kind(), Kind::TooLarge);
}

#[test]
fn positions() {
    let rule = "a position is missing, or stands where none may";
    refused("two positions for each payload", |c| c.rows.inserted.truncate(6));
    refused("two positions for each payload", |c| c.rows.changed.push(1));
    refused(rule, |c| c.rows.inserted[0] = 0);
    refused(rule, |c| c.rows.changed[0] = 0);
    refused(rule, |c| c.rows.inserted[1] = 1);
    refused(rule, |c| c.rows.changed[1] = 1);
    refused(rule, |c| c.rows.inserted[2] = 1);
    refused(rule, |c| c.rows.inserted[3] = 0);
    refused(rule, |c| c.rows.changed[3] = 0);
    refused(rule, |c| c.rows.changed[5] = 0);
    refused(rule, |c| c.rows.inserted[6] = 1);
}

#[test]
fn documents() {
    directory_refused("one document for each", |c| c.documents.push(b"one more"));
    directory_refused("one document for each", |c| c.rows.documents = bits(0b1001));
    refused("a tombstone has a document", |c| c.rows.documents = bits(0b11_0011));
    refused("a row clears a document, and is not a patch", |c| c.rows.documents_cleared[0] = 1);
    refused("sets a document and clears it", |c| c.rows.documents_cleared.insert(1, 3));
    refused("does not ascend, or names an absent one", |c| c.rows.documents_cleared[1] = 7);
    refused("does not ascend, or names an absent one", |c| c.rows.documents_cleared[1] = 2);
    refused_in(DOCUMENTS, "too long", |c| {
        let long = "d".repeat(crate::limits::MAX_DOCUMENT_BYTES + 1);
        c.documents = texts(&["a", "b", "c", &long]);
    });
}

#[test]
fn presence() {
    let set = |to: Presence| move |c: &mut Draft| c.rows.documents = to;
    refused("an unknown kind", set(Presence { kind: 3, ..Presence::default() }));
    refused("fields that its kind does not use", set(Presence { kind: presence::ALL, ..bits(0b11_1001) }));
    refused("fields that its kind does not use", set(Presence { listed: vec![1], ..bits(0b11_1001) }));
    refused("fields that its kind does not use", set(Presence { kind: presence::LISTED, ..bits(0b11_1001) }));
    refused("fields that its kind does not use", set(Presence { listed: vec![1], ..Presence::default() }));
    refused("fields that its kind does not use", set(Presence { ranks: vec![0], ..Presence::default() }));
    refused("fields that its kind does not use", set(Presence { words: vec![0], ..Presence::default() }));
    refused("not have one bit for each payload", set(Presence { words: Vec::new(), ..bits(0) }));
    refused("not have one bit for each payload", set(Presence { words: vec![0b11_1001, 0], ..bits(0) }));
    refused("bits behind the last payload", set(bits(1 << 7 | 0b11_1000)));
    refused("a presence lacks ranks", set(Presence { ranks: Vec::new(), ..bits(0b11_1001) }));
    refused("a rank is wrong", set(Presence { ranks: vec![1], ..bits(0b11_1001) }));
    let listed = |listed| Presence { kind: presence::LISTED, listed, ..Presence::default() };
    refused("does not ascend", set(listed(vec![0, 3, 3, 5])));
    refused("does not ascend", set(listed(vec![0, 3, 4, 7])));
    refused("a tombstone has a document", set(listed(vec![0, 1, 3, 4])));
    refused("a tombstone has a document", |c| {
        c.rows.documents = Presence::default();
        c.documents = texts(&["", "", "", "", "", "", ""]);
    });
    let mut same = draft();
    same.rows.documents = listed(vec![0, 3, 4, 5]);
    assert!(decode(&same).is_ok(), "another kind of presence says the same");
}

#[test]
fn embeddings() {
    refused("half a name", |c| c.rows.object_nonces.truncate(1));
    refused("do not ascend", |c| c.rows.object_versions.swap(0, 1));
    refused("do not ascend", |c| {
        c.rows.object_versions[1] = c.rows.object_versions[0];
        c.rows.object_nonces[1] = c.rows.object_nonces[0];
    });
    refused("one place of an embedding for each payload", |c| c.rows.embedding_objects.truncate(6));
    refused("one place of an embedding for each payload", |c| c.rows.embedding_rows.push(0));
    refused("in an object that is not listed", |c| c.rows.embedding_objects[0] = 4);
    refused("row number is beyond every object", |c| c.rows.embedding_rows[0] = 65_536);
    refused("a tombstone has an embedding", |c| c.rows.embedding_objects[1] = 2);
    refused("a row clears an embedding, and is not a patch", |c| {
        c.rows.embedding_objects[0] = rows::CLEAR;
        c.rows.embedding_rows[0] = 0;
    });
    refused("a row clears an embedding, and is not a patch", |c| c.rows.embedding_objects[1] = rows::CLEAR);
    refused("has a row of one", |c| c.rows.embedding_rows[1] = 1);
    refused("is listed, and no row refers to it", |c| c.rows.embedding_objects[3] = 2);
}

#[test]
fn metadata_columns() {
    directory_refused("ascend by key and type", |c| c.columns.swap(9, 10));
    directory_refused("ascend by key and type", |c| c.columns[0].0 = "z".to_owned());
    directory_refused("key is too short", |c| c.columns[0].0.clear());
    directory_refused("key is too short or too long", |c| c.columns[0].0 = "a".repeat(257));
    directory_refused("a metadata column is empty", |c| {
        *column(c, "i64", values::I64) = Values { presence: bits(0), ..Values::new(values::I64) }
    });
    column_refused("its form does not allow", |c| column(c, "two", values::REMOVED).presence = bits(1));
    column_refused("its form does not allow", |c| column(c, "two", values::STRING).presence = bits(2));
    column_refused("two values of one key", |c| column(c, "two", values::STRING).presence = bits(1));
    column_refused("two values of one key", |c| {
        // This column lists its payloads, while the column before it has bits.
        column(c, "two", values::STRING).presence =
            Presence { kind: presence::LISTED, listed: vec![4], ..Presence::default() };
    });
    directory_refused("has an unknown type", |c| column(c, "two", values::I64).kind = 9);
}

#[test]
fn values_of_each_type() {
    use values::{BOOL, BOOLS, F64, F64S, I64, I64S, REMOVED, STRING, STRINGS};
    let too_many = "a metadata column has too many elements";
    let each = "not have one value for each payload present";
    directory_refused(too_many, |c| column(c, "i64", I64).numbers.push(1));
    directory_refused(too_many, |c| column(c, "f64", F64).numbers.push(1));
    directory_refused(too_many, |c| column(c, "bool", BOOL).texts.bytes.push(1));
    directory_refused(too_many, |c| column(c, "string", STRING).texts.push(b"x"));
    column_refused(each, |c| column(c, "i64s", I64S).ends.insert(0, 0));
    column_refused("not finite", |c| column(c, "f64", F64).numbers[0] = f64::NAN.to_bits());
    column_refused("not finite", |c| column(c, "f64s", F64S).numbers[1] = f64::NEG_INFINITY.to_bits());
    column_refused("neither 0 nor 1", |c| column(c, "bool", BOOL).texts.bytes[0] = 2);
    column_refused("neither 0 nor 1", |c| column(c, "bools", BOOLS).texts.bytes[1] = 255);
    // Two values with the same fault, so that one does not hide the other.
    column_refused("neither 0 nor 1", |c| column(c, "bools", BOOLS).texts.bytes[..2].fill(2));
    column_refused("not finite", |c| column(c, "f64s", F64S).numbers[..2].fill(f64::INFINITY.to_bits()));
    column_refused("ends before it begins", |c| column(c, "i64s", I64S).ends[1] = 1);
    column_refused("do not end with their elements", |c| column(c, "f64s", F64S).numbers.push(0));
    column_refused("do not end with their elements", |c| column(c, "strings", STRINGS).texts.push(b"z"));
    column_refused("do not end with their elements", |c| column(c, "bools", BOOLS).texts.bytes.push(1));
    column_refused("is too long", |c| {
        let column = column(c, "i64s", I64S);
        column.numbers = vec![0; 65_537];
        column.ends = vec![65_537; 3];
    });
    let more = "fields that its type does not use";
    column_refused(more, |c| column(c, "i64", I64).ends.push(0));
    column_refused(more, |c| column(c, "i64", I64).texts.bytes.push(0));
    column_refused(more, |c| column(c, "bools", BOOLS).texts.offsets.push(0));
    column_refused(more, |c| column(c, "string", STRING).numbers.push(0));
    column_refused(more, |c| column(c, "two", REMOVED).texts.bytes.push(0));
    column_refused("not UTF-8", |c| column(c, "strings", STRINGS).texts.bytes[0] = 0xc3);
    column_refused("too long", |c| {
        let long = "s".repeat(crate::limits::MAX_METADATA_BYTES + 1);
        column(c, "string", STRING).texts = texts(&["", "", &long]);
    });
}

/// Enough rows to list presence. `r07` has `k` as a number, `r09` as a text.
fn two_types_of_one_key(text_in: u32) -> Draft {
    let mut builder = PartBuilder::new();
    for row in 0..64 {
        let value = match row {
            7 => Some(Value::I64(1)),
            9 => Some(Value::String("s".to_owned())),
            _ => None,
        };
        let metadata = value.map(|value| ("k".to_owned(), value)).into_iter().collect();
        let record = Record { metadata, ..Record::default() };
        let stored = Stored { record, inserted: at(1), changed: at(1) };
        let row = format!("r{row:02}");
        builder.push(&row, &Transition::Replace { record: Some(stored), renewed: false }).unwrap();
    }
    let mut columns = builder.into_draft();
    let text = column(&mut columns, "k", values::STRING);
    assert_eq!((text.presence.kind, &text.presence.listed[..]), (presence::LISTED, &[9][..]));
    text.presence.listed = vec![text_in];
    columns
}

#[test]
fn a_payload_has_one_value_of_a_key_also_where_it_is_listed() {
    assert!(decode(&two_types_of_one_key(9)).is_ok());
    assert!(decode(&two_types_of_one_key(8)).is_ok());
    let error = decode(&two_types_of_one_key(7)).unwrap_err();
    assert!(error.to_string().contains("two values of one key"), "{error}");
}

#[test]
fn one_key_and_type_has_one_column() {
    let mut columns = two_types_of_one_key(9);
    let text = column(&mut columns, "k", values::STRING);
    // Now both columns hold numbers, of two rows.
    *text = Values { presence: std::mem::take(&mut text.presence), numbers: vec![5], ..Values::new(values::I64) };
    let error = decode(&columns).unwrap_err();
    assert!(error.to_string().contains("do not ascend by key and type"), "{error}");
}

#[test]
fn lists_of_the_greatest_length_pass() {
    let mut builder = PartBuilder::new();
    for id in ["a", "b", "c"] {
        let list = Value::Bools(vec![true; crate::limits::MAX_LIST_LEN]);
        let record = Record { metadata: [("k".to_owned(), list)].into(), ..Record::default() };
        let stored = Stored { record, inserted: at(1), changed: at(1) };
        builder.push(id, &Transition::Replace { record: Some(stored), renewed: false }).unwrap();
    }
    assert!(decode(&builder.into_draft()).is_ok());
}

/// Decodes a part of any column bytes. It gives an error, or a part whose rows can all be read,
/// found, and written again.
fn survives(object: Bytes) {
    let Ok(part) = PartMeta::decode(object) else { return };
    let (mut pushed, mut copied) = (PartBuilder::new(), PartBuilder::new());
    for row in 0..part.rows() {
        assert_eq!(part.find(part.id(row)), Ok(row));
        pushed.push(part.id(row), &part.transition(row).unwrap()).unwrap();
        copied.copy_row(&part, row, None).unwrap();
    }
    let references: u32 = part.references().map(|(_, count)| count).sum();
    let counted = |part: EncodedPart| part.references.iter().map(|(_, count)| count).sum::<u32>();
    assert_eq!(counted(copied.finish().unwrap()), references);
    // A split row that equals an upsert or an add becomes the shorter form.
    assert!(counted(pushed.finish().unwrap()) <= references);
}

/// The object with the raw bytes of one piece edited, and every length and checksum corrected.
fn with_piece(object: &Bytes, piece: PartPiece, edit: &dyn Fn(&mut Vec<u8>)) -> Bytes {
    let reader = EnvelopeReader::open_any(object.clone()).unwrap();
    let mut out = EnvelopeWriter::new(ObjectKind::PartMeta);
    let part = PartMeta::decode(object.clone()).unwrap();
    let range = |piece| {
        let range = part.range(piece);
        object.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap())
    };
    let sealed = |of: PartPiece, sum: PieceSum| {
        let mut raw = sum.unseal(range(of), "piece", 1 << 30).unwrap().to_vec();
        if of == piece {
            edit(&mut raw);
        }
        SealedPiece::new(raw.into(), "piece").unwrap()
    };
    let columns = part.directory().columns.iter().zip(0..);
    let columns: Vec<_> = columns.map(|(entry, number)| sealed(PartPiece::Column(number), entry.sum)).collect();
    let blocks = part.directory().blocks.iter().zip(0..);
    let blocks: Vec<_> = blocks.map(|(entry, number)| sealed(PartPiece::Documents(number), entry.sum)).collect();
    let section = reader.section(DIRECTORY.id, DIRECTORY.name, 1 << 30).unwrap();
    let sections = [VALUES, DOCUMENTS].map(|section| reader.envelope().section(section.id));
    let mut directory = Directory::decode(&section, sections[0], sections[1]).unwrap();
    directory.columns.iter_mut().zip(&columns).for_each(|(entry, piece)| entry.sum = piece.sum);
    directory.blocks.iter_mut().zip(&blocks).for_each(|(entry, piece)| entry.sum = piece.sum);
    for section in [ROWS, REVISIONS] {
        if reader.envelope().section(section.id).is_some() {
            let bytes = reader.section(section.id, section.name, 1 << 30).unwrap();
            out.section(section.id, bytes, Compress::WhenSmaller);
        }
    }
    out.section(DIRECTORY.id, directory.encoded(), Compress::WhenSmaller);
    for (section, pieces) in [(VALUES, columns), (DOCUMENTS, blocks)] {
        if !pieces.is_empty() {
            let pieces: Vec<Bytes> = pieces.into_iter().map(|piece| piece.stored).collect();
            out.section(section.id, pieces, Compress::Never);
        }
    }
    out.finish().to_bytes()
}

/// The places that tests change: two sections, and each piece.
fn places(object: &Bytes) -> Vec<Place> {
    let part = PartMeta::decode(object.clone()).unwrap();
    let opened = PartMeta::open(object.clone()).unwrap();
    let pieces: Vec<PartPiece> = opened.unloaded_columns().chain(opened.unloaded_documents()).collect();
    assert!(part.has_all_columns() && part.has_all_documents());
    let sections = [ROWS, DIRECTORY].map(|section| Place::Section(section.id));
    sections.into_iter().chain(pieces.into_iter().map(Place::Piece)).collect()
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Section(u16),
    Piece(PartPiece),
}

fn edited(object: &Bytes, place: Place, edit: &dyn Fn(&mut Vec<u8>)) -> Bytes {
    match place {
        Place::Section(id) => testing::with_section(object, id, edit),
        Place::Piece(piece) => with_piece(object, piece, edit),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_change_of_the_raw_bytes_is_refused_or_harmless(
        rows in prop_oneof![Just(None), tests::rows(12).prop_map(Some)],
        place in any::<proptest::sample::Index>(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), any::<bool>()), 1..4),
    ) {
        let object = match rows {
            Some(rows) => tests::build(&rows).object.to_bytes(),
            None => sample().finish().unwrap().object.to_bytes(),
        };
        let places = places(&object);
        survives(edited(&object, places[place.index(places.len())], &|raw| {
            for (at, value, add) in &changes {
                let at = at.index(raw.len());
                let byte = &mut raw[at];
                *byte = if *add { byte.wrapping_add(value % 5) } else { *value };
            }
        }));
    }

    #[test]
    fn any_raw_bytes_are_refused_or_harmless(
        place in any::<proptest::sample::Index>(),
        bytes in proptest::collection::vec(any::<u8>(), 1..400),
    ) {
        let object = sample().finish().unwrap().object.to_bytes();
        let places = places(&object);
        survives(edited(&object, places[place.index(places.len())], &|raw| raw.clone_from(&bytes)));
    }
}

#[test]
fn every_raw_byte_changed_or_cut_off_is_refused_or_harmless() {
    let object = sample().finish().unwrap().object.to_bytes();
    for place in places(&object) {
        let len = std::cell::Cell::new(0);
        edited(&object, place, &|raw| len.set(raw.len()));
        for at in 0..len.get() {
            for by in [1, 0xff, 0x80] {
                survives(edited(&object, place, &|raw| raw[at] = raw[at].wrapping_add(by)));
            }
            survives(edited(&object, place, &|raw| raw.truncate(at.max(1))));
        }
    }
}
