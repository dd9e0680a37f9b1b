//! AVX-512 with BW, VL and VNNI. On machines without VBMI, AVX2 scans sign bits for several
//! queries: wider vectors gain nothing in tables of 16 entries.

use std::arch::x86_64::{
    __m512i, _mm_add_epi32, _mm_storeu_si128, _mm256_add_epi32, _mm256_castsi256_si128, _mm256_extracti128_si256,
    _mm256_loadu_si256, _mm256_maskz_loadu_epi8, _mm512_add_epi32, _mm512_castsi512_si256, _mm512_cvtepi8_epi16,
    _mm512_dpbusd_epi32, _mm512_dpwssd_epi32, _mm512_extracti64x4_epi64, _mm512_loadu_si512, _mm512_mask_add_epi8,
    _mm512_maskz_loadu_epi8, _mm512_maskz_loadu_epi16, _mm512_reduce_add_epi32, _mm512_set1_epi8, _mm512_setzero_si512,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64, _mm512_xor_si512,
};

use super::super::rows::{Dots, Rows};
use super::Avx2;
use super::loops::{AHEAD, byte_loops};
use super::vbmi::Vbmi;

/// Codes of 8 bits in one vector, widened to 16.
const CODES: usize = 32;

/// Codes of 8 bits in one vector.
const BYTES: usize = 64;

/// Integers of an estimate, each at most 15, whose sum fits a byte.
const SETS: usize = 8;

/// Offset of codes, which makes all of them non-negative.
const RAISE: i32 = 128;

/// Proof that the machine has AVX-512 F, BW, VL and VNNI, and AVX2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx512 {
    avx2: Avx2,
    vbmi: Option<Vbmi>,
}

impl Avx512 {
    /// The proof, if the machine has these features.
    pub(crate) fn detect() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        Avx2::detect().filter(|_| all).map(|avx2| Self { avx2, vbmi: Vbmi::detect() })
    }

    /// The same without VBMI, which some machines lack.
    pub(crate) fn without_vbmi(self) -> Self {
        Self { vbmi: None, ..self }
    }

    /// As [`portable::byte_dots`](super::super::portable::byte_dots), for several queries of one
    /// length.
    pub(crate) fn fine_dots(self, queries: &[&[i16]], rows: Rows<'_, i8>, mut dots: Dots<'_>) {
        // SAFETY: `self` proves that the machine has all features that the function is compiled
        // for.
        unsafe { fine_dots(queries, rows, &mut dots) }
    }

    /// As [`fine_dots`](Self::fine_dots), for coarse queries. `sums` are the sums of their
    /// integers.
    pub(crate) fn coarse_dots(self, queries: &[&[i8]], sums: &[i32], rows: Rows<'_, i8>, mut dots: Dots<'_>) {
        // SAFETY: `self` proves that the machine has all features that the function is compiled
        // for.
        unsafe { raised_dots(queries, rows, &mut dots) }
        for (number, sum) in sums.iter().enumerate() {
            let raised = RAISE.wrapping_mul(*sum);
            dots.of(number).iter_mut().for_each(|dot| *dot = dot.wrapping_sub(raised));
        }
    }

    /// As [`portable::sign_dots`](super::super::portable::sign_dots), for several queries of one
    /// length.
    pub(crate) fn sign_dots(self, queries: &[&[[u8; 16]]], rows: &[u8], dots: Dots<'_>) {
        match self.vbmi {
            Some(vbmi) => vbmi.sign_dots(queries, rows, dots),
            None => self.avx2.sign_dots(queries, rows, dots),
        }
    }

    /// As [`portable::sign_dots`](super::super::portable::sign_dots), for one query, by its tables
    /// or its integers. Tables take two thirds of the time a row, but need all rows.
    pub(crate) fn sign_dots_of_one(self, tables: &[[u8; 16]], query: &[i8], rows: Rows<'_, u8>, mut dots: Dots<'_>) {
        let are_few = rows.picks().is_some_and(|picks| picks.len() * 2 <= dots.len());
        if let Some(vbmi) = self.vbmi.filter(|_| !are_few) {
            return vbmi.sign_dots_of_one(tables, rows.codes(), dots);
        }
        let sum: i32 = query.iter().map(|integer| i32::from(*integer)).sum();
        let dots = dots.of(0);
        // SAFETY: `self` proves that the machine has all features that the function is compiled
        // for.
        unsafe { sums_of_set(query, rows, dots) }
        dots.iter_mut().for_each(|dot| *dot = sum - 2 * *dot);
    }

    /// As [`Avx2::wide`]: wider vectors of f64 gain nothing, because loads take the time.
    #[inline]
    pub(crate) fn wide<R>(self, work: impl FnOnce() -> R) -> R {
        self.avx2.wide(work)
    }
}

