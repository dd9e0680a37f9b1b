//! AVX-512 with VBMI: looks up sign bits of 16 rows in four tables at once.

use std::arch::x86_64::{
    __m512i, _mm_loadl_epi64, _mm_loadu_si128, _mm512_add_epi8, _mm512_and_si512, _mm512_castsi128_si512,
    _mm512_dpbusd_epi32, _mm512_inserti32x4, _mm512_loadu_si512, _mm512_multishift_epi64_epi8, _mm512_or_si512,
    _mm512_permutexvar_epi8, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_storeu_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::ops::Range;

use super::super::portable;
use super::super::query::TABLE_OFFSET;
use super::super::rows::{Dots, Rows};

/// Rows whose sign bits are scanned together. Four bytes of each fill a vector.
const ROWS: usize = 16;

/// Blocks of [`ROWS`] rows for which a query reads its tables once. Two queries read each block at
/// once.
const BLOCKS: usize = 8;

/// Bytes of sign bits of each row that are transposed together. All blocks take 16 KiB, half of the
/// first-level cache.
const COLUMNS: usize = 64;

/// The half bytes of four bytes of each row, each with the number of its table in the bits above.
/// The first vector has those of the first two bytes.
type Halves = [__m512i; 2];

/// Proof that the machine has AVX-512 F, BW, VBMI and VNNI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Vbmi(());

impl Vbmi {
    /// The proof, if the machine has these features.
    pub(super) fn detect() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512vnni");
        all.then_some(Self(()))
    }

    /// As [`portable::sign_dots`](super::super::portable::sign_dots), for several queries of one
    /// length.
    pub(super) fn sign_dots(self, queries: &[&[[u8; 16]]], rows: &[u8], dots: Dots<'_>) {
        // SAFETY: `self` proves that the machine has all features that the function is compiled
        // for.
        unsafe { sign_dots(queries, rows, dots) }
    }

    /// The same for one query. Whole blocks of rows are looked up as they are transposed.
    pub(super) fn sign_dots_of_one(self, query: &[[u8; 16]], rows: &[u8], mut dots: Dots<'_>) {
        let (stride, dots) = (query.len() / 2, dots.of(0));
        let (whole, rest) = dots.as_chunks_mut();
        // SAFETY: as above.
        unsafe { sign_dots_of_one(query, rows, whole) }
        let rows = rows.get(whole.len() * ROWS * stride..).unwrap_or_default();
        portable::sign_dots(query, Rows::all(rows), rest);
    }
}

/// Vectors of four bytes each of 16 rows: of 16 bytes of each row that `$load` gives by its number.
/// A macro, since the compiler passes arrays of rows through memory.
macro_rules! fours {
    ($load:ident) => {{
        let mut parts = [_mm512_setzero_si512(); 4];
        for (row, part) in parts.iter_mut().enumerate() {
            let two = _mm512_inserti32x4::<1>(_mm512_castsi128_si512($load(row)), $load(row + 4));
            *part = _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(two, $load(row + 8)), $load(row + 12));
        }
        let [a, b, c, d] = parts;
        let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        let (ef, gh) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        [
            _mm512_unpacklo_epi64(ab, cd),
            _mm512_unpackhi_epi64(ab, cd),
            _mm512_unpacklo_epi64(ef, gh),
            _mm512_unpackhi_epi64(ef, gh),
        ]
    }};
}

/// The dots of whole blocks of rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn sign_dots_of_one(query: &[[u8; 16]], rows: &[u8], dots: &mut [[i32; ROWS]]) {
    let stride = query.len() / 2;
    assert!(stride.is_multiple_of(8) && dots.len() * ROWS * stride <= rows.len());
    let (tables, rest) = query.as_chunks::<32>();
    let first = _mm512_set1_epi32(-TABLE_OFFSET * query.len() as i32);
    for (dots, block) in dots.iter_mut().zip(rows.chunks_exact(ROWS * stride)) {
        let mut sums = first;
        for (tables, start) in tables.iter().zip((0..).step_by(16)) {
            // SAFETY: the block has 16 rows, and each has 16 bytes from `start` on: those of 32
            // tables.
            let load = |row: usize| unsafe { _mm_loadu_si128(block.as_ptr().add(row * stride + start).cast()) };
            for (four, tables) in fours!(load).into_iter().zip(tables.as_chunks::<8>().0) {
                sums = add_entries(sums, halves(four), tables);
            }
        }
        if let Some((tables, _)) = rest.split_first_chunk::<16>() {
            let start = stride - 8;
            // SAFETY: as above, with the last 8 bytes of each row.
            let load = |row: usize| unsafe { _mm_loadl_epi64(block.as_ptr().add(row * stride + start).cast()) };
            for (four, tables) in fours!(load).into_iter().zip(tables.as_chunks::<8>().0) {
                sums = add_entries(sums, halves(four), tables);
            }
        }
        // SAFETY: `dots` has 64 bytes.
        unsafe { _mm512_storeu_si512(dots.as_mut_ptr().cast(), sums) };
    }
}

