//! Parts whose directory or sections break a rule under right checksums.

use super::load_tests::{opened, part_of, range, sample};
use super::*;
use crate::envelope::EnvelopeReader;
use crate::error::FormatErrorKind as Kind;
use crate::record::{Record, Value};
use crate::testing;

/// The directory of [`sample`] with one change, and right checksums.
#[track_caller]
fn directory_refused(rule: &str, edit: impl Fn(&mut Vec<u8>)) {
    let object = sample();
    let forged = testing::with_section(&object, DIRECTORY.id, &edit);
    for error in [PartMeta::decode(forged.clone()).unwrap_err(), PartMeta::open(forged).unwrap_err()] {
        assert_eq!((error.kind(), error.what()), (Kind::Invalid, DIRECTORY.name), "{error}");
        assert!(error.to_string().contains(rule), "{error}");
    }
}

/// The first column of [`sample`] has the 3-byte key `one`. Its fields begin here.
const KIND: usize = 4 + 4 + 3;
const PRESENT: usize = KIND + 1;
const ELEMENTS: usize = PRESENT + 4;
const STORED: usize = ELEMENTS + 4;
const RAW: usize = STORED + 4;
const SUMMARY: usize = RAW + 8;

#[test]
fn each_rule_of_the_directory_is_checked() {
    directory_refused("an unknown type", |directory| directory[KIND] = 9);
    directory_refused("is empty", |directory| directory[PRESENT] = 0);
    directory_refused("too many elements", |directory| directory[ELEMENTS] = 99);
    directory_refused("more values than the part has payloads", |directory| {
        directory[PRESENT] = 101;
        directory[ELEMENTS] = 101;
    });
    directory_refused("a piece has no bytes", |directory| directory[STORED..RAW].fill(0));
    directory_refused("more stored bytes than decoded ones", |directory| directory[RAW..RAW + 4].fill(0));
    directory_refused("do not fill their section", |directory| directory[STORED] -= 1);
    directory_refused("summary has an unknown form", |directory| directory[SUMMARY] = 3);
    directory_refused("summary has an unknown form", |directory| directory[SUMMARY] = 2);
    directory_refused("counts more values than the column has", |directory| directory[SUMMARY + 1] = 101);
    directory_refused("follow its end", |directory| directory.push(0));
    directory_refused("one document for each payload", |directory| {
        let last = directory.len() - 16;
        directory[last] -= 1;
    });
    directory_refused("a block of documents is empty", |directory| {
        let last = directory.len() - 16;
        directory[last] = 0;
    });
}

/// The place of the `nth` column of the key `two` in a directory of [`sample`].
fn column_two(directory: &[u8], nth: usize) -> usize {
    let name = [3, 0, 0, 0, b't', b'w', b'o'];
    let mut found = (0..directory.len()).filter(|at| directory[*at..].starts_with(&name));
    found.nth(nth).unwrap()
}

/// A directory that keeps its own rules and lists other pieces than there are. Loading a piece
/// detects it.
#[test]
fn pieces_that_the_directory_does_not_list_are_refused() {
    let refused = |section: PartSection, rule: &str, piece: PartPiece, edit: &dyn Fn(&mut Vec<u8>)| {
        let forged = testing::with_section(&sample(), DIRECTORY.id, edit);
        let front = PartMeta::open(forged.clone()).unwrap();
        let loaded = front.with([(piece, range(&forged, front.range(piece)))]).map(drop);
        for error in [PartMeta::decode(forged).map(drop).unwrap_err(), loaded.unwrap_err()] {
            assert_eq!((error.kind(), error.what()), (Kind::Invalid, section.name), "{error}");
            assert!(error.to_string().contains(rule), "{error}");
        }
    };
    let kinds = opened(&sample()).directory().columns.iter().map(|column| column.kind).collect::<Vec<_>>();
    assert_eq!(kinds, [values::BOOL, values::STRING, values::I64]);
    let [text, number] = [PartPiece::Column(1), PartPiece::Column(2)];
    let counts = "number of values of a metadata column differs from the directory";
    for (nth, piece) in [(0, text), (1, number)] {
        refused(VALUES, counts, piece, &|directory| {
            let present = column_two(directory, nth) + 8;
            (directory[present], directory[present + 4]) = (49, 49);
        });
    }
    refused(VALUES, "not of the type that the directory lists", number, &|directory| {
        let kind = column_two(directory, 1) + 7;
        directory[kind] = u8::try_from(values::F64).unwrap();
    });
    refused(
        DOCUMENTS,
        "number of documents of a block differs from the directory",
        PartPiece::Documents(2),
        &|directory| {
            let last = directory.len() - 16;
            (directory[last], directory[last - 16]) = (directory[last] + 1, directory[last - 16] - 1);
        },
    );
}

/// A compressed piece may claim any length. A part of such pieces would take gigabytes once loaded.
#[test]
fn pieces_too_long_to_be_loaded_are_refused() {
    let forged = testing::with_section(&sample(), DIRECTORY.id, &|directory| directory[RAW..RAW + 4].fill(0xff));
    for error in [PartMeta::decode(forged.clone()).unwrap_err(), PartMeta::open(forged).unwrap_err()] {
        assert_eq!((error.kind(), error.what()), (Kind::TooLarge, "part"), "{error}");
    }
}

#[test]
fn more_documents_than_numbers_are_refused() {
    directory_refused("too many documents", |directory| {
        let last = directory.len() - 16;
        directory[last..last + 4].fill(0xff);
    });
}