/// Calls a function of several rows for one row after the other. A single query costs so little
/// that memory sets the pace, and memory is twice as fast in its own order.
macro_rules! in_order {
    ($sums:ident($queries:expr, $rows:expr)) => {{
        let mut all = [[_mm512_setzero_si512(); R]; Q];
        for (row, place) in $rows.iter().zip(0..) {
            for (all, sums) in all.iter_mut().zip($sums($queries, [*row])) {
                [all[place]] = sums;
            }
        }
        all
    }};
}

byte_loops!(fine_dots, fine_block, i16, 4, target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni"));

/// The dots of `R` rows with `Q` queries.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn fine_block<const R: usize, const Q: usize>(queries: [&[i16]; Q], rows: [&[i8]; R]) -> [[i32; R]; Q] {
    dots(if Q == 1 { in_order!(fine_sums(queries, rows)) } else { fine_sums(queries, rows) })
}

/// The lanes of the dots of [`fine_block`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn fine_sums<const R: usize, const Q: usize>(queries: [&[i16]; Q], rows: [&[i8]; R]) -> [[__m512i; R]; Q] {
    let dimension = queries[0].len();
    for row in rows {
        assert!(row.len() == dimension);
    }
    for query in queries {
        assert!(query.len() == dimension);
    }
    let mut sums = [[_mm512_setzero_si512(); R]; Q];
    let whole = dimension / CODES * CODES;
    for start in (0..whole).step_by(CODES) {
        let mut codes = [_mm512_setzero_si512(); R];
        for (codes, row) in codes.iter_mut().zip(rows) {
            // SAFETY: `start + CODES` is at most `dimension`, the length of the row.
            let narrow = unsafe { _mm256_loadu_si256(row.as_ptr().add(start).cast()) };
            *codes = _mm512_cvtepi8_epi16(narrow);
        }
        for (query, sums) in queries.iter().zip(&mut sums) {
            // SAFETY: `start + CODES` is at most `dimension`, the query's length.
            let words = unsafe { _mm512_loadu_si512(query.as_ptr().add(start).cast()) };
            add(sums, words, codes);
        }
    }
    if whole < dimension {
        let mask = (1_u32 << (dimension - whole)) - 1;
        let mut codes = [_mm512_setzero_si512(); R];
        for (codes, row) in codes.iter_mut().zip(rows) {
            // SAFETY: the mask limits the load to the rest of the row.
            let narrow = unsafe { _mm256_maskz_loadu_epi8(mask, row.as_ptr().add(whole)) };
            *codes = _mm512_cvtepi8_epi16(narrow);
        }
        for (query, sums) in queries.iter().zip(&mut sums) {
            // SAFETY: the mask limits the load to the rest of the query.
            let words = unsafe { _mm512_maskz_loadu_epi16(mask, query.as_ptr().add(whole)) };
            add(sums, words, codes);
        }
    }
    sums
}

byte_loops!(raised_dots, raised_block, i8, 4, target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni"));

/// The dots of `R` rows with `Q` queries, each as if the codes were greater by [`RAISE`].
///
/// The machine multiplies unsigned bytes by signed ones. Sums may wrap; without the raise they fit.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn raised_block<const R: usize, const Q: usize>(queries: [&[i8]; Q], rows: [&[i8]; R]) -> [[i32; R]; Q] {
    dots(if Q == 1 { in_order!(raised_sums(queries, rows)) } else { raised_sums(queries, rows) })
}

/// The lanes of the dots of [`raised_block`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn raised_sums<const R: usize, const Q: usize>(queries: [&[i8]; Q], rows: [&[i8]; R]) -> [[__m512i; R]; Q] {
    let dimension = queries[0].len();
    for row in rows {
        assert!(row.len() == dimension);
    }
    for query in queries {
        assert!(query.len() == dimension);
    }
    let zero = _mm512_setzero_si512();
    let mut sums = [[zero; R]; Q];
    let whole = dimension / BYTES * BYTES;
    for start in (0..whole).step_by(BYTES) {
        let mut codes = [zero; R];
        for (codes, row) in codes.iter_mut().zip(rows) {
            // SAFETY: `start + BYTES` is at most `dimension`, the length of the row.
            *codes = raised(unsafe { _mm512_loadu_si512(row.as_ptr().add(start).cast()) });
        }
        for (query, sums) in queries.iter().zip(&mut sums) {
            // SAFETY: `start + BYTES` is at most `dimension`, the query's length.
            let integers = unsafe { _mm512_loadu_si512(query.as_ptr().add(start).cast()) };
            add_raised(sums, codes, integers);
        }
    }
    if whole < dimension {
        let mask = (1_u64 << (dimension - whole)) - 1;
        let mut codes = [zero; R];
        for (codes, row) in codes.iter_mut().zip(rows) {
            // SAFETY: the mask limits the load to the rest of the row.
            *codes = raised(unsafe { _mm512_maskz_loadu_epi8(mask, row.as_ptr().add(whole)) });
        }
        for (query, sums) in queries.iter().zip(&mut sums) {
            // SAFETY: the mask limits the load to the rest of the query.
            let integers = unsafe { _mm512_maskz_loadu_epi8(mask, query.as_ptr().add(whole)) };
            add_raised(sums, codes, integers);
        }
    }
    sums
}

