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
pub(super) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(super) use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub(super) use neon::Neon;
