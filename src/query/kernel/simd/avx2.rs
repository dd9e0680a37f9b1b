//! AVX2.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadl_epi64, _mm_loadu_si128, _mm_shuffle_epi32,
    _mm_unpacklo_epi8, _mm256_add_epi8, _mm256_add_epi16, _mm256_add_epi32, _mm256_and_si256,
    _mm256_broadcastsi128_si256, _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_extracti128_si256,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_permute2x128_si256, _mm256_set_m128i, _mm256_set1_epi8,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_srli_epi16, _mm256_storeu_si256,
    _mm256_sub_epi16, _mm256_unpackhi_epi8, _mm256_unpackhi_epi16, _mm256_unpacklo_epi8, _mm256_unpacklo_epi16,
};

use super::super::portable;
use super::super::query::TABLE_OFFSET;
use super::super::rows::{Dots, Rows};
use super::loops::{AHEAD, byte_loops, sign_loops};

/// Codes of 8 bits in one vector, widened to 16.
const CODES: usize = 16;

/// Rows whose sign bits are scanned together. One byte of each fills a vector.
const ROWS: usize = 32;

/// Fewer rows than this are faster one by one.
const FEW: usize = 6;

/// Blocks of [`ROWS`] rows for which a query reads its tables once.
const BLOCKS: usize = 4;

/// Bytes of sign bits of each row that are transposed together. All blocks take 16 KiB, half of the
/// first-level cache. A byte has two tables, with entries of at most 120. So two entries fit a
/// byte, and the sum of all fits 16 bits.
const COLUMNS: usize = 64;

/// Proof that the machine has AVX2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The proof, if the machine has AVX2.
    pub(crate) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// As [`portable::byte_dots`], for several queries of one length.
    pub(crate) fn fine_dots(self, queries: &[&[i16]], rows: Rows<'_, i8>, mut dots: Dots<'_>) {
        // SAFETY: `self` proves that the machine has AVX2.
        unsafe { fine_dots(queries, rows, &mut dots) }
    }

    /// As [`portable::sign_dots`], for several queries of one length.
    pub(crate) fn sign_dots(self, queries: &[&[[u8; 16]]], rows: &[u8], dots: Dots<'_>) {
        // SAFETY: `self` proves that the machine has AVX2.
        unsafe { sign_dots(queries, rows, dots) }
    }

    /// Runs work that the compiler may turn into instructions of AVX2.
    #[inline]
    pub(crate) fn wide<R>(self, work: impl FnOnce() -> R) -> R {
        // SAFETY: `self` proves that the machine has AVX2.
        unsafe { wide(work) }
    }
}

#[target_feature(enable = "avx2")]
fn wide<R>(work: impl FnOnce() -> R) -> R {
    work()
}

byte_loops!(fine_dots, fine_block, i16, 2, target_feature(enable = "avx2"));

/// The dots of `R` rows with `Q` queries.
#[inline]
#[target_feature(enable = "avx2")]
fn fine_block<const R: usize, const Q: usize>(queries: [&[i16]; Q], rows: [&[i8]; R]) -> [[i32; R]; Q] {
    let dimension = queries[0].len();
    for row in rows {
        assert!(row.len() == dimension);
    }
    for query in queries {
        assert!(query.len() == dimension);
    }
    let mut sums = [[_mm256_setzero_si256(); R]; Q];
    let whole = dimension / CODES * CODES;
    for start in (0..whole).step_by(CODES) {
        let mut codes = [_mm256_setzero_si256(); R];
        for (codes, row) in codes.iter_mut().zip(rows) {
            // SAFETY: `start + CODES` is at most `dimension`, the length of the row.
            let narrow = unsafe { _mm_loadu_si128(row.as_ptr().add(start).cast()) };
            *codes = _mm256_cvtepi8_epi16(narrow);
        }
        for (query, sums) in queries.iter().zip(&mut sums) {
            // SAFETY: `start + CODES` is at most `dimension`, the query's length.
            let words = unsafe { _mm256_loadu_si256(query.as_ptr().add(start).cast()) };
            for (sum, codes) in sums.iter_mut().zip(codes) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(words, codes));
            }
        }
    }
    let mut dots = [[0; R]; Q];
    for ((dots, sums), query) in dots.iter_mut().zip(sums).zip(queries) {
        for ((dot, sum), row) in dots.iter_mut().zip(sums).zip(rows) {
            let rest = portable::byte_dot(&query[whole..], &row[whole..]);
            *dot = total(sum).wrapping_add(rest);
        }
    }
    dots
}

/// The sum of eight lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn total(lanes: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256::<1>(lanes));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b00_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two)))
}

sign_loops!(_mm256_setzero_si256(), target_feature(enable = "avx2"));

