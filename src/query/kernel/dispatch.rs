//! Which kernel runs, and in what order it sees rows and queries.

use super::{QueryCodes, portable, simd};

/// Bytes of rows that several queries share: they stay in the first cache.
const TILE_BYTES: usize = 16 << 10;

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
    /// The fastest that this machine has.
    pub(crate) fn detect() -> Self {
        Self::available().pop().unwrap_or(Self::Portable)
    }

    /// All that this machine has, the fastest last.
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

    /// Does work on numbers, compiled for this machine where the work is inlined. The results are those of any
    /// machine, as the compiler neither reorders nor merges operations on floats.
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

    /// Multiplies queries with 8-bit rows. The dot of query `q` and row `r` of `n` goes to `out[q * n + r]`.
    ///
    /// Queries must be of one collection, `rows` whole rows, and `out` as long as queries times rows.
    pub(crate) fn byte_dots(self, queries: &[&QueryCodes], rows: &[i8], out: &mut [i32]) {
        let words: Vec<&[i16]> = queries.iter().map(|query| query.words.as_slice()).collect();
        let Some(dimension) = words.first().map(|words| words.len()) else { return };
        tiles(queries.len(), rows, dimension, out, |rows, outs| match self {
            Self::Portable => {
                for (words, out) in words.iter().zip(outs) {
                    portable::byte_dots(words, rows, out);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.byte_dots(&words, rows, outs),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(avx512) => avx512.byte_dots(&words, rows, outs),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(neon) => neon.byte_dots(&words, rows, outs),
        });
    }

    /// Adds up the integers of queries, each negated where the row's sign bit is set. Order as for
    /// [`byte_dots`](Self::byte_dots).
    pub(crate) fn sign_dots(self, queries: &[&QueryCodes], rows: &[u8], out: &mut [i32]) {
        let tables: Vec<&[[u8; 16]]> = queries.iter().map(|query| query.tables.as_slice()).collect();
        let Some(stride) = tables.first().map(|tables| tables.len() / 2) else { return };
        tiles(queries.len(), rows, stride, out, |rows, outs| match self {
            Self::Portable => {
                for (tables, out) in tables.iter().zip(outs) {
                    portable::sign_dots(tables, rows, out);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.sign_dots(&tables, rows, outs),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(avx512) => avx512.sign_dots(&tables, rows, outs),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(neon) => neon.sign_dots(&tables, rows, outs),
        });
    }
}

/// Cuts rows into tiles and hands each to all queries, with the places of their dots.
fn tiles<T>(queries: usize, rows: &[T], stride: usize, out: &mut [i32], mut scan: impl FnMut(&[T], &mut [&mut [i32]])) {
    let (stride, total) = (stride.max(1), rows.len() / stride.max(1));
    debug_assert_eq!((total * stride, total * queries), (rows.len(), out.len()));
    if total == 0 {
        return;
    }
    // Tiles of whole groups of rows, so that only the last one has a rest.
    let tile = if queries == 1 { total } else { (TILE_BYTES / stride).next_multiple_of(64) };
    let mut rests: Vec<&mut [i32]> = out.chunks_exact_mut(total).collect();
    for rows in rows.chunks(tile * stride) {
        let len = rows.len() / stride;
        let mut outs: Vec<&mut [i32]> = Vec::with_capacity(rests.len());
        for rest in &mut rests {
            let (now, later) = std::mem::take(rest).split_at_mut(len);
            outs.push(now);
            *rest = later;
        }
        scan(rows, &mut outs);
    }
}
