//! Kernels of single machines: the one module of the crate with unsafe code.
//!
//! Two things need unsafe code. Loads of vectors take pointers, so each function asserts the
//! lengths that its loads need. Functions with instructions beyond the baseline may run only on
//! machines that have them. A token proves that, because only `detect` makes one.
#![expect(unsafe_code, reason = "vector loads and instructions found at run time; each block says why it is sound")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod loops;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod vbmi;

/// Brings codes or rows into the cache while other work goes on. Only a machine of x86 is asked for
/// it.
#[inline]
pub(crate) fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for start in (0..size_of_val(values)).step_by(CACHE_LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every machine of x86-64 has the instruction. It changes no memory, and faults for
        // no address. `start` lies in the values.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().byte_add(start).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// Bytes that come into the cache together.
#[cfg(target_arch = "x86_64")]
const CACHE_LINE: usize = 64;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(super) use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub(super) use neon::Neon;