/// The half bytes of four bytes of each of 16 rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn halves(bytes: __m512i) -> Halves {
    /// Bits of a vector of 8 bytes at which half bytes begin: those of bytes 0, 1, 4 and 5, and
    /// those of the others.
    const PLACES: [i64; 2] = [0x2c28_2420_0c08_0400, 0x3c38_3430_1c18_1410];
    /// The numbers of four tables, where an index of 6 bits has them.
    const NUMBERS: i32 = 0x3020_1000;
    let mut halves = [_mm512_setzero_si512(); 2];
    for (half, places) in halves.iter_mut().zip(PLACES) {
        let moved = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(places), bytes);
        *half = _mm512_or_si512(_mm512_and_si512(moved, _mm512_set1_epi8(15)), _mm512_set1_epi32(NUMBERS));
    }
    halves
}

/// Adds the table entries of four bytes of each of 16 rows to their sums. An entry is at most 120,
/// so two of them fit a byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn add_entries(sums: __m512i, [lower, higher]: Halves, tables: &[[u8; 16]; 8]) -> __m512i {
    let (first, second) = tables.split_at(4);
    // SAFETY: four tables have 64 bytes.
    let [first, second] =
        unsafe { [_mm512_loadu_si512(first.as_ptr().cast()), _mm512_loadu_si512(second.as_ptr().cast())] };
    let entries = _mm512_add_epi8(_mm512_permutexvar_epi8(lower, first), _mm512_permutexvar_epi8(higher, second));
    _mm512_dpbusd_epi32(sums, entries, _mm512_set1_epi8(1))
}

/// Some blocks of rows, transposed: bytes `columns` of rows `places`.
struct Turned<'a> {
    blocks: &'a [[Halves; COLUMNS / 4]],
    columns: Range<usize>,
    places: Range<usize>,
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn sign_dots(queries: &[&[[u8; 16]]], rows: &[u8], mut dots: Dots<'_>) {
    let (Some(stride), count) = (queries.first().map(|tables| tables.len() / 2), dots.len()) else { return };
    assert!(stride.is_multiple_of(8) && rows.len() == count * stride);
    assert!(queries.iter().all(|tables| tables.len() == stride * 2));
    let mut turned = [[[_mm512_setzero_si512(); 2]; COLUMNS / 4]; BLOCKS];
    for first in (0..count).step_by(BLOCKS * ROWS) {
        let places = first..count.min(first + BLOCKS * ROWS);
        let blocks = places.len().div_ceil(ROWS);
        for start in (0..stride).step_by(COLUMNS) {
            let columns = start..stride.min(start + COLUMNS);
            for (turned, first) in turned[..blocks].iter_mut().zip(places.clone().step_by(ROWS)) {
                let turned = &mut turned[..columns.len() / 4];
                if first + ROWS <= count {
                    turn(&rows[first * stride..][..ROWS * stride], stride, start, turned);
                } else {
                    turn_last(&rows[first * stride..], stride, start, turned);
                }
            }
            let turned = Turned { blocks: &turned[..blocks], columns, places: places.clone() };
            let (pairs, rest) = queries.as_chunks::<2>();
            for (pair, number) in pairs.iter().zip((0..).step_by(2)) {
                add(*pair, number, &turned, &mut dots);
            }
            for (query, number) in rest.iter().zip(pairs.len() * 2..) {
                add([*query], number, &turned, &mut dots);
            }
        }
    }
}

