//! For tests alone: a simulation takes the machine's place, and guards can be switched off.
//!
//! With the feature `simulation`, whatever the engine asks of the machine (tasks, waiting,
//! measuring time, random pauses) goes to the [`Machine`] of the thread, where there is one: a run
//! on one thread then depends on nothing but its seed. What a store in a folder asks of the
//! operating system can be [watched](DiskWatch). Each [`Guard`] can be [switched
//! off](Guard::without), so that the tests prove that they would notice. And edits of snapshots can
//! be [rehearsed](Rehearsal) without a store. Without the feature nothing of this is compiled.

#![cfg_attr(not(feature = "simulation"), expect(unreachable_pub, reason = "it is public where the feature is on"))]

#[cfg(feature = "simulation")]
mod disk;
#[cfg(feature = "simulation")]
mod machine;

mod guard;

#[cfg(feature = "simulation")]
pub(crate) use disk::tell;
#[cfg(feature = "simulation")]
pub use disk::{DiskCall, DiskWatch, DiskWatcher};
pub use guard::Guard;
#[cfg(feature = "simulation")]
pub(crate) use machine::current;
#[cfg(feature = "simulation")]
pub use machine::{Machine, on};

#[cfg(feature = "simulation")]
pub use crate::snapshot::rehearsal::{Mistake, Rehearsal, Rehearsed, Step};
