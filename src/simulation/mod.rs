//! For tests alone: a simulation replaces the machine, and tests can switch guards off.
//!
//! With the feature `simulation`, the engine turns to the [`Machine`] of the thread, if there is
//! one, for tasks, waiting, measuring time and random pauses. A run on one thread then depends on
//! its seed alone. A test can [watch](DiskWatch) the calls that a store in a folder makes to the
//! operating system, and take hard links [away](WithoutLinks). It can [switch off](Guard::without)
//! each [`Guard`], to prove that the tests would notice. Without the feature none of
//! this is compiled.

#![cfg_attr(not(feature = "simulation"), expect(unreachable_pub, reason = "it is public where the feature is on"))]

#[cfg(feature = "simulation")]
mod disk;
#[cfg(feature = "simulation")]
mod machine;

mod guard;

#[cfg(feature = "simulation")]
pub use disk::{DiskCall, DiskWatch, DiskWatcher, WithoutLinks};
#[cfg(feature = "simulation")]
pub(crate) use disk::{may_link, tell};
pub use guard::Guard;
#[cfg(feature = "simulation")]
pub(crate) use machine::current;
#[cfg(feature = "simulation")]
pub use machine::{Machine, on};
