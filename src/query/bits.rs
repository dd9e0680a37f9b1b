//! A set of row numbers.

/// A set of row numbers, one bit each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// The empty set, for `len` rows.
    pub(crate) fn none(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)] }
    }

    /// Whether a row is in it.
    pub(crate) fn contains(&self, row: usize) -> bool {
        self.words.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Adds a row.
    pub(crate) fn insert(&mut self, row: usize) {
        if self.words.len() <= row / 64 {
            self.words.resize(row / 64 + 1, 0);
        }
        if let Some(word) = self.words.get_mut(row / 64) {
            *word |= 1 << (row % 64);
        }
    }

    /// Removes a row.
    pub(crate) fn remove(&mut self, row: usize) {
        if let Some(word) = self.words.get_mut(row / 64) {
            *word &= !(1 << (row % 64));
        }
    }

    /// Bytes of memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        (self.words.capacity() * size_of::<u64>()) as u64
    }

    /// Gives back memory that growth has reserved.
    pub(crate) fn shrink(&mut self) {
        self.words.shrink_to_fit();
    }

    /// Number of rows in it.
    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The rows from 64 times this number on, a bit each.
    pub(crate) fn word(&self, number: usize) -> u64 {
        self.words.get(number).copied().unwrap_or(0)
    }

    /// The rows from `start` on: bit `i` of word `n` is row `start + 64 n + i`.
    pub(crate) fn words_from(&self, start: usize) -> impl Iterator<Item = u64> + use<'_> {
        let (first, shift) = (start / 64, start % 64);
        (first..).map(move |number| match shift {
            0 => self.word(number),
            _ => self.word(number) >> shift | self.word(number + 1) << (64 - shift),
        })
    }

    /// Adds rows, in the form of [`words_from`](Self::words_from).
    pub(crate) fn insert_words(&mut self, start: usize, words: &[u64]) {
        let (first, shift) = (start / 64, start % 64);
        for (word, number) in words.iter().zip(first..) {
            self.or(number, word << shift);
            if shift > 0 {
                self.or(number + 1, word >> (64 - shift));
            }
        }
    }

    fn or(&mut self, number: usize, word: u64) {
        if word != 0 && self.words.len() <= number {
            self.words.resize(number + 1, 0);
        }
        if let Some(place) = self.words.get_mut(number) {
            *place |= word;
        }
    }

    fn words(&self, rows: std::ops::Range<usize>) -> impl Iterator<Item = u64> + use<'_> {
        let words = self.words.get(rows.start / 64..).unwrap_or_default();
        words.iter().take(rows.len().div_ceil(64)).copied()
    }

    /// Its rows among `rows`, ascending. `rows` begins at a multiple of 64.
    pub(crate) fn rows(&self, rows: std::ops::Range<usize>) -> impl Iterator<Item = usize> {
        let start = rows.start;
        let words = self.words(rows).enumerate();
        words.flat_map(move |(at, word)| ones(word).map(move |bit| start + at * 64 + bit))
    }
}

/// The places of the bits that are set.
pub(crate) fn ones(word: u64) -> impl Iterator<Item = usize> {
    Ones(word)
}

struct Ones(u64);

impl Iterator for Ones {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        (bit < 64).then_some(bit)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn bits_equal_a_set(
            changes in proptest::collection::vec((0..300_usize, any::<bool>()), 0..200),
            start in 0..300_usize,
        ) {
            let (mut bits, mut set) = (Bits::none(100), BTreeSet::new());
            for (row, add) in changes {
                if add {
                    bits.insert(row);
                    set.insert(row);
                } else {
                    bits.remove(row);
                    set.remove(&row);
                }
            }
            prop_assert_eq!(bits.count(), set.len());
            prop_assert!((0..400).all(|row| bits.contains(row) == set.contains(&row)));
            prop_assert_eq!(bits.rows(0..400).collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            let word = |number: usize| set.range(number * 64..).take_while(|row| **row < number * 64 + 64).fold(0, |word, row| word | 1 << (row % 64));
            prop_assert!((0..7).all(|number| bits.word(number) == word(number)));
            // Shifted by any number of rows, they are the same rows.
            let moved: Vec<u64> = bits.words_from(start).take(7).collect();
            let mut back = Bits::default();
            back.insert_words(start, &moved);
            let behind: Vec<usize> = set.range(start..).copied().collect();
            prop_assert_eq!(back.rows(0..448).collect::<Vec<_>>(), behind);
            prop_assert_eq!(moved[0] & 1 == 1, set.contains(&start));
            let middle: Vec<usize> = set.range(64..192).copied().collect();
            prop_assert_eq!(bits.rows(64..192).collect::<Vec<_>>(), middle);
        }
    }
}
