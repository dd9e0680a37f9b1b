//! The protocol as a model: every interleaving of writers, compactors, a sweeper and readers over
//! an abstract store, with answers that are lost, writes that land late, crashes, and pauses
//! anywhere, up to a bound. `docs/correctness.md` says what it proves and how far.
//!
//! One step of a process is one request to the store, and any time passes between two. Writers
//! drive the engine's own commit machine (`src/log/appender/commit.rs`). The other processes decide
//! with the engine's functions, too: `apply` and the invariants, the policy, the history of
//! publishing, the high-water marks. The model adds the order of their requests, and the rules of
//! what a sweep keeps.
//!
//! Two reads of immutable objects are one step where nothing can tell the difference: a head and
//! the manifest it names (the engine reads the head again where the manifest is gone, as if it had
//! read it later).

mod bounds;
mod compactor;
mod keep;
mod model;
mod pinner;
mod properties;
mod publisher;
mod reader;
mod runs;
mod store;
mod sweeper;
mod writer;
