use std::fmt::{Debug, Display};
use std::str::FromStr;

use super::*;
use crate::limits::{MAX_COLLECTION_NAME, MAX_SEGMENT_OPS, MAX_SEQUENCE, MAX_SHARDS};

/// The value has this text, and no other text parses to it.
fn has_text<T>(value: T, text: &str)
where
    T: FromStr<Err = NameError> + Display + PartialEq + Debug,
{
    assert_eq!(value.to_string(), text);
    assert_eq!(text.parse::<T>().unwrap(), value);
    for other in [&text[1..], &format!("0{text}"), &format!("{text} "), &format!("+{}", &text[1..]), ""] {
        assert!(other.parse::<T>().is_err(), "{other:?}");
    }
}

fn refuses<T: FromStr<Err = NameError> + Debug>(texts: &[&str]) {
    for text in texts {
        let error = text.parse::<T>().unwrap_err().to_string();
        assert!(error.contains(&format!("`{}` is not a ", text.escape_debug())), "{error}");
        assert!(error.contains("expected "), "{error}");
    }
}

#[test]
fn numbers_have_one_text_of_fixed_width() {
    has_text(Sequence::ZERO, "00000000000000000000");
    has_text(Sequence::FIRST, "00000000000000000001");
    has_text(Sequence::new(MAX_SEQUENCE).unwrap(), "00000017592186044415");
    has_text(Version::new(u64::MAX), "18446744073709551615");
    has_text(Version::new(70), "00000000000000000070");
    has_text(ShardId::new(0).unwrap(), "0000");
    has_text(ShardId::new(4_095).unwrap(), "4095");
    has_text(Nonce::new(0xABC), "0000000000000abc");
    has_text(Nonce::new(u64::MAX), "ffffffffffffffff");
    has_text(Uid::new(0x1F), "0000000000000000000000000000001f");
    let position = Position::new(Sequence::new(3).unwrap(), 1_048_575).unwrap();
    has_text(position, "00000000000000000003.1048575");
    let name = ObjectName { version: Version::new(9), nonce: Nonce::new(0x5a) };
    has_text(name, "00000000000000000009-000000000000005a");
    refuses::<Sequence>(&["00000017592186044416", "0000000000000000000a", "-0000000000000000001"]);
    refuses::<Version>(&["18446744073709551616", "1\u{1b}"]);
    refuses::<ShardId>(&["4096", "65536", "000x"]);
    refuses::<Nonce>(&["0000000000000ABC", "000000000000000g", "000000000000000`", "000000000000000/"]);
    refuses::<Uid>(&["0000000000000000000000000000001F", "0000000000000000"]);
    refuses::<Position>(&["00000000000000000003.1048576", "00000000000000000003", "00000000000000000003.104857"]);
    refuses::<ObjectName>(&["00000000000000000009", "00000000000000000009_000000000000005a"]);
}

#[test]
fn sequence_numbers_stay_within_44_bits() {
    let last = Sequence::new(MAX_SEQUENCE).unwrap();
    assert_eq!((Sequence::new(MAX_SEQUENCE + 1), last.get()), (None, (1 << 44) - 1));
    assert_eq!((Sequence::ZERO.next(), Sequence::FIRST.next().get()), (Sequence::FIRST, 2));
    assert_eq!((last.next(), last.prev().next()), (last, last));
    assert_eq!((Sequence::FIRST.prev(), Sequence::ZERO.prev()), (Sequence::ZERO, Sequence::ZERO));
    assert_eq!((Version::ZERO.next(), Version::new(u64::MAX).next()), (Version::new(1), Version::new(u64::MAX)));
}

#[test]
fn a_position_holds_its_segment_and_index() {
    for (sequence, index) in [(0, 0), (1, 0), (1, 5), (7, MAX_SEGMENT_OPS - 1), (MAX_SEQUENCE, 1)] {
        let position = Position::new(Sequence::new(sequence).unwrap(), index).unwrap();
        assert_eq!((position.sequence().get(), position.index() as usize), (sequence, index));
        assert_eq!(Position::from_bits(position.to_bits()), position);
        assert_eq!(position.to_bits(), sequence << 20 | index as u64);
    }
    assert_eq!(Position::new(Sequence::FIRST, MAX_SEGMENT_OPS), None);
    let (end, start) = (Position::new(Sequence::FIRST, MAX_SEGMENT_OPS - 1), Position::new(Sequence::FIRST.next(), 0));
    assert!(end < start, "positions sort as the log does");
}

/// Readers in other languages find a record's shard by this rule alone.
#[test]
fn the_hash_of_an_id_says_its_shard() {
    assert_eq!((ShardId::new(4_095).map(ShardId::get), ShardId::new(4_096)), (Some(4_095), None));
    assert_eq!(xxhash_rust::xxh3::xxh3_64(b""), 0x2d06_8005_38d3_94c2, "seed 0");
    for (id, shards) in [("", 10), ("a", 7), ("a", 4_096), ("deltafold", 1_000), ("é", 3)] {
        let hash = xxhash_rust::xxh3::xxh3_64(id.as_bytes());
        assert_eq!(u64::from(ShardId::of(id, shards).get()), hash % u64::from(shards), "{id} of {shards}");
    }
    assert_eq!(ShardId::of("a", 0).get(), 0);
    assert_eq!(ShardId::of("a", u16::MAX), ShardId::of("a", MAX_SHARDS));
    let all: Vec<u16> = ShardId::all(3).map(ShardId::get).collect();
    assert_eq!((all, ShardId::all(u16::MAX).count()), (vec![0, 1, 2], usize::from(MAX_SHARDS)));
}

#[test]
fn collection_names_are_safe_in_any_file_system() {
    let longest = "x".repeat(MAX_COLLECTION_NAME);
    for text in ["a", "0", "a.b_c-9", "z..", longest.as_str()] {
        let name: CollectionName = text.parse().unwrap();
        assert_eq!((name.as_str(), name.to_string().as_str()), (text, text));
    }
    let too_long = "x".repeat(MAX_COLLECTION_NAME + 1);
    refuses::<CollectionName>(&["", ".", ".a", "-a", "_a", "A", "aA", "a/b", "a b", "a\n", "é", "aé", &too_long]);
}

#[test]
fn a_union_of_time_ranges_covers_both() {
    let range = |first, last| TimeRange { first: Timestamp::from_millis(first), last: Timestamp::from_millis(last) };
    assert_eq!(range(3, 5).union(range(-1, 4)), range(-1, 5));
    assert_eq!(range(-1, 4).union(range(3, 5)), range(-1, 5));
    assert_eq!(range(1, 9).union(range(3, 5)), range(1, 9));
}
