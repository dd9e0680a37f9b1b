//! The directory of a part by itself.

use super::column_summary::{BoolSummary, ColumnSummary};
use super::directory::{BlockEntry, ColumnEntry, Directory};
use super::values::BOOLS;
use crate::envelope::PieceSum;

const SUM: PieceSum = PieceSum { stored: 1, raw: 1, crc32: 0 };

fn block(documents: u32) -> BlockEntry {
    BlockEntry { first: 0, documents, sum: SUM, at: 0 }
}

fn column(key: &str, summary: Option<ColumnSummary>) -> ColumnEntry {
    ColumnEntry { key: key.to_owned(), kind: BOOLS, present: 1, elements: 1, summary, sum: SUM, at: 0 }
}

/// A rank behind the last document has no block. Ranks at both ends of a block have theirs.
#[test]
fn a_document_has_a_block_and_a_place_in_it() {
    let mut directory = Directory { columns: Vec::new(), blocks: vec![block(2), block(3)] };
    directory.blocks[1].first = 2;
    let places: Vec<_> = (0..6).map(|rank| directory.block_of(rank)).collect();
    let expected = [Some((0, 0)), Some((0, 1)), Some((1, 0)), Some((1, 1)), Some((1, 2)), None];
    assert_eq!(places, expected);
}

/// A column takes its entry, its key and three times the bytes of its summary; a block its entry.
#[test]
fn memory_of_a_directory_counts_columns_and_blocks() {
    let summary = ColumnSummary::Bools(BoolSummary { falses: 0, trues: 1 });
    let bytes = ColumnSummary::encoded(Some(&summary)).len();
    let columns = vec![column("four", None), column("eightkey", Some(summary))];
    let directory = Directory { columns, blocks: vec![block(1), block(1), block(1)] };
    let expected = 2 * size_of::<ColumnEntry>() + 4 + 8 + 3 * bytes + 3 * size_of::<BlockEntry>();
    assert_eq!(directory.memory_bytes(), expected);
}
