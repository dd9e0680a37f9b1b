//! The protocol as a model. It explores every interleaving of writers, compactors, a sweeper and
//! readers over an abstract store, up to a bound. Answers are lost, writes land late, and processes
//! crash or pause anywhere. `docs/correctness.md` says what the model proves and within which
//! bounds.
//!
//! One step of a process is one request to the store, and any time passes between two steps.
//! Writers drive the engine's own commit machine (`src/log/appender/commit.rs`). The other
//! processes decide with the engine's functions, too: `apply` and the invariants, the policy, the
//! history of publishing, the high-water marks. The model adds the order of their requests, and the
//! sweep's rules of what to keep.
//!
//! Two reads of immutable objects are one step where no process can tell the difference, such as a
//! head and the manifest that it names. If that manifest is gone, the engine reads the head again,
//! as if it had read it later.

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