/// Transposes 8 bytes of each of 32 rows from `first` on. Vectors `c` hold both halves of byte
/// `start + c` of all of them. The last row replaces rows beyond it.
#[inline]
#[target_feature(enable = "avx2")]
fn turn(rows: &[u8], stride: usize, first: usize, start: usize) -> [[__m256i; 2]; 8] {
    let last = rows.len() / stride - 1;
    assert!(start + 8 <= stride && first <= last && last * stride + stride <= rows.len());
    let mut pairs = [_mm256_setzero_si256(); 8];
    for (row, pair) in pairs.iter_mut().enumerate() {
        let mut eights = [_mm256_castsi256_si128(*pair); 4];
        for (part, eight) in eights.iter_mut().enumerate() {
            let row = (first + row + part * 8).min(last);
            // SAFETY: the row is at most the last one, and 8 bytes from `start` on lie within it.
            *eight = unsafe { _mm_loadl_epi64(rows.as_ptr().add(row * stride + start).cast::<__m128i>()) };
        }
        let [a, b, c, d] = eights;
        *pair = _mm256_set_m128i(_mm_unpacklo_epi8(c, d), _mm_unpacklo_epi8(a, b));
    }
    // Each step interleaves vectors half as far apart, which brings the rows into order.
    let mut fours = [_mm256_setzero_si256(); 8];
    for place in 0..4 {
        fours[place] = _mm256_unpacklo_epi8(pairs[place], pairs[place + 4]);
        fours[place + 4] = _mm256_unpackhi_epi8(pairs[place], pairs[place + 4]);
    }
    let mut twos = [_mm256_setzero_si256(); 8];
    for place in 0..2 {
        for half in [0, 4] {
            twos[half + place] = _mm256_unpacklo_epi8(fours[half + place], fours[half + place + 2]);
            twos[half + place + 2] = _mm256_unpackhi_epi8(fours[half + place], fours[half + place + 2]);
        }
    }
    let mut ones = [_mm256_setzero_si256(); 8];
    for two in [0, 2, 4, 6] {
        ones[two] = _mm256_unpacklo_epi8(twos[two], twos[two + 1]);
        ones[two + 1] = _mm256_unpackhi_epi8(twos[two], twos[two + 1]);
    }
    let nibble = _mm256_set1_epi8(15);
    let mut halves = [[nibble; 2]; 8];
    for ([low, high], bytes) in halves.iter_mut().zip(ones) {
        *low = _mm256_and_si256(bytes, nibble);
        *high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble);
    }
    halves
}

/// Sums a query's table entries for `B` blocks of 32 rows. The half bytes of the rows lie in two
/// vectors for each column.
#[inline]
#[target_feature(enable = "avx2")]
fn look_up<const B: usize>(turned: [&[[__m256i; 2]]; B], tables: &[[u8; 16]]) -> [[u16; ROWS]; B] {
    let pairs = tables.as_chunks::<2>().0;
    for turned in turned {
        assert!(turned.len() == pairs.len());
    }
    // Sums of the byte pairs as 16-bit numbers, and of the higher byte of each pair.
    let mut sums = [[_mm256_setzero_si256(); 2]; B];
    for (column, pair) in pairs.iter().enumerate() {
        let mut tables = [_mm256_setzero_si256(); 2];
        for (table, entries) in tables.iter_mut().zip(pair) {
            // SAFETY: the table has 16 bytes.
            *table = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(entries.as_ptr().cast()) });
        }
        for ([both, high], turned) in sums.iter_mut().zip(turned) {
            let [lower, higher] = turned[column];
            let entries =
                _mm256_add_epi8(_mm256_shuffle_epi8(tables[0], lower), _mm256_shuffle_epi8(tables[1], higher));
            *both = _mm256_add_epi16(*both, entries);
            *high = _mm256_add_epi16(*high, _mm256_srli_epi16::<8>(entries));
        }
    }
    let mut found = [[0; ROWS]; B];
    for ([both, high], found) in sums.into_iter().zip(&mut found) {
        // Sums modulo 2^16 are exact, because no sum of entries reaches 2^16.
        let low = _mm256_sub_epi16(both, _mm256_slli_epi16::<8>(high));
        let (first, second) = (_mm256_unpacklo_epi16(low, high), _mm256_unpackhi_epi16(low, high));
        // SAFETY: both halves of `found` have 32 bytes.
        unsafe {
            _mm256_storeu_si256(found.as_mut_ptr().cast(), _mm256_permute2x128_si256::<0x20>(first, second));
            let half = found.as_mut_ptr().add(ROWS / 2);
            _mm256_storeu_si256(half.cast(), _mm256_permute2x128_si256::<0x31>(first, second));
        }
    }
    found
}
