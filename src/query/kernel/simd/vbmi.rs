//! AVX-512 with VBMI: looks up sign bits of 16 rows in four tables at once.

use std::arch::x86_64::{
    __m128i, __m512i, _mm_loadl_epi64, _mm_setzero_si128, _mm_unpackhi_epi64, _mm_unpacklo_epi32, _mm_unpacklo_epi64,
    _mm256_set_m128i, _mm512_add_epi8, _mm512_and_si512, _mm512_castsi256_si512, _mm512_dpbusd_epi32,
    _mm512_inserti64x4, _mm512_loadu_si512, _mm512_multishift_epi64_epi8, _mm512_or_si512, _mm512_permutexvar_epi8,
    _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_storeu_si512,
};
use std::ops::Range;

use super::super::query::TABLE_OFFSET;
use super::super::rows::Dots;

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
            for (block, turned) in turned[..blocks].iter_mut().enumerate() {
                for (eight, turned) in turned[..columns.len() / 4].as_chunks_mut::<2>().0.iter_mut().enumerate() {
                    *turned = turn(rows, stride, first + block * ROWS, start + eight * 8);
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

/// Splits 8 bytes from `start` on of each of 16 rows from `first` on. The last row replaces rows
/// beyond it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn turn(rows: &[u8], stride: usize, first: usize, start: usize) -> [Halves; 2] {
    /// Bits of a vector of 8 bytes at which half bytes begin: those of bytes 0, 1, 4 and 5, and
    /// those of the others.
    const PLACES: [i64; 2] = [0x2c28_2420_0c08_0400, 0x3c38_3430_1c18_1410];
    /// The numbers of four tables, where an index of 6 bits has them.
    const NUMBERS: i32 = 0x3020_1000;
    let last = rows.len() / stride - 1;
    assert!(start + 8 <= stride && first <= last && last * stride + stride <= rows.len());
    // Of four rows each: bytes 0 to 3, and bytes 4 to 7.
    let mut quarters = [[_mm_setzero_si128(); 2]; 4];
    for (quarter, parts) in quarters.iter_mut().enumerate() {
        let mut eights = [_mm_setzero_si128(); 4];
        for (row, eight) in eights.iter_mut().enumerate() {
            let row = (first + quarter * 4 + row).min(last);
            // SAFETY: the row is at most the last one, and 8 bytes from `start` on lie within it.
            *eight = unsafe { _mm_loadl_epi64(rows.as_ptr().add(row * stride + start).cast::<__m128i>()) };
        }
        let [a, b, c, d] = eights;
        let (ab, cd) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
        *parts = [_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd)];
    }
    let mut halves = [[_mm512_setzero_si512(); 2]; 2];
    for (part, halves) in halves.iter_mut().enumerate() {
        let [a, b, c, d] = quarters;
        let lower = _mm512_castsi256_si512(_mm256_set_m128i(b[part], a[part]));
        let bytes = _mm512_inserti64x4::<1>(lower, _mm256_set_m128i(d[part], c[part]));
        for (half, places) in halves.iter_mut().zip(PLACES) {
            let moved = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(places), bytes);
            *half = _mm512_or_si512(_mm512_and_si512(moved, _mm512_set1_epi8(15)), _mm512_set1_epi32(NUMBERS));
        }
    }
    halves
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
