//! The memory of each part of the engine, counted by the allocator of this program. The bounds are
//! those of `docs/design.md`.
#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it must be")]

mod allocator;
#[cfg(feature = "import")]
mod import;
mod log;
