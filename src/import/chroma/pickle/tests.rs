use super::machine::MAX_STACK;
use super::*;

/// The labels of a pickle, with its numbers, or the reason of its refusal.
type Read = std::result::Result<(Option<i64>, Option<i64>, Vec<(String, u64)>), String>;

fn read(bytes: &[u8]) -> Read {
    let mut pairs = Vec::new();
    let found = labels(bytes, |dict, id, label| {
        pairs.push((dict, id.to_owned(), label));
        Ok(())
    });
    let found = found.map_err(|error| error.to_string())?;
    pairs.retain(|(dict, ..)| *dict == found.dict);
    assert_eq!(pairs.len() as u64, found.count);
    Ok((found.dimension, found.max_seq_id, pairs.into_iter().map(|(_, id, label)| (id, label)).collect()))
}

fn says(bytes: &[u8]) -> String {
    read(bytes).unwrap_err()
}

/// `pickle.dumps` of the dictionary of Chroma 1.x, protocol 3.
fn of_version_1() -> Vec<u8> {
    let mut bytes = b"\x80\x03}q\x00(".to_vec();
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.push(b'X');
        bytes.extend_from_slice(&u32::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    };
    text(&mut bytes, "dimensionality");
    bytes.extend_from_slice(b"K\x18");
    text(&mut bytes, "total_elements_added");
    bytes.extend_from_slice(b"M\x00\x02");
    text(&mut bytes, "max_seq_id");
    bytes.extend_from_slice(b"N");
    text(&mut bytes, "id_to_label");
    bytes.extend_from_slice(b"}(");
    text(&mut bytes, "a");
    bytes.extend_from_slice(b"q\x01K\x01");
    text(&mut bytes, "é");
    bytes.extend_from_slice(b"q\x02J\x00\x00\x01\x00u");
    text(&mut bytes, "label_to_id");
    bytes.extend_from_slice(b"}(K\x01h\x01J\x00\x00\x01\x00h\x02u");
    text(&mut bytes, "id_to_seq_id");
    bytes.extend_from_slice(b"}u.");
    bytes
}

/// `pickle.dumps` of an object of Chroma 0.5, protocol 4.
fn of_version_05() -> Vec<u8> {
    let mut bytes = b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00".to_vec();
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend_from_slice(&[0x8c, u8::try_from(text.len()).unwrap()]);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0x94);
    };
    text(&mut bytes, "chromadb.segment.impl.vector.local_persistent_hnsw");
    text(&mut bytes, "PersistentData");
    bytes.extend_from_slice(b"\x93\x94)\x81\x94}\x94(");
    text(&mut bytes, "dimensionality");
    bytes.extend_from_slice(b"K\x18");
    text(&mut bytes, "total_elements_added");
    bytes.extend_from_slice(b"K\x01");
    text(&mut bytes, "max_seq_id");
    bytes.extend_from_slice(b"\x8a\x02\xe8\x03");
    text(&mut bytes, "id_to_label");
    bytes.extend_from_slice(b"}\x94");
    text(&mut bytes, "a");
    bytes.extend_from_slice(b"K\x01s");
    text(&mut bytes, "label_to_id");
    bytes.extend_from_slice(b"}\x94K\x01h\x0as");
    text(&mut bytes, "id_to_seq_id");
    bytes.extend_from_slice(b"}\x94ub.");
    bytes
}

#[test]
fn dictionaries_of_version_1_are_read() {
    let expected = (Some(24), None, vec![("a".to_owned(), 1), ("é".to_owned(), 65_536)]);
    assert_eq!(read(&of_version_1()), Ok(expected));
}

#[test]
fn objects_of_version_05_are_read() {
    assert_eq!(read(&of_version_05()), Ok((Some(24), Some(1_000), vec![("a".to_owned(), 1)])));
}

