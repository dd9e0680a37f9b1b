//! Every limit of the format, in one place. `format/SPEC.md`, section "Limits", gives the reason of
//! each.

/// Longest record id, in bytes of UTF-8. The shortest is one byte.
pub const MAX_ID_BYTES: usize = 1_024;
/// Largest embedding dimension. The smallest is 1.
pub const MAX_DIMENSION: usize = 65_536;
/// Longest document, in bytes of UTF-8.
pub const MAX_DOCUMENT_BYTES: usize = 16 << 20;
/// Most metadata keys of a record.
pub const MAX_METADATA_KEYS: usize = 1_024;
/// Longest metadata key, in bytes of UTF-8. The shortest is one byte.
pub const MAX_KEY_BYTES: usize = 256;
/// Most elements of a metadata list.
pub const MAX_LIST_LEN: usize = 65_536;
/// All metadata of one record: keys, strings and 8 bytes a number or a list element.
pub const MAX_METADATA_BYTES: usize = 4 << 20;

/// Highest sequence number: 2^44 - 1, which makes a [`Position`](crate::Position) fit 64 bits.
pub const MAX_SEQUENCE: u64 = (1 << 44) - 1;
/// Most ops of a segment: 2^20, the other 20 bits of a [`Position`](crate::Position).
pub const MAX_SEGMENT_OPS: usize = 1 << 20;
/// Most bytes of a segment's op rows before compression, and of its embedding rows.
pub const MAX_SEGMENT_SECTION_BYTES: usize = 64 << 20;
/// Most source marks of a segment.
pub const MAX_SEGMENT_MARKS: usize = 4_096;
/// Longest name of a source, in bytes of UTF-8.
pub const MAX_SOURCE_BYTES: usize = 256;

/// Most rows of a part's columns, and of an embedding object.
pub const MAX_PART_ROWS: usize = 65_536;
/// Limit on three sizes of a part, each in bytes before compression: its rows, metadata columns and
/// documents together; its revisions; its directory.
pub const MAX_PART_META_BYTES: usize = 512 << 20;
/// Most bytes of one block of documents before compression: the longest document, and 64 KiB.
pub const MAX_DOCUMENT_BLOCK_BYTES: usize = MAX_DOCUMENT_BYTES + (64 << 10);
/// Most bytes of the rows of one embedding object.
pub const MAX_EMBEDDING_OBJECT_BYTES: usize = 256 << 20;
/// Most bytes of a manifest before compression.
pub const MAX_MANIFEST_BYTES: usize = 64 << 20;
/// Most bytes of a register (head, collection).
pub const MAX_REGISTER_BYTES: usize = 64 << 10;
/// Most shards of a collection.
pub const MAX_SHARDS: u16 = 4_096;
/// Longest collection name.
pub const MAX_COLLECTION_NAME: usize = 128;
/// Longest name of a table that holds registers.
pub const MAX_TABLE_NAME: usize = 255;
/// Longest name of the region of such a table.
pub const MAX_REGION_NAME: usize = 64;
/// Longest name of a pin.
pub const MAX_PIN_NAME: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_the_longest_document_and_64_kib() {
        assert_eq!(MAX_DOCUMENT_BLOCK_BYTES, 16_842_752);
    }
}
