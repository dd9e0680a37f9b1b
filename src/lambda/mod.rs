//! The functions for AWS Lambda: one program, `bootstrap`, that is what the variable
//! `DELTAFOLD_FUNCTION` says.
//!
//! | function | started by | does |
//! |---|---|---|
//! | `ingest` | messages of an SQS queue, records of a DynamoDB stream | appends their ops to the log |
//! | `forward` | records of a DynamoDB stream | packs them into messages of a FIFO queue |
//! | `compact` | a schedule, a call, a message | folds, merges, and sweeps now and then |
//!
//! Collections, connections and what is known of the log stay from one invocation to the next.
//! Nothing that an instance keeps is needed for safety: it may be stopped, frozen or forgotten
//! anywhere, and any number of instances may run.
//!
//! `docs/ingest.md` says what is guaranteed and how functions are set up, `docs/deploy/` sets them
//! up.

mod compact;
mod config;
mod deadline;
mod event;
mod failure;
mod forward;
mod ingest;
mod metrics;
mod place;
mod start;
mod threshold;

pub use start::main;