/// The classic attack: a pickle that calls `os.system`.
#[test]
fn a_pickle_that_calls_anything_is_refused() {
    assert_eq!(says(b"cos\nsystem\n(X\x02\x00\x00\x00idtR."), "class `os.system`, which is none of an index at byte 0");
    let reduce = says(b"\x80\x03NNR.");
    assert_eq!(reduce, "opcode 0x52, which a pickle of Chroma never holds at byte 4");
    for opcode in *b"RioQP\x82\x83\x84\x92\x96" {
        assert!(says(&[opcode, b'.']).starts_with("opcode 0x"), "{opcode:#x}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    for sound in [of_version_1(), of_version_05()] {
        for end in 0..sound.len() {
            assert!(read(&sound[..end]).is_err(), "{end} of {} bytes", sound.len());
        }
    }
}

/// A changed bit is an error, or another sound pickle: no checksum covers it. It never panics.
#[test]
fn every_changed_bit_is_an_error_or_labels() {
    for sound in [of_version_1(), of_version_05()] {
        let mut refused = 0;
        for at in 0..sound.len() {
            for bit in 0..8 {
                let mut changed = sound.clone();
                changed[at] ^= 1 << bit;
                match read(&changed) {
                    Ok((.., labels)) => assert!(labels.len() <= 2),
                    Err(reason) => {
                        assert!(!reason.is_empty());
                        refused += 1;
                    }
                }
            }
        }
        assert!(refused > sound.len() * 4, "{refused} of {} changes", sound.len() * 8);
    }
}

#[test]
fn maps_that_contradict_each_other_are_refused() {
    let sound = of_version_1();
    let at = sound.windows(4).position(|window| window == b"K\x01h\x01").unwrap();
    let mut changed = sound;
    changed[at + 1] = 2;
    assert!(says(&changed).contains("contradict"));
}

#[test]
fn bytes_behind_the_end_are_refused() {
    let error = says(&[of_version_1(), b"N.".to_vec()].concat());
    assert!(error.starts_with("bytes follow its end at byte "), "{error}");
}

#[test]
fn a_claimed_length_allocates_nothing() {
    for bytes in [
        &b"X\xff\xff\xff\xff"[..],
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"r\xff\xff\xff\xff",
        b"Nr\xff\xff\xff\xff.",
    ] {
        assert!(read(bytes).is_err());
    }
}

/// A pickler of another make writes all entries behind one mark. They were held on the stack.
#[test]
fn entries_behind_one_mark_take_no_memory() {
    let many = 3 * MAX_STACK as u32;
    let mut bytes = b"\x80\x03}(X\x0e\x00\x00\x00dimensionalityK\x02X\x0b\x00\x00\x00id_to_label}(".to_vec();
    for label in 0..many {
        bytes.extend_from_slice(b"X\x08\x00\x00\x00");
        bytes.extend_from_slice(format!("{label:08}").as_bytes());
        if label % 2 == 0 {
            bytes.push(b'r');
            bytes.extend_from_slice(&(label / 2).to_le_bytes());
        }
        bytes.push(b'J');
        bytes.extend_from_slice(&label.to_le_bytes());
    }
    bytes.extend_from_slice(b"uX\x0b\x00\x00\x00label_to_id}(");
    for label in 0..many {
        bytes.push(b'J');
        bytes.extend_from_slice(&label.to_le_bytes());
        if label % 2 == 0 {
            bytes.push(b'j');
            bytes.extend_from_slice(&(label / 2).to_le_bytes());
        } else {
            bytes.extend_from_slice(b"X\x08\x00\x00\x00");
            bytes.extend_from_slice(format!("{label:08}").as_bytes());
        }
    }
    bytes.extend_from_slice(b"uu.");
    let (dimension, _, labels) = read(&bytes).unwrap();
    assert_eq!((dimension, labels.len()), (Some(2), many as usize));
    assert!(labels.iter().all(|(id, label)| *id == format!("{label:08}")));
}
