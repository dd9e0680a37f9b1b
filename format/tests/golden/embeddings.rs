//! Embedding objects.

use bytes::Bytes;
use deltafold_format::{
    EmbeddingBuilder, Embeddings, Envelope, FormatError, FormatErrorKind as Kind, ObjectKind, Rotation,
};

use crate::kept::{flipped, golden, survives};
use crate::registers::collection;

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
