//! The functions for AWS Lambda: one program, `bootstrap`. The variable `DELTAFOLD_FUNCTION`
//! selects the function.
//!
//! | function | started by | does |
//! |---|---|---|
//! | `ingest` | messages of an SQS queue, records of a DynamoDB or Kinesis stream, notifications | appends their ops to the log |
//! | `forward` | records of a DynamoDB or Kinesis stream | packs them into messages of a FIFO queue |
//! | `compact` | a schedule, a call, a message | folds, merges, and sweeps now and then |
//! | `serve` | requests of a function URL | answers Chroma's clients, as `deltafold serve` does |
//!
//! An instance keeps collections, connections and its view of the log between invocations. It needs
//! none of them for safety: it may be stopped, frozen or forgotten anywhere, and any number of
//! instances may run.
//!
//! `docs/ingest.md` states the guarantees and the setup of functions; `docs/deploy/` has the
//! templates.

mod compact;
mod config;
mod deadline;
mod event;
mod failure;
mod fold_request;
mod forward;
mod handler;
mod ingest;
mod kinesis;
mod metrics;
mod serve;
mod serve_settings;
mod start;
mod stream;
mod target;
mod threshold;
mod url;
mod variables;

pub use failure::Failure;
pub use handler::Handler;
pub use start::main;
