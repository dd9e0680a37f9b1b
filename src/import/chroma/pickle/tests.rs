use super::*;

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
    let expected = Labels { dimension: Some(24), max_seq_id: None, labels: vec![("a", 1), ("é", 65_536)] };
    assert_eq!(labels(&of_version_1()), Ok(expected));
}

#[test]
fn objects_of_version_05_are_read() {
    let expected = Labels { dimension: Some(24), max_seq_id: Some(1_000), labels: vec![("a", 1)] };
    assert_eq!(labels(&of_version_05()), Ok(expected));
}

/// The classic attack: a pickle that calls `os.system`.
#[test]
fn a_pickle_that_calls_anything_is_refused() {
    let says = |bytes: &[u8]| labels(bytes).unwrap_err().to_string();
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
            assert!(labels(&sound[..end]).is_err(), "{end} of {} bytes", sound.len());
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
                match labels(&changed) {
                    Ok(found) => assert!(found.labels.len() <= 2),
                    Err(error) => {
                        assert!(!error.to_string().is_empty());
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
    assert!(labels(&changed).unwrap_err().to_string().contains("contradict"));
}

#[test]
fn bytes_behind_the_end_are_refused() {
    let error = labels(&[of_version_1(), b"N.".to_vec()].concat()).unwrap_err().to_string();
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
        assert!(labels(bytes).is_err());
    }
}
