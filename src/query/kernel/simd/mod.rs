//! Kernels of single machines: the one module of the crate with unsafe code.
//!
//! Unsafe is needed for two things. Loads of vectors take pointers: each function asserts the
//! lengths that its loads rely on. Functions with instructions beyond the baseline may run only
//! where the machine has them: a token proves it, as only `detect` makes one.
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
