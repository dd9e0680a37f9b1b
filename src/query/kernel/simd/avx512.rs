//! AVX-512, where it has BW, VL and VNNI. Sign bits are left to AVX2: table look-ups in wider vectors gain nothing.

use std::arch::x86_64::{
    __m512i, _mm256_loadu_si256, _mm256_maskz_loadu_epi8, _mm512_cvtepi8_epi16, _mm512_dpwssd_epi32,
    _mm512_loadu_si512, _mm512_maskz_loadu_epi16, _mm512_reduce_add_epi32, _mm512_setzero_si512,
};

use super::super::dispatch::Dots;
use super::Avx2;
use super::loops::byte_loops;

/// Codes of 8 bits in one vector, widened to 16.
const CODES: usize = 32;

/// Proof that the machine has AVX-512 F, BW, VL and VNNI, and AVX2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx512 {
    avx2: Avx2,
}

impl Avx512 {
    /// The proof, if the machine has it.
    pub(crate) fn detect() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        Avx2::detect().filter(|_| all).map(|avx2| Self { avx2 })
    }

    /// As [`portable::byte_dots`](super::super::portable::byte_dots), for several queries of one length.
    pub(crate) fn byte_dots(self, queries: &[&[i16]], rows: &[i8], dots: Dots<'_>) {
        // SAFETY: `self` proves that the machine has all that the function is compiled for.
        unsafe { byte_dots(queries, rows, dots) }
    }

    /// As [`portable::sign_dots`](super::super::portable::sign_dots), for several queries of one length.
    pub(crate) fn sign_dots(self, queries: &[&[[u8; 16]]], rows: &[u8], dots: Dots<'_>) {
        self.avx2.sign_dots(queries, rows, dots);
    }

    /// As [`Avx2::wide`]: wider vectors of f64 gain nothing beside loads.
    #[inline]
    pub(crate) fn wide<R>(self, work: impl FnOnce() -> R) -> R {
        self.avx2.wide(work)
    }
}

byte_loops!(4, target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni"));

/// The dots of `R` rows with `Q` queries.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn byte_block<const R: usize, const Q: usize>(queries: [&[i16]; Q], rows: &[i8]) -> [[i32; R]; Q] {
    let dimension = queries[0].len();
    assert!(rows.len() == R * dimension && queries.iter().all(|query| query.len() == dimension));
    let mut sums = [[_mm512_setzero_si512(); R]; Q];
    let whole = dimension / CODES * CODES;
    for start in (0..whole).step_by(CODES) {
        let mut codes = [_mm512_setzero_si512(); R];
        for (row, codes) in codes.iter_mut().enumerate() {
            // SAFETY: `start + CODES` is at most `dimension`, so the load ends within row `row` of the `R`.
            let narrow = unsafe { _mm256_loadu_si256(rows.as_ptr().add(row * dimension + start).cast()) };
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
        for (row, codes) in codes.iter_mut().enumerate() {
            // SAFETY: the mask lets the load touch only what is left of row `row` of the `R`.
            let narrow = unsafe { _mm256_maskz_loadu_epi8(mask, rows.as_ptr().add(row * dimension + whole)) };
            *codes = _mm512_cvtepi8_epi16(narrow);
        }
        for (query, sums) in queries.iter().zip(&mut sums) {
            // SAFETY: the mask lets the load touch only what is left of the query.
            let words = unsafe { _mm512_maskz_loadu_epi16(mask, query.as_ptr().add(whole)) };
            add(sums, words, codes);
        }
    }
    let mut dots = [[0; R]; Q];
    for (dots, sums) in dots.iter_mut().zip(sums) {
        for (dot, sum) in dots.iter_mut().zip(sums) {
            *dot = _mm512_reduce_add_epi32(sum);
        }
    }
    dots
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn add<const R: usize>(sums: &mut [__m512i; R], words: __m512i, codes: [__m512i; R]) {
    for (sum, codes) in sums.iter_mut().zip(codes) {
        *sum = _mm512_dpwssd_epi32(*sum, words, codes);
    }
}
