//! Sets of payloads, compared with the presence of columns word by word.

use super::numbers::u64_at;
use super::presence::{ALL, ArchivedPresence, BITS};

/// A set of payloads.
#[derive(Debug)]
pub(super) struct Mask {
    words: Vec<u64>,
    payloads: usize,
    len: usize,
}

impl Mask {
    /// The empty set, of `payloads` payloads.
    pub(super) fn new(payloads: usize) -> Self {
        Self { words: vec![0; payloads.div_ceil(64)], payloads, len: 0 }
    }

    /// Adds a payload that is not in the set.
    pub(super) fn set(&mut self, payload: usize) {
        if let Some(word) = self.words.get_mut(payload / 64) {
            *word |= 1 << (payload % 64);
            self.len += 1;
        }
    }

    /// Estimated bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&self.words[..])
    }

    pub(super) fn has(&self, payload: usize) -> bool {
        self.words.get(payload / 64).is_some_and(|word| word >> (payload % 64) & 1 == 1)
    }

    /// Whether the set contains all payloads present. `presence` must be checked.
    pub(super) fn covers(&self, presence: &ArchivedPresence) -> bool {
        match presence.kind.to_native() {
            ALL => self.len == self.payloads,
            BITS => self.words.iter().zip(presence.words.iter()).all(|(word, bits)| bits.to_native() & !word == 0),
            _ => presence.listed.iter().all(|payload| self.has(payload.to_native() as usize)),
        }
    }

    /// Adds the payloads present, in bits or listed. Returns whether none of them was in the set.
    /// `presence` must be checked.
    pub(super) fn add(&mut self, presence: &ArchivedPresence) -> bool {
        let mut disjoint = true;
        if presence.kind.to_native() == BITS {
            for (i, word) in self.words.iter_mut().enumerate() {
                let bits = u64_at(&presence.words, i);
                disjoint &= *word & bits == 0;
                *word |= bits;
            }
        } else {
            for payload in presence.listed.iter() {
                let payload = payload.to_native() as usize;
                disjoint &= !self.has(payload);
                self.set(payload);
            }
        }
        disjoint
    }
}
