//! The real engine in a simulated world. Every history depends only on its seed, has many kinds of
//! faults, and is checked from outside.
//!
//! `cargo test --all-features --test simulation` runs 300 histories. `DELTAFOLD_SEED=…` runs that
//! one history; if it fails, the test shrinks and prints it. `DELTAFOLD_HISTORIES=…` or
//! `DELTAFOLD_MINUTES=…` sets how many run.
#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it must be")]

mod actors;
mod broken;
mod checks;
mod crash_points;
mod executor;
mod histories;
mod history;
mod mutants;
mod oracle;
mod plan;
mod store;
mod world;
