//! The columns of a part in place, to read single fields of many rows without composing records.

use super::numbers::u32_at;
use super::presence::{ALL, ArchivedPresence, BITS};
use super::rows::ArchivedTexts;
use super::values::{ArchivedValues, BOOL, BOOLS, F64, F64S, I64, I64S, REMOVED, STRING, STRINGS};
use super::{DOCUMENTS, PartMeta, VALUES};
use crate::error::FormatError;

/// The values of one type under one metadata key. No row has values in two columns of a key.
///
/// The values lie one behind the other. The value of row `i` lies at `rows().rank(i)`.
#[derive(Clone, Copy)]
pub struct MetadataColumn<'a> {
    column: &'a ArchivedValues,
    payloads: usize,
}

/// The elements of a metadata column: its values, or the elements of its lists one behind the
/// other.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Elements<'a> {
    /// Texts.
    Strings(Texts<'a>),
    /// Integers.
    I64s(Integers<'a>),
    /// Finite floats.
    F64s(Floats<'a>),
    /// Booleans: 0 or 1.
    Bools(&'a [u8]),
}

/// The range of each list among the elements of a column of lists.
#[derive(Clone, Copy)]
pub struct Lists<'a>(&'a [rkyv::rend::u32_le]);

/// A column of texts.
#[derive(Clone, Copy)]
pub struct Texts<'a>(&'a ArchivedTexts);

/// A column of integers.
#[derive(Clone, Copy)]
pub struct Integers<'a>(&'a [rkyv::rend::u64_le]);

/// A column of floats.
#[derive(Clone, Copy)]
pub struct Floats<'a>(&'a [rkyv::rend::u64_le]);

/// The rows with a value in a column.
#[derive(Clone, Copy)]
pub struct PresentRows<'a> {
    presence: &'a ArchivedPresence,
    payloads: usize,
}

/// Columns. They hold the fields that each row's record or patch sets. That is the whole record for
/// a `Put` row, and for a row with revisions in the oldest run. A `Split` row shows the record of
/// the absent case.
impl PartMeta {
    /// The metadata keys that some row sets or removes, ascending.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        // A key has an entry for each type of its values.
        let columns = &self.directory().columns;
        columns.chunk_by(|a, b| a.key == b.key).filter_map(|same| same.first()).map(|column| column.key.as_str())
    }

    /// The columns of a metadata key, one a type; none if no row sets it.
    ///
    /// # Errors
    ///
    /// `NotLoaded` if one of them is not loaded.
    pub fn metadata_columns(&self, key: &str) -> Result<Vec<MetadataColumn<'_>>, FormatError> {
        let range = self.directory().columns_of(key);
        let entries = self.directory().columns.get(range.clone()).unwrap_or_default();
        let columns = entries.iter().zip(self.columns.get(range).unwrap_or_default());
        let set = columns.filter(|(entry, _)| entry.kind != REMOVED).map(|(_, column)| {
            let column = column.as_ref().ok_or_else(|| FormatError::not_loaded(VALUES.name))?;
            Ok(MetadataColumn { column: column.get(), payloads: self.payloads() })
        });
        set.collect()
    }

    /// The rows that set a document.
    pub fn document_rows(&self) -> PresentRows<'_> {
        PresentRows { presence: &self.archive().documents, payloads: self.payloads() }
    }

    /// The document that a row sets.
    ///
    /// # Errors
    ///
    /// `NotLoaded` if its block is not loaded.
    pub fn document_of(&self, row: usize) -> Result<Option<&str>, FormatError> {
        let Some(rank) = self.document_rows().rank(row).filter(|_| row < self.rows()) else { return Ok(None) };
        // The check proved that presence and blocks have the same documents.
        let Some((number, within)) = self.directory().block_of(rank) else { return Ok(None) };
        match self.blocks.get(number).and_then(Option::as_ref) {
            Some(block) => Ok(Some(block.get().get(within))),
            None => Err(FormatError::not_loaded(DOCUMENTS.name)),
        }
    }

    pub(super) fn payloads(&self) -> usize {
        self.front.checked.payloads.count
    }
}

impl<'a> MetadataColumn<'a> {
    /// The rows with a value in this column.
    pub fn rows(&self) -> PresentRows<'a> {
        PresentRows { presence: &self.column.presence, payloads: self.payloads }
    }

    /// The values, or the elements of lists.
    pub fn elements(&self) -> Elements<'a> {
        match self.column.kind.to_native() {
            STRING | STRINGS => Elements::Strings(Texts(&self.column.texts)),
            I64 | I64S => Elements::I64s(Integers(&self.column.numbers)),
            F64 | F64S => Elements::F64s(Floats(&self.column.numbers)),
            // The only other type is REMOVED, which is never a column here.
            BOOL | BOOLS => Elements::Bools(&self.column.texts.bytes),
            _ => Elements::Bools(&[]),
        }
    }

    /// The ranges of the lists, in a column of lists.
    pub fn lists(&self) -> Option<Lists<'a>> {
        (self.column.kind.to_native() >= STRINGS).then(|| Lists(&self.column.ends))
    }
}

