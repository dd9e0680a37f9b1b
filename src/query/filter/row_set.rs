//! Sets of rows of a part.

/// A set of rows of one part, a bit each. Sets combine word by word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSet {
    /// Bit `i % 64` of word `i / 64` is row `i`. No bit behind the last row is set.
    words: Vec<u64>,
    rows: usize,
}

impl RowSet {
    /// The empty set, for a part of `rows` rows.
    pub fn none(rows: usize) -> Self {
        Self { words: vec![0; rows.div_ceil(64)], rows }
    }

    /// All rows of a part of `rows` rows.
    pub fn all(rows: usize) -> Self {
        Self::from_words(vec![u64::MAX; rows.div_ceil(64)], rows)
    }

    /// The rows whose bits are set: bit `i % 64` of word `i / 64` is row `i`. Bits beyond the
    /// part's rows are cleared.
    pub fn from_words(mut words: Vec<u64>, rows: usize) -> Self {
        words.resize(rows.div_ceil(64), 0);
        if let Some(last) = words.last_mut()
            && !rows.is_multiple_of(64)
        {
            *last &= (1 << (rows % 64)) - 1;
        }
        Self { words, rows }
    }

    /// The bits: bit `i % 64` of word `i / 64` is row `i`.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Number of rows of the part.
    pub fn part_rows(&self) -> usize {
        self.rows
    }

    /// Adds a row of the part.
    pub fn insert(&mut self, row: usize) {
        if row < self.rows
            && let Some(word) = self.words.get_mut(row / 64)
        {
            *word |= 1 << (row % 64);
        }
    }

    /// Whether a row is in the set.
    pub fn contains(&self, row: usize) -> bool {
        self.words.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Number of rows in the set.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no row is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The rows in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            let next = |bits: &u64| (*bits & (bits - 1) != 0).then(|| bits & (bits - 1));
            let first = (*word != 0).then_some(*word);
            std::iter::successors(first, next).map(move |bits| i * 64 + bits.trailing_zeros() as usize)
        })
    }

    /// The same rows in sets of at most `most`, in order.
    pub fn chunks(&self, most: usize) -> impl Iterator<Item = Self> {
        let mut rows = self.iter();
        std::iter::from_fn(move || {
            let mut chunk = Self::none(self.rows);
            rows.by_ref().take(most).for_each(|row| chunk.insert(row));
            (!chunk.is_empty()).then_some(chunk)
        })
    }

    /// Keeps the rows that are also in `other`.
    pub fn retain(&mut self, other: &Self) {
        self.combine(other, |a, b| a & b);
    }

    /// Adds the rows of `other`.
    pub fn extend(&mut self, other: &Self) {
        self.combine(other, |a, b| a | b);
    }

    /// Removes the rows of `other`.
    pub fn remove(&mut self, other: &Self) {
        self.combine(other, |a, b| a & !b);
    }

    /// Both must be sets of rows of one part.
    fn combine(&mut self, other: &Self, of: impl Fn(u64, u64) -> u64) {
        debug_assert_eq!(self.rows, other.rows, "sets of rows of different parts were combined");
        for (a, b) in self.words.iter_mut().zip(&other.words) {
            *a = of(*a, *b);
        }
    }
}

/// A bit each.
pub(super) fn bits(values: impl ExactSizeIterator<Item = bool>) -> Vec<u64> {
    let mut words = Vec::with_capacity(values.len().div_ceil(64));
    let mut values = values;
    while values.len() > 0 {
        let word = values.by_ref().take(64).enumerate();
        words.push(word.fold(0, |word, (i, value)| word | u64::from(value) << i));
    }
    words
}
