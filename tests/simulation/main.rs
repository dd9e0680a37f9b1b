//! The real engine in a simulated world: every history depends on nothing but its seed, goes wrong
//! in many ways, and is checked from outside.
//!
//! `cargo test --all-features --test simulation` runs 300 histories. With `DELTAFOLD_SEED=…` it
//! runs that one history; where it fails, makes it smaller and tells it. `DELTAFOLD_HISTORIES=…` or
//! `DELTAFOLD_MINUTES=…` say how many are run.
#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it must be")]

mod actors;
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

#[expect(dead_code, unreachable_pub, reason = "used by other programs")]
#[path = "../support/model.rs"]
mod model;
#[expect(dead_code, unreachable_pub, reason = "used by other programs")]
#[path = "../support/random.rs"]
mod random;
