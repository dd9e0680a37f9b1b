use super::*;

/// A header for `count` elements of `dimension` numbers, with 2 neighbours each.
fn header(count: u64, dimension: u64) -> Vec<u8> {
    let vector_at = 4 + 2 * 4;
    let label_at = vector_at + 4 * dimension;
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for number in [0, count + 3, count, label_at + 8, label_at, vector_at] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&0i32.to_le_bytes());
    bytes.extend_from_slice(&0u32.to_le_bytes());
    for number in [1u64, 2, 1] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&0.5f64.to_le_bytes());
    bytes.extend_from_slice(&100u64.to_le_bytes());
    bytes
}

/// Elements of two numbers, the second one deleted.
fn data() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (label, flags, vector) in [(7u64, 0u8, [1.5f32, -2.0]), (8, DELETED, [0.0, 0.0]), (9, 0, [0.25, 4.0])] {
        bytes.extend_from_slice(&[1, 0, flags, 0]);
        bytes.extend_from_slice(&[0; 8]);
        vector.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        bytes.extend_from_slice(&label.to_le_bytes());
    }
    bytes
}

type Read = Vec<(Option<u64>, Vec<f32>)>;

fn read(header: &[u8], data: &[u8], norms: Option<&[u8]>) -> Result<Read, String> {
    let header = Header::parse(header)?;
    let elements = Elements::new(header, data, norms)?;
    let one = |element| -> io::Result<_> { Ok((elements.label(element)?, elements.vector(element)?)) };
    (0..header.count).map(one).collect::<io::Result<_>>().map_err(|error| error.to_string())
}

#[test]
fn elements_have_labels_and_vectors() {
    let expected = vec![(Some(7), vec![1.5, -2.0]), (None, vec![0.0, 0.0]), (Some(9), vec![0.25, 4.0])];
    assert_eq!(read(&header(3, 2), &data(), None), Ok(expected));
}

#[test]
fn norms_are_multiplied_in() {
    let norms: Vec<u8> = [2.0f32, 0.0, 4.0].iter().flat_map(|norm| norm.to_le_bytes()).collect();
    let found = read(&header(3, 2), &data(), Some(&norms)).unwrap();
    assert_eq!(found[0], (Some(7), vec![3.0, -4.0]));
    assert_eq!(found[2], (Some(9), vec![1.0, 16.0]));
}

#[test]
fn every_truncation_is_an_error() {
    let (header, data, norms) = (header(3, 2), data(), [0u8; 12]);
    for end in 0..header.len() {
        assert!(read(&header[..end], &data, None).is_err(), "header of {end} bytes");
    }
    for end in 0..data.len() {
        let why = read(&header, &data[..end], None).unwrap_err();
        assert!(why.contains("too few for 3 elements"), "data of {end} bytes: {why}");
    }
    for end in 0..norms.len() {
        let why = read(&header, &data, Some(&norms[..end])).unwrap_err();
        assert!(why.contains("too few for 3 norms"), "norms of {end} bytes: {why}");
    }
}

/// A changed byte of the header is an error, or it changes what nothing reads: the graph. A smaller
/// count is a shorter index, which the pickle notices.
#[test]
fn no_changed_byte_of_a_header_panics() {
    let (sound, data) = (header(3, 2), data());
    let expected = read(&sound, &data, None).unwrap();
    for at in 0..sound.len() {
        for bit in 0..8 {
            let mut changed = sound.clone();
            changed[at] ^= 1 << bit;
            assert!(at >= 4 || Header::parse(&changed).is_err(), "another version is refused");
            if let Ok(found) = read(&changed, &data, None) {
                assert_eq!(found, expected[..found.len()], "byte {at}, bit {bit}");
            }
        }
    }
}

/// A header may claim any size. Nothing is allocated before the file is known to be that long.
#[test]
fn claims_beyond_the_file_are_refused() {
    for (count, dimension) in [(u64::MAX - 3, 2), (u64::from(u32::MAX) + 1, 2), (4, 2), (1, 65_536), (1, u64::MAX / 8)]
    {
        let vector_at = 12u64;
        let label_at = vector_at.wrapping_add(dimension.wrapping_mul(4));
        let mut bytes = header(3, 2);
        bytes[12..20].copy_from_slice(&u64::MAX.to_le_bytes());
        bytes[20..28].copy_from_slice(&count.to_le_bytes());
        bytes[28..36].copy_from_slice(&label_at.wrapping_add(8).to_le_bytes());
        bytes[36..44].copy_from_slice(&label_at.to_le_bytes());
        assert!(read(&bytes, &data(), None).is_err(), "{count} elements of {dimension}");
    }
}
