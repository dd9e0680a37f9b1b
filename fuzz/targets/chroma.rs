//! Indexes of Chroma: the header, the elements, the norms and the pickle of the labels. Any bytes
//! are an index or an error with its reason.
//!
//! An input is a byte that says whether there are norms, two lengths of 16 bits, the pickle, the
//! header, and the elements. The elements serve as norms, too.
#![no_main]

use deltafold::import::chroma::read_index;
use deltafold_fuzz::memory::Bounded;
use deltafold_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

/// A value of a pickle takes 24 bytes, and inputs have at most 8 KiB.
#[global_allocator]
static MEMORY: Bounded<{ 2 << 20 }> = Bounded;

fuzz_target!(init: seeds::write_if_asked(seeds), |input: &[u8]| {
    let Some(([norms, a, b, c, d], rest)) = input.split_first_chunk::<5>() else { return };
    let pickle_len = usize::from(u16::from_le_bytes([*a, *b])).min(rest.len());
    let (pickle, rest) = rest.split_at(pickle_len);
    let header_len = usize::from(u16::from_le_bytes([*c, *d])).min(rest.len());
    let (header, data) = rest.split_at(header_len);
    let norms = (norms % 2 == 1).then_some(data);
    let read = read_index(header, data, norms, pickle);
    assert_eq!(read.clone().ok(), read_index(header, data, norms, pickle).ok(), "an index depends on its bytes alone");
    match read {
        Ok(labels) => assert!(labels <= pickle.len()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

fn seeds() -> Vec<Vec<u8>> {
    let (header, data) = (header(2, 2), data());
    let pickles = [DICTIONARY.to_vec(), object()];
    let of = |norms: u8, pickle: &[u8]| {
        let lengths = [pickle.len(), header.len()].map(|len| u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes());
        [&[norms][..], &lengths.concat(), pickle, &header, &data].concat()
    };
    pickles.iter().flat_map(|pickle| [of(0, pickle), of(1, pickle)]).collect()
}

/// A dictionary of two labels, as Chroma 1.x writes it.
const DICTIONARY: &[u8] = b"\x80\x03}(X\x0e\x00\x00\x00dimensionalityK\x02X\x14\x00\x00\x00total_elements_addedK\x02\
X\x0a\x00\x00\x00max_seq_idNX\x0b\x00\x00\x00id_to_label}(X\x01\x00\x00\x00aJ\x01\x00\x00\x00X\x01\x00\x00\x00bK\x02u\
X\x0b\x00\x00\x00label_to_id}(K\x01X\x01\x00\x00\x00aM\x02\x00X\x01\x00\x00\x00bu\
X\x0c\x00\x00\x00id_to_seq_id}u.";

/// An object of one label, as Chroma 0.5 writes it.
fn object() -> Vec<u8> {
    let mut bytes = b"\x80\x05\x95\x00\x00\x00\x00\x00\x00\x00\x00".to_vec();
    let mut text = |text: &str, then: &[u8]| {
        bytes.push(0x8c);
        bytes.push(u8::try_from(text.len()).unwrap_or(0));
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0x94);
        bytes.extend_from_slice(then);
    };
    text("chromadb.segment.impl.vector.local_persistent_hnsw", b"");
    text("PersistentData", b"\x93\x94)\x81\x94}\x94(");
    text("dimensionality", b"K\x02");
    text("max_seq_id", b"\x8a\x02\xe8\x03");
    text("id_to_label", b"}\x94");
    text("a", b"K\x01s");
    text("label_to_id", b"}\x94K\x01h\x09sub.");
    bytes
}

/// A header for `count` elements of `dimension` numbers, with 2 neighbours each.
fn header(count: u64, dimension: u64) -> Vec<u8> {
    let vector_at = 4 + 2 * 4;
    let label_at = vector_at + 4 * dimension;
    let counts = [0, count, count, label_at + 8, label_at, vector_at].map(u64::to_le_bytes).concat();
    let graph = [1u64, 2, 1].map(u64::to_le_bytes).concat();
    [&1i32.to_le_bytes()[..], &counts, &[0; 8], &graph, &0.5f64.to_le_bytes(), &100u64.to_le_bytes()].concat()
}

/// Two elements of two numbers, the second one deleted.
fn data() -> Vec<u8> {
    let one = |label: u64, flags: u8, vector: [f32; 2]| {
        [&[1, 0, flags, 0][..], &[0; 8], &vector.map(f32::to_le_bytes).concat(), &label.to_le_bytes()].concat()
    };
    [one(1, 0, [1.5, -2.0]), one(2, 1, [0.0, 0.0])].concat()
}
