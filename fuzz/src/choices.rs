//! The bytes of an input as choices.

/// Takes choices off both ends of an input. A used-up input gives 0 for ever.
#[derive(Debug, Clone)]
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// The choices of an input.
    pub fn of(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// Whether nothing is left to choose.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// The last byte: for a second sequence of choices beside the first.
    pub fn last(&mut self) -> u8 {
        let Some((last, rest)) = self.0.split_last() else { return 0 };
        self.0 = rest;
        *last
    }

    /// A number below `bound`, which is at most 256.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    /// Yes or no.
    pub fn coin(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        all.get(self.below(all.len())).copied()
    }

    /// The rest, as two inputs of about the same length. The second reads from the end.
    pub fn halves(self) -> (Self, Self) {
        let (first, second) = self.0.split_at(self.0.len().div_ceil(2));
        (Self(first), Self(second))
    }

    /// The rest of the input.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}
