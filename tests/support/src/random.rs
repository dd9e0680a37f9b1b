//! Repeatable randomness.

use std::hash::{BuildHasher, RandomState};

/// A seeded source of numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Seeded by `DELTAFOLD_SEED`, or anew. Prints the seed and the way to repeat it.
    pub fn from_environment() -> Self {
        let given = std::env::var("DELTAFOLD_SEED").ok().map(|seed| seed.parse().expect("DELTAFOLD_SEED is a number"));
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0));
        println!("repeat with DELTAFOLD_SEED={seed}");
        Self::new(seed)
    }

    /// Seeded anew each time; the environment does not count.
    pub fn anew() -> Self {
        Self::new(RandomState::new().hash_one(0))
    }

    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    #[expect(clippy::should_implement_trait, reason = "it never ends, and is called as `random.next()`")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// An index into a list of this length.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}
