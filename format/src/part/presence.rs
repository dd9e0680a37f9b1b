//! The payloads for which a column has values.

use rkyv::{Archive, Serialize};

use super::numbers::{number, u32_at, u64_at};

/// Every payload has a value.
pub(super) const ALL: u32 = 0;
/// Payloads whose bit is set have a value.
pub(super) const BITS: u32 = 1;
/// Listed payloads have a value.
pub(super) const LISTED: u32 = 2;

/// Words between two ranks: 512 payloads.
pub(super) const RANK_WORDS: usize = 8;

/// The payloads present in a column. The column holds their values in order, so the place of a
/// payload's value is its rank.
#[derive(Debug, Default, Archive, Serialize)]
pub(super) struct Presence {
    /// [`ALL`], [`BITS`] or [`LISTED`]. Fields of the other kinds are empty.
    pub(super) kind: u32,
    /// Bit `i % 64` of word `i / 64` is payload `i`.
    pub(super) words: Vec<u64>,
    /// Number of bits set before each 8th word.
    pub(super) ranks: Vec<u32>,
    /// Payloads, ascending.
    pub(super) listed: Vec<u32>,
}

impl Presence {
    /// The smallest form for these payloads (ascending) out of `payloads`.
    pub(super) fn of(present: Vec<u32>, payloads: usize) -> Self {
        if present.len() == payloads {
            return Self::default();
        }
        if present.len() * size_of::<u32>() <= payloads / 8 {
            return Self { kind: LISTED, listed: present, ..Self::default() };
        }
        let mut words = vec![0_u64; payloads.div_ceil(64)];
        for payload in present {
            if let Some(word) = words.get_mut(payload as usize / 64) {
                *word |= 1 << (payload % 64);
            }
        }
        let mut before = 0;
        let ranks = words.chunks(RANK_WORDS).map(|chunk| {
            let rank = before;
            before += chunk.iter().map(|word| word.count_ones()).sum::<u32>();
            rank
        });
        Self { kind: BITS, ranks: ranks.collect(), words, listed: Vec::new() }
    }
}

/// The column must be checked, and the payload must exist.
impl ArchivedPresence {
    /// The place of the value of `payload`, if it has one.
    pub(super) fn rank(&self, payload: usize) -> Option<usize> {
        match self.kind.to_native() {
            ALL => Some(payload),
            BITS => {
                let word = payload / 64;
                let bits = u64_at(&self.words, word);
                let bit = 1_u64 << (payload % 64);
                if bits & bit == 0 {
                    return None;
                }
                let before = self.words.get(word / RANK_WORDS * RANK_WORDS..word).unwrap_or_default();
                let before: u32 = before.iter().map(|word| word.to_native().count_ones()).sum();
                let within = (bits & (bit - 1)).count_ones();
                Some((u32_at(&self.ranks, word / RANK_WORDS) + before + within) as usize)
            }
            _ => self.listed.binary_search_by_key(&number(payload), |listed| listed.to_native()).ok(),
        }
    }

    /// Every payload that has a value, ascending.
    pub(super) fn each<E>(&self, payloads: usize, mut visit: impl FnMut(usize) -> Result<(), E>) -> Result<(), E> {
        match self.kind.to_native() {
            ALL => (0..payloads).try_for_each(visit),
            BITS => self.words.iter().enumerate().try_for_each(|(word, bits)| {
                let mut bits = bits.to_native();
                while bits != 0 {
                    visit(word * 64 + bits.trailing_zeros() as usize)?;
                    bits &= bits - 1;
                }
                Ok(())
            }),
            _ => self.listed.iter().try_for_each(|payload| visit(payload.to_native() as usize)),
        }
    }

    /// Number of payloads with a value.
    pub(super) fn count(&self, payloads: usize) -> usize {
        match self.kind.to_native() {
            ALL => payloads,
            BITS => self.words.iter().map(|word| word.to_native().count_ones() as usize).sum(),
            _ => self.listed.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_rank_of_a_payload_counts_those_before_it(
            payloads in 1..1_500usize,
            density in 0..=64u32,
            seed in any::<u64>(),
        ) {
            let mut state = seed | 1;
            let mut draw = || {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (state >> 58) as u32
            };
            let present: Vec<u32> = (0..payloads as u32).filter(|_| draw() < density).collect();
            let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&Presence::of(present.clone(), payloads)).unwrap();
            let archived = rkyv::access::<ArchivedPresence, rkyv::rancor::Error>(&bytes).unwrap();
            prop_assert_eq!(archived.count(payloads), present.len());
            let mut each = Vec::new();
            archived.each(payloads, |payload| { each.push(payload as u32); Ok::<_, ()>(()) }).unwrap();
            prop_assert_eq!(&each, &present);
            for payload in 0..payloads {
                prop_assert_eq!(archived.rank(payload), present.binary_search(&(payload as u32)).ok());
            }
        }
    }

    /// A bit for each payload, or 4 bytes for each one present, whichever is smaller. Listed if
    /// both are the same.
    #[test]
    fn presence_takes_its_smallest_form() {
        let kind = |present: u32, payloads| Presence::of((0..present).collect(), payloads).kind;
        assert_eq!([kind(64, 64), kind(63, 64), kind(3, 64), kind(2, 64)], [ALL, BITS, BITS, LISTED]);
        assert_eq!([kind(0, 64), kind(20, 640), kind(21, 640)], [LISTED, LISTED, BITS]);
    }
}
