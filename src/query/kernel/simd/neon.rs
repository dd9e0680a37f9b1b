//! NEON, which every 64-bit ARM machine has.

use std::arch::aarch64::{
    int8x16_t, uint8x16_t, vaddq_u8, vaddvq_s32, vaddw_high_u8, vaddw_u8, vandq_u8, vcombine_u8, vdupq_n_s32,
    vdupq_n_u8, vdupq_n_u16, vget_low_s8, vget_low_s16, vget_low_u8, vld1_u8, vld1q_s8, vld1q_s16, vld1q_u8,
    vmlal_high_s16, vmlal_s16, vmovl_high_s8, vmovl_s8, vqtbl1q_u8, vshrq_n_u8, vst1q_u16, vzip1q_u8, vzip2q_u8,
};

use super::super::portable;
use super::super::query::TABLE_OFFSET;
use super::super::rows::{Dots, Rows};
use super::loops::{AHEAD, byte_loops, sign_loops};

/// Codes of 8 bits in one vector.
const CODES: usize = 16;

/// Rows whose sign bits are scanned together. One byte of each fills a vector.
const ROWS: usize = 16;

/// Fewer rows than this are faster one by one.
const FEW: usize = 6;

/// Blocks of [`ROWS`] rows for which a query reads its tables once.
const BLOCKS: usize = 4;

/// Bytes of sign bits of each row that are transposed together. A byte has two tables, with entries
/// of at most 120. So two entries fit a byte, and the sum of all fits 16 bits.
const COLUMNS: usize = 64;

/// Proof that the machine has NEON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Neon(());

impl Neon {
    /// The proof: it is part of the baseline.
    pub(crate) fn detect() -> Option<Self> {
        Some(Self(()))
    }

    /// As [`portable::byte_dots`], for several queries of one length.
    pub(crate) fn fine_dots(self, queries: &[&[i16]], rows: Rows<'_, i8>, mut dots: Dots<'_>) {
        fine_dots(queries, rows, &mut dots);
    }

    /// As [`portable::sign_dots`], for several queries of one length.
    pub(crate) fn sign_dots(self, queries: &[&[[u8; 16]]], rows: &[u8], dots: Dots<'_>) {
        sign_dots(queries, rows, dots);
    }
}

byte_loops!(fine_dots, fine_block, i16, 2);

/// The dots of `R` rows with `Q` queries.
#[inline]
fn fine_block<const R: usize, const Q: usize>(queries: [&[i16]; Q], rows: [&[i8]; R]) -> [[i32; R]; Q] {
    let dimension = queries[0].len();
    for row in rows {
        assert!(row.len() == dimension);
    }
    for query in queries {
        assert!(query.len() == dimension);
    }
    let whole = dimension / CODES * CODES;
    // SAFETY: the machine has NEON. Each load of `CODES` from `start` on ends within its row or
    // query, because `start + CODES` is at most `dimension`.
    let sums = unsafe {
        let mut sums = [[vdupq_n_s32(0); R]; Q];
        for start in (0..whole).step_by(CODES) {
            for (row, codes) in rows.iter().enumerate() {
                let codes: int8x16_t = vld1q_s8(codes.as_ptr().add(start));
                let (low, high) = (vmovl_s8(vget_low_s8(codes)), vmovl_high_s8(codes));
                for (query, sums) in queries.iter().zip(&mut sums) {
                    let [a, b] = [0, 8].map(|eight| vld1q_s16(query.as_ptr().add(start + eight)));
                    let sum = vmlal_s16(sums[row], vget_low_s16(a), vget_low_s16(low));
                    let sum = vmlal_high_s16(sum, a, low);
                    let sum = vmlal_s16(sum, vget_low_s16(b), vget_low_s16(high));
                    sums[row] = vmlal_high_s16(sum, b, high);
                }
            }
        }
        sums.map(|sums| sums.map(|sum| vaddvq_s32(sum)))
    };
    let mut dots = sums;
    for (dots, query) in dots.iter_mut().zip(queries) {
        for (dot, row) in dots.iter_mut().zip(rows) {
            let rest = portable::byte_dot(&query[whole..], &row[whole..]);
            *dot = dot.wrapping_add(rest);
        }
    }
    dots
}

sign_loops!(zero());

/// A vector of zeros.
#[inline]
fn zero() -> uint8x16_t {
    // SAFETY: the machine has NEON.
    unsafe { vdupq_n_u8(0) }
}

/// Transposes 8 bytes of each of 16 rows from `first` on. Vectors `c` hold both halves of byte
/// `start + c` of all of them. The last row replaces rows beyond it.
#[inline]
fn turn(rows: &[u8], stride: usize, first: usize, start: usize) -> [[uint8x16_t; 2]; 8] {
    let last = rows.len() / stride - 1;
    assert!(start + 8 <= stride && first <= last && last * stride + stride <= rows.len());
    // SAFETY: the machine has NEON. A load's row is at most the last one, and 8 bytes from `start`
    // on lie within it.
    unsafe {
        let row = |row: usize| {
            let eight = vld1_u8(rows.as_ptr().add((first + row).min(last) * stride + start));
            vcombine_u8(eight, eight)
        };
        let pairs: [uint8x16_t; 8] = std::array::from_fn(|place| vzip1q_u8(row(place), row(place + 8)));
        // Each step interleaves vectors half as far apart, which brings the rows into order.
        let mut fours = [zero(); 8];
        for place in 0..4 {
            fours[place] = vzip1q_u8(pairs[place], pairs[place + 4]);
            fours[place + 4] = vzip2q_u8(pairs[place], pairs[place + 4]);
        }
        let mut twos = fours;
        for place in 0..2 {
            for half in [0, 4] {
                twos[half + place] = vzip1q_u8(fours[half + place], fours[half + place + 2]);
                twos[half + place + 2] = vzip2q_u8(fours[half + place], fours[half + place + 2]);
            }
        }
        let mut ones = twos;
        for two in [0, 2, 4, 6] {
            ones[two] = vzip1q_u8(twos[two], twos[two + 1]);
            ones[two + 1] = vzip2q_u8(twos[two], twos[two + 1]);
        }
        ones.map(|bytes| [vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8::<4>(bytes)])
    }
}

/// Sums a query's table entries for `B` blocks of 16 rows. The half bytes of the rows lie in two
/// vectors for each column.
#[inline]
fn look_up<const B: usize>(turned: [&[[uint8x16_t; 2]]; B], tables: &[[u8; 16]]) -> [[u16; ROWS]; B] {
    let pairs = tables.as_chunks::<2>().0;
    for turned in turned {
        assert!(turned.len() == pairs.len());
    }
    let mut found = [[0; ROWS]; B];
    // SAFETY: the machine has NEON; a table has 16 bytes, and `found` 16 numbers for each block.
    unsafe {
        let mut sums = [[vdupq_n_u16(0); 2]; B];
        for (column, [for_low, for_high]) in pairs.iter().enumerate() {
            let (for_low, for_high) = (vld1q_u8(for_low.as_ptr()), vld1q_u8(for_high.as_ptr()));
            for ([first, second], turned) in sums.iter_mut().zip(turned) {
                let [low, high] = turned[column];
                let entries = vaddq_u8(vqtbl1q_u8(for_low, low), vqtbl1q_u8(for_high, high));
                *first = vaddw_u8(*first, vget_low_u8(entries));
                *second = vaddw_high_u8(*second, entries);
            }
        }
        for ([first, second], found) in sums.into_iter().zip(&mut found) {
            vst1q_u16(found.as_mut_ptr(), first);
            vst1q_u16(found.as_mut_ptr().add(8), second);
        }
    }
    found
}
