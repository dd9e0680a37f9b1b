//! Chunks of items as ops.

use std::sync::Arc;

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
    /// Items to pass over, by the number of the file and the line, in order.
    pub(super) turned_away: Arc<[(u64, u64)]>,
}

/// The ops of a chunk.
#[derive(Debug, Default)]
pub(super) struct MappedChunk {
    /// The file's place in the manifest, counted from 0.
    pub(super) file: usize,
    /// Each with its position in the source.
    pub(super) ops: Vec<(u128, Op)>,
    /// Items read, also those that are skipped or refused.
    pub(super) items: u64,
    /// Items for which the mapping yields no op.
    pub(super) skipped: u64,
    /// Bytes of their texts.
    pub(super) bytes: usize,
    /// Refused items, without the names of their files.
    pub(super) refused: Vec<RefusedItem>,
    /// For each of them the numbers of items and of skipped items up to it.
    up_to: Vec<(u64, u64)>,
}

impl MappedChunk {
    /// Cuts the chunk in front of the refused item with this index, and returns that item. `None`
    /// where there is none.
    pub(super) fn cut(&mut self, index: usize) -> Option<RefusedItem> {
        let (items, skipped) = *self.up_to.get(index)?;
        let item = self.refused.drain(index..).next()?;
        let from = position(self.file, item.line, 0);
        self.ops.retain(|(position, _)| *position < from);
        (self.items, self.skipped) = (items, skipped);
        Some(item)
    }
}

/// The number of a file for people.
fn number_of(file: usize) -> u64 {
    file as u64 + 1
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
    /// Maps the items of a chunk.
    pub(super) fn map(&self, chunk: &Chunk) -> MappedChunk {
        let mut mapped = MappedChunk { file: chunk.file, bytes: chunk.bytes(), ..MappedChunk::default() };
        for (number, text) in chunk.items() {
            mapped.items += 1;
            if self.turned_away.binary_search(&(number_of(chunk.file), number)).is_ok() {
                continue;
            }
            match self.item(text) {
                Ok(ops) => {
                    mapped.skipped += u64::from(ops.is_empty());
                    let positioned = ops.into_iter().enumerate();
                    mapped.ops.extend(positioned.map(|(op, one)| (position(chunk.file, number, op), one)));
                }
                Err(Refusal { key, field, reason }) => {
                    let (file, file_number) = (String::new(), number_of(chunk.file));
                    let text = text.to_vec();
                    mapped.refused.push(RefusedItem { file, file_number, line: number, key, field, reason, text });
                    mapped.up_to.push((mapped.items, mapped.skipped));
                }
            }
        }
        mapped
    }

    /// The ops of an item.
    fn item(&self, text: &[u8]) -> Result<Vec<Op>, Refusal> {
        let unread = |reason| Refusal { key: cut(text), field: None, reason };
        let record = self.origin.record(text).map_err(unread)?;
        let refused =
            |field: Option<&str>, reason| Refusal { key: key_of(&record), field: field.map(str::to_owned), reason };
        let mapped = self.mapping.map(&self.collection, &record);
        let mapped = mapped.map_err(|error| refused(error.attribute(), error.to_string()))?;
        let revision = mapped.revision.filter(|_| self.rules.revisions).map(Revision::new);
        let ops: Vec<Op> = mapped.ops.into_iter().map(|op| Op { revision, ..op }).collect();
        for op in &ops {
            op.validate(self.rules).map_err(|error| refused(Some(error.field()), error.to_string()))?;
        }
        Ok(ops)
    }
}

/// The reason why an item has no ops.
struct Refusal {
    key: String,
    field: Option<String>,
    reason: String,
}

/// The beginning of a text that cannot be read as an item.
fn cut(text: &[u8]) -> String {
    String::from_utf8_lossy(text.get(..40).unwrap_or(text)).chars().flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A caller that keeps only some of the refused items ends the backfill in front of the next.
    #[test]
    fn a_chunk_is_cut_in_front_of_a_refused_item() {
        let put = |line| {
            let change = Op::put("x", Default::default());
            (position(2, line, 0), change)
        };
        let item = |line| RefusedItem {
            file: String::new(),
            file_number: 3,
            line,
            key: String::new(),
            field: None,
            reason: String::new(),
            text: Vec::new(),
        };
        let mut chunk = MappedChunk {
            file: 2,
            ops: [1, 3, 5].map(put).to_vec(),
            items: 6,
            skipped: 1,
            bytes: 0,
            refused: [2, 4].map(item).to_vec(),
            up_to: vec![(2, 0), (4, 0)],
        };
        assert_eq!(chunk.cut(2), None);
        assert_eq!(chunk.cut(1).map(|item| item.line), Some(4));
        assert_eq!((chunk.ops.len(), chunk.items, chunk.skipped, chunk.refused.len()), (2, 4, 0, 1));
    }

    #[test]
    fn positions_ascend_with_files_lines_and_ops() {
        let all = [(0, 1, 0), (0, 1, 1), (0, 2, 0), (0, u64::MAX, 1), (1, 1, 0), (9_999_999, 1, 0)];
        let positions = all.map(|(file, number, op)| position(file, number, op));
        assert!(positions.is_sorted_by(|one, next| one < next), "{positions:?}");
        assert_eq!(positions.map(file_of), all.map(|(file, ..)| file));
    }
}
