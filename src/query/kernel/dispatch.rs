//! Which kernel runs, and in what order it sees rows and queries.

use super::QueryCodes;
use super::portable;

/// Bytes of rows that several queries share: they stay in the first cache.
const TILE_BYTES: usize = 16 << 10;

/// A set of machine instructions that scans are written for. All of them give the same integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// Any machine.
    Portable,
}

impl Kernel {
    /// The fastest that this machine has.
    pub(crate) fn detect() -> Self {
        Self::available().pop().unwrap_or(Self::Portable)
    }

    /// All that this machine has, the fastest last.
    pub(crate) fn available() -> Vec<Self> {
        vec![Self::Portable]
    }

    /// Multiplies queries with 8-bit rows. The dot of query `q` and row `r` of `n` goes to `out[q * n + r]`.
    ///
    /// Queries must be of one collection, `rows` whole rows, and `out` as long as queries times rows.
    pub(crate) fn byte_dots(self, queries: &[&QueryCodes], rows: &[i8], out: &mut [i32]) {
        let Some(dimension) = queries.first().map(|query| query.dimension()) else { return };
        tiles(queries, rows, dimension, out, |queries, rows, outs| {
            for (query, out) in queries.iter().zip(outs) {
                portable::byte_dots(&query.words, rows, out);
            }
        });
    }

    /// Adds up the integers of queries, each negated where the row's sign bit is set. Order as for
    /// [`byte_dots`](Self::byte_dots).
    pub(crate) fn sign_dots(self, queries: &[&QueryCodes], rows: &[u8], out: &mut [i32]) {
        let Some(stride) = queries.first().map(|query| query.sign_bytes()) else { return };
        tiles(queries, rows, stride, out, |queries, rows, outs| {
            for (query, out) in queries.iter().zip(outs) {
                portable::sign_dots(&query.tables, rows, out);
            }
        });
    }
}

/// Cuts rows into tiles and hands each to all queries, with the places of their dots.
fn tiles<T>(
    queries: &[&QueryCodes],
    rows: &[T],
    stride: usize,
    out: &mut [i32],
    mut scan: impl FnMut(&[&QueryCodes], &[T], &mut [&mut [i32]]),
) {
    let (stride, total) = (stride.max(1), rows.len() / stride.max(1));
    debug_assert_eq!((total * stride, total * queries.len()), (rows.len(), out.len()));
    if total == 0 {
        return;
    }
    // Tiles of whole groups of rows, so that only the last one has a rest.
    let tile = if queries.len() == 1 { total } else { (TILE_BYTES / stride).next_multiple_of(64) };
    let mut rests: Vec<&mut [i32]> = out.chunks_exact_mut(total).collect();
    for rows in rows.chunks(tile * stride) {
        let len = rows.len() / stride;
        let mut outs: Vec<&mut [i32]> = Vec::with_capacity(rests.len());
        for rest in &mut rests {
            let (now, later) = std::mem::take(rest).split_at_mut(len);
            outs.push(now);
            *rest = later;
        }
        scan(queries, rows, &mut outs);
    }
}