/// For each wanted row, the sum of the query's integers whose bit in the row is set.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn sums_of_set(query: &[i8], rows: Rows<'_, u8>, sums: &mut [i32]) {
    let stride = query.len() / 8;
    let row = |place: usize| &rows.codes()[place * stride..][..stride];
    let Some(picks) = rows.picks() else {
        let (fours, rest) = sums.as_chunks_mut::<4>();
        let whole = fours.len() * 4;
        for (sums, first) in fours.iter_mut().zip((0..).step_by(4)) {
            *sums = set_block(query, [row(first), row(first + 1), row(first + 2), row(first + 3)]);
        }
        for (sum, place) in rest.iter_mut().zip(whole..) {
            [*sum] = set_block(query, [row(place)]);
        }
        return;
    };
    let (fours, rest) = picks.as_chunks::<4>();
    for [a, b, c, d] in fours {
        let places = [rows.place(*a), rows.place(*b), rows.place(*c), rows.place(*d)];
        let found = set_block(query, [row(places[0]), row(places[1]), row(places[2]), row(places[3])]);
        for (place, sum) in places.into_iter().zip(found) {
            sums[place] = sum;
        }
    }
    for pick in rest {
        let place = rows.place(*pick);
        [sums[place]] = set_block(query, [row(place)]);
    }
}

/// As [`sums_of_set`], for `R` rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn set_block<const R: usize>(query: &[i8], rows: [&[u8]; R]) -> [i32; R] {
    let stride = query.len() / BYTES;
    assert!(query.len() == stride * BYTES);
    let mut words = [&[][..]; R];
    for (words, row) in words.iter_mut().zip(rows) {
        *words = row.as_chunks::<8>().0;
        assert!(words.len() == stride);
    }
    let mut wide = [_mm512_setzero_si512(); R];
    for first in (0..stride).step_by(SETS) {
        let mut narrow = [_mm512_setzero_si512(); R];
        for word in first..stride.min(first + SETS) {
            // SAFETY: `word` is below `stride`, so the load ends within the query.
            let integers = unsafe { _mm512_loadu_si512(query.as_ptr().add(word * BYTES).cast()) };
            for (narrow, words) in narrow.iter_mut().zip(words) {
                let set = u64::from_le_bytes(words[word]);
                *narrow = _mm512_mask_add_epi8(*narrow, set, *narrow, integers);
            }
        }
        for (wide, narrow) in wide.iter_mut().zip(narrow) {
            *wide = _mm512_dpbusd_epi32(*wide, _mm512_set1_epi8(1), narrow);
        }
    }
    let mut sums = [0; R];
    totals(&wide, &mut sums);
    sums
}

/// Codes made unsigned: flipping the sign bit adds [`RAISE`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn raised(codes: __m512i) -> __m512i {
    _mm512_xor_si512(codes, _mm512_set1_epi8(i8::MIN))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn add_raised<const R: usize>(sums: &mut [__m512i; R], codes: [__m512i; R], integers: __m512i) {
    for (sum, codes) in sums.iter_mut().zip(codes) {
        *sum = _mm512_dpbusd_epi32(*sum, codes, integers);
    }
}

/// The sum of the lanes of each vector.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn dots<const R: usize, const Q: usize>(sums: [[__m512i; R]; Q]) -> [[i32; R]; Q] {
    let mut dots = [[0; R]; Q];
    for (dots, sums) in dots.iter_mut().zip(&sums) {
        totals(sums, dots);
    }
    dots
}

/// The sum of the lanes of each vector.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn totals(sums: &[__m512i], totals: &mut [i32]) {
    let ((fours, rest), (totals, rest_totals)) = (sums.as_chunks::<4>(), totals.as_chunks_mut::<4>());
    for (four, totals) in fours.iter().zip(totals) {
        // Each step adds halves of two vectors into one, so that every lane of 128 bits ends with
        // a part of all four sums.
        let [a, b, c, d] = *four;
        let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        let lanes = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
        let half = _mm256_add_epi32(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes));
        let sums = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
        // SAFETY: four totals have 16 bytes.
        unsafe { _mm_storeu_si128(totals.as_mut_ptr().cast(), sums) };
    }
    for (sum, total) in rest.iter().zip(rest_totals) {
        *total = _mm512_reduce_add_epi32(*sum);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn add<const R: usize>(sums: &mut [__m512i; R], words: __m512i, codes: [__m512i; R]) {
    for (sum, codes) in sums.iter_mut().zip(codes) {
        *sum = _mm512_dpwssd_epi32(*sum, words, codes);
    }
}
