//! The columns of a part as they are archived. `format/SPEC.md`, section "Part", describes each.

use rkyv::rend::{u32_le, u64_le};
use rkyv::{Archive, Serialize};

/// All columns. A *payload* is a record or a patch: row `i` has payload `i`, and the k-th `Split` row has payload `rows + k` too.
#[derive(Debug, Default, Archive, Serialize)]
pub(super) struct Columns {
    /// Ascending, one a row.
    pub(super) ids: Texts,
    /// One a row: a form, and [`RENEWED`].
    pub(super) forms: Vec<u8>,
    /// The `Split` rows, ascending.
    pub(super) splits: Vec<u32>,
    /// Packed positions, one a payload; 0 for none.
    pub(super) inserted: Vec<u64>,
    /// Packed positions, one a payload; 0 for none.
    pub(super) changed: Vec<u64>,
    /// Payloads that set a document, and the documents in their order.
    pub(super) documents: Presence,
    pub(super) texts: Texts,
    /// Payloads that clear the document, ascending.
    pub(super) documents_cleared: Vec<u32>,
    /// Versions and nonces of the embedding objects referred to, ascending.
    pub(super) object_versions: Vec<u64>,
    pub(super) object_nonces: Vec<u64>,
    /// One a payload: [`KEEP`], [`CLEAR`], or the number of an object plus [`FIRST_OBJECT`].
    pub(super) embedding_objects: Vec<u32>,
    /// One a payload: the row in the object.
    pub(super) embedding_rows: Vec<u32>,
    /// Ascending by key and type.
    pub(super) keys: Vec<KeyColumn>,
}

/// In a form: the record of a `Put` row was inserted after a delete.
pub(super) const RENEWED: u8 = 0x80;
/// No embedding in a record, no change of it in a patch.
pub(super) const KEEP: u32 = 0;
/// The patch removes the embedding.
pub(super) const CLEAR: u32 = 1;
/// The number of the first embedding object.
pub(super) const FIRST_OBJECT: u32 = 2;

/// Texts one behind the other; text `i` lies between offsets `i` and `i + 1`.
#[derive(Debug, Default, Archive, Serialize)]
pub(super) struct Texts {
    pub(super) offsets: Vec<u32>,
    pub(super) bytes: Vec<u8>,
}

/// Which payloads a column has values for.
#[derive(Debug, Default, Archive, Serialize)]
pub(super) enum Presence {
    /// All of them.
    #[default]
    All,
    /// Bit `i % 64` of word `i / 64` is payload `i`; `ranks[k]` is the number of bits set before word `8 k`.
    Bits { words: Vec<u64>, ranks: Vec<u32> },
    /// These, ascending.
    Rows(Vec<u32>),
}

/// The values of one metadata key that are of one type.
#[derive(Debug, Archive, Serialize)]
pub(super) struct KeyColumn {
    pub(super) key: String,
    pub(super) presence: Presence,
    pub(super) values: Values,
}

/// Values of one type, those of the payloads present, in order.
#[derive(Debug, Archive, Serialize)]
pub(super) enum Values {
    /// The patch removes the key: no values.
    Removed,
    Strings(Texts),
    I64s(Vec<i64>),
    F64s(Vec<f64>),
    /// 0 or 1.
    Bools(Vec<u8>),
    /// List `i` is texts `ends[i - 1]..ends[i]`.
    StringLists {
        ends: Vec<u32>,
        items: Texts,
    },
    I64Lists {
        ends: Vec<u32>,
        items: Vec<i64>,
    },
    F64Lists {
        ends: Vec<u32>,
        items: Vec<f64>,
    },
    BoolLists {
        ends: Vec<u32>,
        items: Vec<u8>,
    },
}

/// The number of a type, by which columns of one key are sorted.
impl ArchivedValues {
    pub(super) fn type_number(&self) -> u8 {
        match self {
            Self::Removed => 0,
            Self::Strings(_) => 1,
            Self::I64s(_) => 2,
            Self::F64s(_) => 3,
            Self::Bools(_) => 4,
            Self::StringLists { .. } => 5,
            Self::I64Lists { .. } => 6,
            Self::F64Lists { .. } => 7,
            Self::BoolLists { .. } => 8,
        }
    }
}