/// A text longer than 64 bytes, and a summary of a column without values.
#[test]
fn summaries_that_no_writer_makes_are_refused() {
    let refused = |value: Value, rule: &str, summary: &[u8]| {
        let object = part_of(1, |_| Record { metadata: [("k".to_owned(), value.clone())].into(), ..Record::default() });
        let forged = testing::with_section(&object, DIRECTORY.id, &|directory| {
            directory.truncate(4 + 4 + 1 + 1 + 8 + 12);
            directory.extend(summary);
            directory.extend(0_u32.to_le_bytes());
        });
        let error = PartMeta::open(forged).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(rule) && error.is_empty() == rule.is_empty(), "{error}");
    };
    let text = |len: u8| [&[len, 0, 0, 0][..], &vec![b't'; len.into()]].concat();
    let bounds = |min: u8, max: u8| [&[1][..], &text(min), &text(max), &[0]].concat();
    let swapped = [&[1][..], &[1, 0, 0, 0, b'b', 1, 0, 0, 0, b'a', 0]].concat();
    let one = || Value::String("text".to_owned());
    refused(one(), "", &bounds(64, 64));
    refused(one(), "crossed or too long", &swapped);
    refused(one(), "crossed or too long", &bounds(64, 65));
    refused(one(), "crossed or too long", &bounds(65, 65));
    refused(one(), "crossed or too long", &[&[2, 1, 0, 0, 0][..], &text(65)].concat());
    let sums_up_nothing = [&[1][..], &[0; 16]].concat();
    refused(Value::I64s(vec![1]), "", &sums_up_nothing);
    refused(Value::I64s(Vec::new()), "covers no value", &sums_up_nothing);
}

/// A sound summary of another column. The directory alone cannot tell, but loading the column does.
#[test]
fn a_summary_that_is_not_that_of_its_column_is_refused() {
    let object = sample();
    let forged = testing::with_section(&object, DIRECTORY.id, &|directory| directory[SUMMARY + 1] -= 1);
    let front = PartMeta::open(forged.clone()).unwrap();
    let piece = PartPiece::Column(0);
    for error in [
        PartMeta::decode(forged.clone()).unwrap_err(),
        front.with([(piece, range(&forged, front.range(piece)))]).unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.what()), (Kind::Invalid, VALUES.name), "{error}");
        assert!(error.to_string().contains("summary"), "{error}");
    }
}

#[test]
fn summaries_with_lists_or_bounds_that_cannot_be_are_refused() {
    let refused = |values: [i64; 2], rule: &str, form: u8, listed: &[i64]| {
        let object = part_of(2, |row| Record {
            metadata: [("k".to_owned(), Value::I64(values[row]))].into(),
            ..Record::default()
        });
        let forged = testing::with_section(&object, DIRECTORY.id, &|directory| {
            let summary = 4 + 4 + 1 + 1 + 8 + 12;
            directory.truncate(summary);
            directory.push(form);
            if form == 2 {
                directory.extend(u32::try_from(listed.len()).unwrap().to_le_bytes());
            }
            listed.iter().for_each(|value| directory.extend(value.to_le_bytes()));
            directory.extend(0_u32.to_le_bytes());
        });
        let error = PartMeta::open(forged).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(rule) && error.is_empty() == rule.is_empty(), "{error}");
    };
    refused([1, 2], "", 2, &[1, 2]);
    refused([1, 2], "not in their order", 2, &[2, 1]);
    refused([1, 2], "not in their order", 2, &[1, 1]);
    refused([1, 2], "too many", 2, &[1, 2, 3]);
    refused([1, 2], "lists no values", 2, &[]);
    refused([1, 2], "", 1, &[1, 2]);
    refused([1, 2], "crossed", 1, &[2, 1]);
    refused([1, 2], "", 0, &[]);
}

#[test]
fn sections_in_another_order_are_refused() {
    let object = sample();
    let reader = EnvelopeReader::open_any(object).unwrap();
    let mut out = crate::envelope::EnvelopeWriter::new(crate::ObjectKind::PartMeta);
    for section in [ROWS, VALUES, DIRECTORY, DOCUMENTS] {
        let bytes = reader.section(section.id, section.name, 1 << 30).unwrap();
        out.section(section.id, bytes, crate::envelope::Compress::Never);
    }
    let error = PartMeta::decode(out.finish().to_bytes()).unwrap_err();
    assert!(error.to_string().contains("not in the order of their ids"), "{error}");
}

#[test]
fn compressed_sections_of_pieces_are_refused() {
    let object = sample();
    for section in [VALUES, DOCUMENTS] {
        let error = PartMeta::decode(testing::with_frame(&object, section.id, &|frame| frame)).unwrap_err();
        assert_eq!((error.kind(), error.what()), (Kind::Invalid, DIRECTORY.name), "{error}");
        assert!(error.to_string().contains("compressed"), "{error}");
    }
}

#[test]
fn pieces_and_their_sections_are_there_together() {
    let rule = "it lists pieces of a section that is absent, or none of one that is present";
    directory_refused(rule, |directory| {
        let blocks = directory.len() - 4 - 3 * 16;
        directory.drain(4..blocks);
        directory[..4].fill(0);
    });
    directory_refused(rule, |directory| {
        directory.truncate(directory.len() - 3 * 16);
        let count = directory.len() - 4;
        directory[count..].fill(0);
    });
    let object = sample();
    let reader = EnvelopeReader::open_any(object).unwrap();
    for gone in [VALUES, DOCUMENTS] {
        let mut out = crate::envelope::EnvelopeWriter::new(crate::ObjectKind::PartMeta);
        for section in SECTIONS.into_iter().filter(|section| *section != gone && *section != REVISIONS) {
            let bytes = reader.section(section.id, section.name, 1 << 30).unwrap();
            out.section(section.id, bytes, crate::envelope::Compress::Never);
        }
        let error = PartMeta::decode(out.finish().to_bytes()).unwrap_err();
        assert!(error.to_string().contains(rule), "{error}");
    }
}
