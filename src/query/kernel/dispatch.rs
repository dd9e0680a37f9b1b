//! Chooses the kernel, and the order in which it visits rows and queries.

use std::ops::Range;

use super::{QueryCodes, portable, simd};

/// Bytes of rows that several queries share. They stay in the second-level cache.
const TILE_BYTES: usize = 128 << 10;

/// If at most one row in this many is wanted, kernels that transpose rows compare each alone.
const SPARSE: usize = 8;

/// A set of machine instructions that scans are written for. All of them give the same integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// Any machine.
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(simd::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(simd::Avx512),
    #[cfg(target_arch = "aarch64")]
    Neon(simd::Neon),
}

impl Kernel {
    /// The fastest kernel of this machine.
    pub(crate) fn detect() -> Self {
        Self::available().pop().unwrap_or(Self::Portable)
    }

    /// All kernels of this machine, the fastest last.
    pub(crate) fn available() -> Vec<Self> {
        let mut kernels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend(simd::Avx2::detect().map(Self::Avx2));
            kernels.extend(simd::Avx512::detect().map(Self::Avx512));
        }
        #[cfg(target_arch = "aarch64")]
        kernels.extend(simd::Neon::detect().map(Self::Neon));
        kernels
    }

    /// Runs work on numbers. Inlined work is compiled for this machine. The results are the same on
    /// every machine, because the compiler neither reorders nor merges operations on floats.
    #[inline]
    pub(crate) fn wide<R>(self, work: impl FnOnce() -> R) -> R {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.wide(work),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(avx512) => avx512.wide(work),
            _ => work(),
        }
    }

    /// Whether a scan with coarse integers takes less time than one with fine ones.
    pub(crate) fn gains_by_coarse(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => true,
            _ => false,
        }
    }

    /// Multiplies the fine integers of queries with 8-bit rows. The dot of query `q` and row `r` of
    /// `n` goes to `out[q * n + r]`.
    ///
    /// `rows` must hold whole rows, and `out` as many places as queries times rows.
    pub(crate) fn fine_dots(self, queries: &Queries<'_>, rows: Rows<'_, i8>, out: &mut [i32]) {
        let words = queries.fine.as_slice();
        let Some(dimension) = words.first().map(|words| words.len()) else { return };
        tiles(words.len(), rows, dimension, out, |rows, mut dots| match self {
            Self::Portable => {
                for (query, words) in words.iter().enumerate() {
                    portable::byte_dots(words, rows, dots.of(query));
                }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.fine_dots(words, rows, dots),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(avx512) => avx512.fine_dots(words, rows, dots),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(neon) => neon.fine_dots(words, rows, dots),
        });
    }

    /// As [`fine_dots`](Self::fine_dots), with the coarse integers of queries.
    pub(crate) fn coarse_dots(self, queries: &Queries<'_>, rows: Rows<'_, i8>, out: &mut [i32]) {
        let bytes = queries.coarse.as_slice();
        let Some(dimension) = bytes.first().map(|bytes| bytes.len()) else { return };
        tiles(bytes.len(), rows, dimension, out, |rows, mut dots| match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(avx512) => avx512.coarse_dots(bytes, &queries.sums, rows, dots),
            _ => {
                for (query, bytes) in bytes.iter().enumerate() {
                    portable::byte_dots(bytes, rows, dots.of(query));
                }
            }
        });
    }

    /// The dot of one query's fine integers with one 8-bit row.
    pub(crate) fn fine_dot(self, query: &QueryCodes, row: &[i8]) -> i32 {
        self.wide(|| portable::byte_dot(&query.fine.integers, row))
    }

    /// Sums the integers of queries, each negated if the row's sign bit is set. Order as for
    /// [`fine_dots`](Self::fine_dots).
    pub(crate) fn sign_dots(self, queries: &Queries<'_>, rows: Rows<'_, u8>, out: &mut [i32]) {
        let tables = queries.tables.as_slice();
        let Some(stride) = tables.first().map(|tables| tables.len() / 2) else { return };
        let alone = |rows: Rows<'_, u8>, mut dots: Dots<'_>| {
            for (query, tables) in tables.iter().enumerate() {
                portable::sign_dots(tables, rows, dots.of(query));
            }
        };
        tiles(tables.len(), rows, stride, out, |rows, dots| match (self, queries.signed.as_slice()) {
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512(avx512), [query]) => avx512.sign_dots_of_one(query, rows, dots),
            (Self::Portable, _) => alone(rows, dots),
            _ if rows.are_sparse(stride) => alone(rows, dots),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx2(avx2), _) => avx2.sign_dots(tables, rows.codes(), dots),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512(avx512), _) => avx512.sign_dots(tables, rows.codes(), dots),
            #[cfg(target_arch = "aarch64")]
            (Self::Neon(neon), _) => neon.sign_dots(tables, rows.codes(), dots),
        });
    }
}

/// Queries of one collection that share a pass over rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queries<'a> {
    fine: Vec<&'a [i16]>,
    coarse: Vec<&'a [i8]>,
    /// The sum of the coarse integers of each query.
    sums: Vec<i32>,
    signed: Vec<&'a [i8]>,
    tables: Vec<&'a [[u8; 16]]>,
}

impl<'a> Queries<'a> {
    pub(crate) fn new(all: impl IntoIterator<Item = &'a QueryCodes>) -> Self {
        let mut queries = Self::default();
        all.into_iter().for_each(|query| queries.push(query));
        queries
    }

    pub(crate) fn push(&mut self, query: &'a QueryCodes) {
        self.fine.push(&query.fine.integers);
        self.coarse.push(&query.coarse.integers);
        self.sums.push(query.coarse.integers.iter().map(|integer| i32::from(*integer)).sum());
        self.signed.push(&query.signed.integers);
        self.tables.push(&query.tables);
    }

    pub(crate) fn len(&self) -> usize {
        self.fine.len()
    }
}

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
    fn are_sparse(self, stride: usize) -> bool {
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
fn tiles<T: Copy>(
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
