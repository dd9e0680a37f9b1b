//! Rows of codes, and the places of their dots, in tiles that several queries share.

use std::ops::Range;

/// Bytes of rows that several queries share. They stay in the second-level cache.
const TILE_BYTES: usize = 128 << 10;

/// If at most one row in this many is wanted, kernels that transpose rows compare each alone.
const SPARSE: usize = 8;

/// The output places of the dots of some rows, for each query.
pub(crate) struct Dots<'a> {
    all: &'a mut [i32],
    /// Number of dots of each query.
    total: usize,
    rows: Range<usize>,
}

impl Dots<'_> {
    /// The places of one query.
    pub(super) fn of(&mut self, query: usize) -> &mut [i32] {
        &mut self.all[query * self.total..][self.rows.clone()]
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}

/// The codes of rows, and the rows among them whose dots are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    codes: &'a [T],
    /// The number that picks give the first row.
    first: u32,
    /// The numbers of the wanted rows, ascending; `None` for all. The dots of others are arbitrary.
    picks: Option<&'a [u32]>,
}

impl<'a, T> Rows<'a, T> {
    /// All rows.
    pub(crate) fn all(codes: &'a [T]) -> Self {
        Self { codes, first: 0, picks: None }
    }

    /// The rows of these numbers, which must ascend and count from the first row of `codes`.
    pub(crate) fn picked(codes: &'a [T], picks: &'a [u32]) -> Self {
        Self { codes, first: 0, picks: Some(picks) }
    }

    pub(super) fn codes(self) -> &'a [T] {
        self.codes
    }

    /// The numbers of the wanted rows; `None` for all.
    pub(super) fn picks(self) -> Option<&'a [u32]> {
        self.picks
    }

    /// The place of a wanted row among those of the codes.
    pub(super) fn place(self, pick: u32) -> usize {
        pick.saturating_sub(self.first) as usize
    }

    /// Whether so few rows are wanted that each should be compared alone.
    pub(super) fn are_sparse(self, stride: usize) -> bool {
        self.picks.is_some_and(|picks| picks.len() * SPARSE <= self.codes.len() / stride.max(1))
    }

    /// Rows `first..first + count` of these.
    fn part(self, first: usize, count: usize, stride: usize) -> Self {
        let codes = self.codes.get(first * stride..(first + count) * stride).unwrap_or_default();
        let first = self.first.saturating_add(u32::try_from(first).unwrap_or(u32::MAX));
        let picks = self.picks.map(|picks| {
            let end = first.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
            let [start, end] = [first, end].map(|bound| picks.partition_point(|pick| *pick < bound));
            picks.get(start..end).unwrap_or_default()
        });
        Self { codes, first, picks }
    }
}

/// Cuts rows into tiles, and passes each to all queries, with the places of their dots.
pub(super) fn tiles<T: Copy>(
    queries: usize,
    rows: Rows<'_, T>,
    stride: usize,
    out: &mut [i32],
    mut scan: impl FnMut(Rows<'_, T>, Dots<'_>),
) {
    let stride = stride.max(1);
    let total = rows.codes.len() / stride;
    debug_assert_eq!((total * stride, total * queries), (rows.codes.len(), out.len()));
    if total == 0 {
        return;
    }
    // Tiles of whole groups of rows, so that only the last one has a remainder.
    let tile = if queries == 1 { total } else { (TILE_BYTES / stride).next_multiple_of(64) };
    for first in (0..total).step_by(tile) {
        let count = tile.min(total - first);
        scan(rows.part(first, count, stride), Dots { all: &mut *out, total, rows: first..first + count });
    }
}