impl Elements<'_> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Strings(texts) => texts.len(),
            Self::I64s(numbers) => numbers.len(),
            Self::F64s(numbers) => numbers.len(),
            Self::Bools(bools) => bools.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Lists<'_> {
    /// Number of lists.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The range of the elements of list `i`; empty if there is no such list.
    pub fn elements_of(&self, i: usize) -> std::ops::Range<usize> {
        if i >= self.len() {
            return 0..0;
        }
        let start = i.checked_sub(1).map_or(0, |before| u32_at(self.0, before));
        start as usize..u32_at(self.0, i) as usize
    }
}

impl<'a> Texts<'a> {
    /// Number of texts.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Text `i`; empty out of range. Checks its UTF-8; comparing bytes is cheaper.
    pub fn get(&self, i: usize) -> &'a str {
        self.0.get(i)
    }

    /// The bytes of text `i`; empty out of range.
    pub fn bytes_of(&self, i: usize) -> &'a [u8] {
        self.0.bytes_of(i)
    }

    /// Bytes of all texts together.
    pub fn total_bytes(&self) -> usize {
        self.0.bytes.len()
    }
}

impl<'a> Integers<'a> {
    /// Number of integers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number `i`.
    pub fn get(&self, i: usize) -> Option<i64> {
        self.0.get(i).map(|bits| bits.to_native().cast_signed())
    }

    /// All of them in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = i64> + use<'a> {
        self.0.iter().map(|bits| bits.to_native().cast_signed())
    }
}

impl<'a> Floats<'a> {
    /// Number of floats.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number `i`.
    pub fn get(&self, i: usize) -> Option<f64> {
        self.0.get(i).map(|bits| f64::from_bits(bits.to_native()))
    }

    /// All of them in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = f64> + use<'a> {
        self.0.iter().map(|bits| f64::from_bits(bits.to_native()))
    }
}

impl PresentRows<'_> {
    /// Number of values. In a part with `Split` rows it includes the values of their patches.
    pub fn count(&self) -> usize {
        self.presence.count(self.payloads)
    }

    /// The place of a row's value among all values, if it has one.
    pub fn rank(&self, row: usize) -> Option<usize> {
        if row < self.payloads { self.presence.rank(row) } else { None }
    }

    /// Sets the bit of each row whose value is chosen. `ranks` has a bit for each value, `rows` one
    /// for each row of the part. Bit `i % 64` of word `i / 64` is number `i`.
    pub fn spread(&self, ranks: &[u64], rows: &mut [u64]) {
        match self.presence.kind.to_native() {
            ALL => rows.iter_mut().zip(ranks).for_each(|(row, rank)| *row |= rank),
            BITS => {
                let mut rank = 0;
                for (row, present) in rows.iter_mut().zip(self.presence.words.iter()) {
                    let present = present.to_native();
                    let count = present.count_ones();
                    *row |= deposit(bits_at(ranks, rank), present);
                    rank += count as usize;
                }
            }
            _ => {
                for (rank, row) in self.presence.listed.iter().enumerate() {
                    let row = row.to_native() as usize;
                    if bits_at(ranks, rank) & 1 == 1
                        && let Some(word) = rows.get_mut(row / 64)
                    {
                        *word |= 1 << (row % 64);
                    }
                }
            }
        }
    }
}

/// 64 bits from bit `at` on. Bits behind the last word are 0.
fn bits_at(words: &[u64], at: usize) -> u64 {
    let word = |i: usize| words.get(i).copied().unwrap_or(0);
    let (i, shift) = (at / 64, at % 64);
    if shift == 0 { word(i) } else { word(i) >> shift | word(i + 1) << (64 - shift) }
}

/// Moves the low bits, in order, to the places of the bits set in `mask`.
fn deposit(bits: u64, mut mask: u64) -> u64 {
    if mask == u64::MAX {
        return bits;
    }
    let (mut left, mut out) = (bits, 0);
    while mask != 0 && left != 0 {
        let lowest = mask & mask.wrapping_neg();
        if left & 1 == 1 {
            out |= lowest;
        }
        left >>= 1;
        mask ^= lowest;
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::presence::Presence;
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn chosen_values_become_their_rows(
            payloads in 1..400_usize,
            density in 0..=64_u32,
            chosen in 0..=64_u32,
            seed in any::<u64>(),
        ) {
            let mut state = seed | 1;
            let mut draw = || {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (state >> 58) as u32
            };
            let present: Vec<u32> = (0..payloads as u32).filter(|_| draw() < density).collect();
            let ranks: Vec<bool> = present.iter().map(|_| draw() < chosen).collect();
            let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&Presence::of(present.clone(), payloads)).unwrap();
            let presence = rkyv::access::<ArchivedPresence, rkyv::rancor::Error>(&bytes).unwrap();
            let rows = PresentRows { presence, payloads };
            let mut words = vec![0_u64; ranks.len().div_ceil(64)];
            for (rank, chosen) in ranks.iter().enumerate() {
                words[rank / 64] |= u64::from(*chosen) << (rank % 64);
            }
            let mut found = vec![0_u64; payloads.div_ceil(64)];
            rows.spread(&words, &mut found);
            for payload in 0..payloads {
                let rank = present.binary_search(&(payload as u32)).ok();
                prop_assert_eq!(rows.rank(payload), rank);
                let expected = rank.is_some_and(|rank| ranks[rank]);
                prop_assert_eq!(found[payload / 64] >> (payload % 64) & 1 == 1, expected, "payload {}", payload);
            }
            prop_assert_eq!(rows.rank(payloads), None);
        }
    }
}
