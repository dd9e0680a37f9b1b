//! Parts, `.meta` and `.emb`. A decoded part can be built again, row by row and by copying rows,
//! and is then the same. Every accessor agrees with the others.
#![no_main]

use std::ops::Range;

use bytes::Bytes;
use deltafold::format::{
    Effect, EmbeddingBuilder, EmbeddingRef, Embeddings, Form, ObjectKind, PartBuilder, PartMeta, PartPiece, Position,
    Rotation, embedding_object_rows, limits,
};
use deltafold_fuzz::memory::Bounded;
use deltafold_fuzz::{mutation, object, seeds};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};

#[global_allocator]
static MEMORY: Bounded<{ limits::MAX_PART_META_BYTES }> = Bounded;

fuzz_target!(init: seeds::write_if_asked(seeds), |input: &[u8]| -> Corpus {
    let Some((which, input)) = input.split_first() else { return Corpus::Reject };
    let is_object = match which % 2 {
        0 => check_meta(object::from_input(ObjectKind::PartMeta, input)),
        _ => check_embeddings(object::from_input(ObjectKind::Embeddings, input)),
    };
    mutation::kept(input.first(), is_object)
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutation::mutated(data, size, max_size, seed)
});

fn seeds() -> Vec<Vec<u8>> {
    let input = |object: Bytes| -> Vec<Vec<u8>> {
        let which = match object::kind(&object) {
            Some(ObjectKind::PartMeta) => 0,
            Some(ObjectKind::Embeddings) => 1,
            _ => return Vec::new(),
        };
        object::to_inputs(&object).into_iter().map(|input| [&[which], &input[..]].concat()).collect()
    };
    seeds::golden().into_iter().chain(seeds::objects()).flat_map(input).collect()
}

/// Whether the object is a part.
fn check_meta(object: Bytes) -> bool {
    let Ok(part) = PartMeta::decode(object.clone()) else { return false };
    assert!(part.rows() > 0);
    check_pieces(&part, &object);
    let mut pushed = PartBuilder::new();
    let mut copied = PartBuilder::new();
    for row in 0..part.rows() {
        check_row(&part, row);
        pushed.push_effect(part.id(row), &effect(&part, row)).expect("a row that was read can be written");
        copied.copy_row(&part, row, None).expect("a row that was read can be copied");
    }
    assert!(part.id(part.rows()).is_empty() && part.is_tombstone(part.rows()), "behind the last there is none");
    for builder in [pushed, copied] {
        let built = builder.finish().expect("a part that was read can be written");
        let other = PartMeta::decode(built.object.to_bytes()).expect("written bytes can be read");
        assert_eq!(other.rows(), part.rows());
        assert_eq!((other.resolved(), other.has_revisions()), (part.resolved(), part.has_revisions()));
        assert_eq!((other.absent(), built.absent), (part.absent(), part.absent()));
        assert!(other.references().eq(part.references()) && part.references().eq(built.references));
        assert_eq!((built.min_id.as_str(), built.max_id.as_str()), (part.id(0), part.id(part.rows() - 1)));
        for row in 0..part.rows() {
            assert_eq!(other.id(row), part.id(row));
            assert_eq!(effect(&other, row), effect(&part, row));
            assert_eq!(other.outline(row), part.outline(row));
        }
    }
    true
}

fn effect(part: &PartMeta, row: usize) -> Effect<EmbeddingRef> {
    part.effect(row).expect("all of the part is loaded")
}

/// Checks that a part loaded piece by piece equals the part loaded at once.
fn check_pieces(whole: &PartMeta, object: &Bytes) {
    let bytes = |range: Range<u64>| {
        let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).expect("the object is in memory"));
        object.slice(start..end)
    };
    let mut part = PartMeta::open(bytes(0..whole.front_bytes())).expect("the front is sound");
    let pieces: Vec<PartPiece> = part.unloaded_columns().chain(part.unloaded_documents()).collect();
    for piece in pieces {
        part = part.with([(piece, bytes(part.range(piece)))]).expect("each piece is sound");
    }
    for row in 0..whole.rows() {
        assert_eq!(part.effect(row), whole.effect(row));
    }
}

fn check_row(part: &PartMeta, row: usize) {
    assert_eq!(part.find(part.id(row)), Ok(row));
    let form = part.form(row);
    assert_eq!(form == Form::Revised, part.has_revisions());
    assert_eq!(part.is_tombstone(row), form == Form::Delete);
    assert!(!part.renewed(row) || form == Form::Put);
    assert!(!part.resolved() || part.has_revisions() || form == Form::Put);
    let without_record = matches!(form, Form::Delete | Form::Patch | Form::Revised);
    assert_eq!(part.inserted(row) == Position::ZERO, without_record);
    match effect(part, row) {
        Effect::Revision(revised) => assert_eq!(part.revised(row), Ok(Some(revised))),
        Effect::Log(transition) => assert_eq!(part.transition(row), Ok(transition)),
    }
    if let Some(reference) = part.embedding_ref(row) {
        assert!(part.references().any(|(object, count)| object == reference.object && count > 0));
    }
}

/// Whether the object is an embedding object.
fn check_embeddings(object: Bytes) -> bool {
    let Ok(embeddings) = Embeddings::open(object.clone()) else { return false };
    let (dimension, rows) = (embeddings.dimension(), embeddings.rows());
    let sound = embeddings.verify_all().is_ok();
    let read: Vec<_> = (0..rows).map(|row| embeddings.row(row)).collect();
    assert!(embeddings.row(rows).is_err(), "there is no such row");
    for row in read.iter().flatten() {
        assert!(row.len() == dimension as usize && row.iter().all(|number| number.is_finite()));
    }
    if !sound || rows > embedding_object_rows(dimension) {
        return sound;
    }
    let mut builder = EmbeddingBuilder::new(Rotation::new(dimension, embeddings.rotation()));
    for (number, row) in (0..).zip(&read) {
        let row = row.as_ref().expect("all of it was verified");
        assert_eq!(builder.push(row), number);
    }
    let built = builder.finish().expect("rows that were read can be written");
    let other = Embeddings::open(built.object.to_bytes()).expect("written bytes can be read");
    other.verify_all().expect("the written object is sound");
    assert_eq!((other.dimension(), other.rows(), built.rows), (dimension, rows, rows));
    for row in 0..rows {
        let codes = |from: &Embeddings| {
            from.codes(row).map(|codes| (codes.signs.to_vec(), codes.bytes.to_vec(), codes.factors)).ok()
        };
        assert_eq!(codes(&other), codes(&embeddings));
    }
    let encoded = built.object.to_bytes();
    for id in 1..=9 {
        assert_eq!(object::section(&encoded, id), object::section(&object, id), "one value has one encoding");
    }
    let bits = |row: &[f32]| row.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
    for (number, row) in (0..).zip(read.iter().flatten()) {
        assert_eq!(other.row(number).map(|other| bits(&other)).ok(), Some(bits(row)));
    }
    true
}