/// Adds the sums of some columns to the dots of `Q` queries, of which the first has this number.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn add<const Q: usize>(queries: [&[[u8; 16]]; Q], number: usize, turned: &Turned<'_>, dots: &mut Dots<'_>) {
    let Turned { blocks, columns, places } = turned;
    let mut tables = [&[][..]; Q];
    for (tables, query) in tables.iter_mut().zip(queries) {
        *tables = query[columns.start * 2..columns.end * 2].as_chunks::<8>().0;
    }
    let fours = columns.len() / 4;
    let mut sums = [[[0; ROWS]; BLOCKS]; Q];
    if blocks.len() == BLOCKS {
        let mut all = [&blocks[0][..fours]; BLOCKS];
        for (all, block) in all.iter_mut().zip(*blocks) {
            *all = &block[..fours];
        }
        sums = look_up(all, tables);
    } else {
        for (number, block) in blocks.iter().enumerate() {
            for (sums, [found]) in sums.iter_mut().zip(look_up([&block[..fours]], tables)) {
                sums[number] = found;
            }
        }
    }
    for (sums, query) in sums.iter().zip(number..) {
        for (dots, sums) in dots.of(query)[places.clone()].chunks_mut(ROWS).zip(sums) {
            if columns.start > 0 {
                for (dot, sum) in dots.iter_mut().zip(sums) {
                    *dot += sum;
                }
            } else if let Ok(dots) = <&mut [i32; ROWS]>::try_from(&mut *dots) {
                *dots = *sums;
            } else {
                dots.copy_from_slice(&sums[..dots.len()]);
            }
        }
    }
}

/// Splits bytes from `start` on of each of 16 rows: four for each pair of vectors to fill.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn turn(block: &[u8], stride: usize, start: usize, turned: &mut [Halves]) {
    assert!(block.len() == ROWS * stride && start + turned.len() * 4 <= stride);
    let (whole, rest) = turned.as_chunks_mut::<4>();
    for (turned, start) in whole.iter_mut().zip((start..).step_by(16)) {
        // SAFETY: the block has 16 rows, and each has 16 bytes from `start` on: four for each pair.
        let load = |row: usize| unsafe { _mm_loadu_si128(block.as_ptr().add(row * stride + start).cast()) };
        for (four, turned) in fours!(load).into_iter().zip(turned) {
            *turned = halves(four);
        }
    }
    if let [first, second] = rest {
        let start = start + whole.len() * 16;
        // SAFETY: as above, with 8 bytes for two pairs.
        let load = |row: usize| unsafe { _mm_loadl_epi64(block.as_ptr().add(row * stride + start).cast()) };
        let [a, b, ..] = fours!(load);
        (*first, *second) = (halves(a), halves(b));
    }
}

/// The same for fewer rows. The last one stands for those that are missing.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn turn_last(rows: &[u8], stride: usize, start: usize, turned: &mut [Halves]) {
    let width = turned.len() * 4;
    let mut block = [0; ROWS * COLUMNS];
    let last = rows.len() / stride - 1;
    for (place, row) in block.chunks_exact_mut(width).take(ROWS).enumerate() {
        row.copy_from_slice(&rows[place.min(last) * stride + start..][..width]);
    }
    turn(&block[..ROWS * width], width, 0, turned);
}

/// Sums the table entries of `Q` queries for `B` blocks of 16 rows. Four bytes of a row have eight
/// tables. An entry is at most 120, so two of them fit a byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn look_up<const B: usize, const Q: usize>(
    turned: [&[Halves]; B],
    tables: [&[[[u8; 16]; 8]]; Q],
) -> [[[i32; ROWS]; B]; Q] {
    let columns = tables[0].len();
    for tables in tables {
        assert!(tables.len() == columns);
    }
    for turned in turned {
        assert!(turned.len() == columns);
    }
    let mut sums = [[_mm512_set1_epi32(-TABLE_OFFSET * 8 * columns as i32); B]; Q];
    for column in 0..columns {
        let mut halves = [[_mm512_setzero_si512(); 2]; Q];
        for (halves, tables) in halves.iter_mut().zip(tables) {
            let (lower, higher) = tables[column].split_at(4);
            // SAFETY: four tables have 64 bytes.
            *halves =
                unsafe { [_mm512_loadu_si512(lower.as_ptr().cast()), _mm512_loadu_si512(higher.as_ptr().cast())] };
        }
        for (block, turned) in turned.iter().enumerate() {
            let [lower, higher] = turned[column];
            for (sums, [first, second]) in sums.iter_mut().zip(halves) {
                let entries =
                    _mm512_add_epi8(_mm512_permutexvar_epi8(lower, first), _mm512_permutexvar_epi8(higher, second));
                // Adds the four bytes of each row.
                sums[block] = _mm512_dpbusd_epi32(sums[block], entries, _mm512_set1_epi8(1));
            }
        }
    }
    let mut found = [[[0; ROWS]; B]; Q];
    for (found, sums) in found.iter_mut().zip(sums) {
        for (found, sum) in found.iter_mut().zip(sums) {
            // SAFETY: `found` has 64 bytes.
            unsafe { _mm512_storeu_si512(found.as_mut_ptr().cast(), sum) };
        }
    }
    found
}
