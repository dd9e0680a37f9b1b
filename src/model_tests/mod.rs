//! The protocol as a model: every interleaving of writers, compactors, a sweeper and readers over an abstract store, with answers that are lost, writes that land
//! late, crashes, and pauses anywhere, up to a bound. `docs/correctness.md` says what it proves and how far.
//!
//! One step of a process is one request to the store; what lies between two requests takes any time. The steps decide with the functions that the engine decides
//! with: `apply` and the invariants, the policy, the history of publishing, the marks of sources. What a process of the model adds is the order of requests, and
//! what a sweep keeps, which the engine decides between its own.
//!
//! Two reads of immutable objects are one step where nothing can tell the difference: a head and the manifest it names (the engine reads the head
//! again where the manifest is gone, which is to have read it later).

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
