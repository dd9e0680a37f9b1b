//! Chunks of items as ops.

use deltafold_format::{CollectionName, Op, OpRules, Revision};

use super::chunk::Chunk;
use super::error::RefusedItem;
use super::line::{Origin, key_of};
use crate::ingest::mapping::Mapping;

/// Items on their way to ops.
#[derive(Debug, Clone)]
pub(super) struct Mapper {
    pub(super) mapping: Mapping,
    pub(super) collection: CollectionName,
    pub(super) rules: OpRules,
    pub(super) origin: Origin,
    /// Goes on behind an item that is refused.
    pub(super) goes_on: bool,
}

/// The ops of a chunk.
#[derive(Debug, Default)]
pub(super) struct MappedChunk {
    /// Each with its position in the source.
    pub(super) ops: Vec<(u128, Op)>,
    /// Items read, also those that are skipped or refused.
    pub(super) items: u64,
    /// Items for which the mapping yields no op.
    pub(super) skipped: u64,
    /// Bytes of their texts.
    pub(super) bytes: usize,
    /// Refused items, by file and line. The last item of the chunk if the mapper does not go on.
    pub(super) refused: Vec<(usize, RefusedItem)>,
}

/// The position of an op of an item: file, number, and the op's place among those of the item.
fn position(file: usize, number: u64, op: usize) -> u128 {
    ((file as u128) << 80) | (u128::from(number) << 8) | (op as u128 & 0xff)
}

/// The file of a position.
pub(super) fn file_of(position: u128) -> usize {
    usize::try_from(position >> 80).unwrap_or(usize::MAX)
}

impl Mapper {
    /// Maps the items of a chunk, up to the first that is refused.
    pub(super) fn map(&self, chunk: &Chunk) -> MappedChunk {
        let mut mapped = MappedChunk { bytes: chunk.bytes(), ..MappedChunk::default() };
        for (number, text) in chunk.items() {
            mapped.items += 1;
            match self.item(text) {
                Ok(ops) => {
                    mapped.skipped += u64::from(ops.is_empty());
                    let positioned = ops.into_iter().enumerate();
                    mapped.ops.extend(positioned.map(|(op, one)| (position(chunk.file, number, op), one)));
                }
                Err((key, reason)) => {
                    let item = RefusedItem { file: String::new(), line: number, key, reason };
                    mapped.refused.push((chunk.file, item));
                    if !self.goes_on {
                        break;
                    }
                }
            }
        }
        mapped
    }

    /// The ops of an item, or its key and the reason why it has none.
    fn item(&self, text: &[u8]) -> Result<Vec<Op>, (String, String)> {
        let record = self.origin.record(text).map_err(|reason| (cut(text), reason))?;
        let refused = |reason: String| (key_of(&record), reason);
        let mapped = self.mapping.map(&self.collection, &record).map_err(|error| refused(error.to_string()))?;
        let revision = mapped.revision.filter(|_| self.rules.revisions).map(Revision::new);
        let ops: Vec<Op> = mapped.ops.into_iter().map(|op| Op { revision, ..op }).collect();
        for op in &ops {
            op.validate(self.rules).map_err(|error| refused(error.to_string()))?;
        }
        Ok(ops)
    }
}

/// The beginning of a text that cannot be read as an item.
fn cut(text: &[u8]) -> String {
    String::from_utf8_lossy(text.get(..40).unwrap_or(text)).chars().flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_ascend_with_files_lines_and_ops() {
        let all = [(0, 1, 0), (0, 1, 1), (0, 2, 0), (0, u64::MAX, 1), (1, 1, 0), (9_999_999, 1, 0)];
        let positions = all.map(|(file, number, op)| position(file, number, op));
        assert!(positions.is_sorted_by(|one, next| one < next), "{positions:?}");
        assert_eq!(positions.map(file_of), all.map(|(file, ..)| file));
    }
}
