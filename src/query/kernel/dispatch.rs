//! Chooses the kernel, and the order in which it visits rows and queries.

use super::rows::{Dots, Rows, tiles};
use super::{QueryCodes, portable, simd};

/// Computes an expression of numbers, compiled for the machine of a kernel. The results are the
/// same on every machine, because the compiler neither reorders nor merges operations on floats.
///
/// Functions that it calls need `#[inline(always)]`. One that is not inlined is compiled for any
/// machine, and takes twice the time.
macro_rules! wide {
    ($kernel:expr, $work:expr) => {
        $kernel.wide(
            #[inline(always)]
            || $work,
        )
    };
}

pub(crate) use wide;

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
            let avx512 = simd::Avx512::detect();
            kernels.extend(avx512.map(|avx512| Self::Avx512(avx512.without_vbmi())));
            kernels.extend(avx512.map(Self::Avx512));
        }
        #[cfg(target_arch = "aarch64")]
        kernels.extend(simd::Neon::detect().map(Self::Neon));
        kernels
    }

    /// See [`wide!`], which makes the closure.
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
        wide!(self, portable::byte_dot(&query.fine.integers, row))
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
        tiles(tables.len(), rows, stride, out, |rows, dots| match (self, tables, queries.signed.as_slice()) {
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512(avx512), [tables], [query]) => avx512.sign_dots_of_one(tables, query, rows, dots),
            (Self::Portable, ..) => alone(rows, dots),
            _ if rows.are_sparse(stride) => alone(rows, dots),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx2(avx2), ..) => avx2.sign_dots(tables, rows.codes(), dots),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512(avx512), ..) => avx512.sign_dots(tables, rows.codes(), dots),
            #[cfg(target_arch = "aarch64")]
            (Self::Neon(neon), ..) => neon.sign_dots(tables, rows.codes(), dots),
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