/// How many types of column there are.
pub(super) const TYPES: usize = 9;

/// Element `i`, 0 where there is none: callers pass only what was checked.
pub(super) fn u32_at(column: &[u32_le], i: usize) -> u32 {
    column.get(i).map_or(0, |value| value.to_native())
}

/// Element `i`, 0 where there is none: callers pass only what was checked.
pub(super) fn u64_at(column: &[u64_le], i: usize) -> u64 {
    column.get(i).map_or(0, |value| value.to_native())
}

impl Texts {
    pub(super) fn new() -> Self {
        Self { offsets: vec![0], bytes: Vec::new() }
    }

    pub(super) fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        // Columns are cut long before 4 GiB; an offset beyond would be refused when the part is finished.
        self.offsets.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }
}

impl ArchivedTexts {
    /// How many texts there are.
    pub(super) fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Text `i`, empty where there is none: callers pass only what was checked.
    pub(super) fn get(&self, i: usize) -> &str {
        let (start, end) = (u32_at(&self.offsets, i) as usize, u32_at(&self.offsets, i + 1) as usize);
        let bytes = self.bytes.get(start..end).unwrap_or_default();
        // Checked on decoding: all bytes are UTF-8, and all offsets lie on its boundaries.
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl Presence {
    /// The smallest form of `rows` (ascending) among `payloads`.
    pub(super) fn of(rows: Vec<u32>, payloads: usize) -> Self {
        if rows.len() == payloads {
            return Self::All;
        }
        if rows.len() * 4 <= payloads / 8 {
            return Self::Rows(rows);
        }
        let mut words = vec![0_u64; payloads.div_ceil(64)];
        for row in rows {
            if let Some(word) = words.get_mut(row as usize / 64) {
                *word |= 1 << (row % 64);
            }
        }
        let mut before = 0;
        let ranks = words
            .chunks(8)
            .map(|chunk| {
                let rank = before;
                before += chunk.iter().map(|word| word.count_ones()).sum::<u32>();
                rank
            })
            .collect();
        Self::Bits { words, ranks }
    }
}

impl ArchivedPresence {
    /// The number of the value of `payload`, if it has one.
    pub(super) fn rank(&self, payload: usize) -> Option<usize> {
        match self {
            Self::All => Some(payload),
            Self::Rows(rows) => {
                let payload = u32::try_from(payload).ok()?;
                rows.binary_search_by_key(&payload, |row| row.to_native()).ok()
            }
            Self::Bits { words, ranks } => {
                let word = payload / 64;
                let bits = u64_at(words, word);
                if bits >> (payload % 64) & 1 == 0 {
                    return None;
                }
                let before = words.get(word / 8 * 8..word).unwrap_or_default();
                let before: u32 = before.iter().map(|word| word.to_native().count_ones()).sum();
                let within = (bits & ((1 << (payload % 64)) - 1)).count_ones();
                Some((u32_at(ranks, word / 8) + before + within) as usize)
            }
        }
    }

    /// How many payloads have a value.
    pub(super) fn count(&self, payloads: usize) -> usize {
        match self {
            Self::All => payloads,
            Self::Rows(rows) => rows.len(),
            Self::Bits { words, .. } => words.iter().map(|word| word.to_native().count_ones() as usize).sum(),
        }
    }

    /// The payloads that have a value, ascending.
    pub(super) fn for_each(&self, payloads: usize, mut each: impl FnMut(usize)) {
        match self {
            Self::All => (0..payloads).for_each(each),
            Self::Rows(rows) => rows.iter().for_each(|row| each(row.to_native() as usize)),
            Self::Bits { words, .. } => {
                for (number, word) in words.iter().enumerate() {
                    let mut bits = word.to_native();
                    while bits != 0 {
                        each(number * 64 + bits.trailing_zeros() as usize);
                        bits &= bits - 1;
                    }
                }
            }
        }
    }
}
