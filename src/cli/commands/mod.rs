//! The commands.

pub(crate) mod append;
pub(crate) mod compact;
pub(crate) mod completions;
pub(crate) mod cost;
pub(crate) mod count;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod drop;
pub(crate) mod follow;
pub(crate) mod get;
pub(crate) mod history;
#[cfg(feature = "sqs")]
pub(crate) mod ingest;
pub(crate) mod inspect;
#[cfg(feature = "mapping")]
pub(crate) mod map;
pub(crate) mod pin;
pub(crate) mod query;
#[cfg(feature = "sqs")]
pub(crate) mod queue;
pub(crate) mod repair;
#[cfg(feature = "sqs")]
pub(crate) mod reset;
pub(crate) mod scan;
pub(crate) mod status;
pub(crate) mod sweep;
pub(crate) mod unpin;
pub(crate) mod verify;

use super::args::Command;
use super::context::Context;
use super::exit::Outcome;

/// Runs a command to its end.
pub(crate) async fn run(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Create(command) => command.run(context).await,
        Command::Append(command) => command.run(context).await,
        Command::Get(command) => command.run(context).await,
        Command::Query(command) => command.run(context).await,
        Command::Scan(command) => command.run(context).await,
        Command::Count(command) => command.run(context).await,
        Command::Follow(command) => command.run(context).await,
        Command::Delete(command) => command.run(context).await,
        Command::Compact(command) => command.run(context).await,
        Command::Status(command) => command.run(context).await,
        Command::History(command) => command.run(context).await,
        Command::Pin(command) => command.run(context).await,
        Command::Unpin(command) => command.run(context).await,
        Command::Sweep(command) => command.run(context).await,
        Command::Verify(command) => command.run(context).await,
        Command::Repair(command) => command.run(context).await,
        Command::Inspect(command) => command.run(context).await,
        Command::Doctor(command) => command.run(context).await,
        Command::Drop(command) => command.run(context).await,
        Command::Cost(command) => command.run(context),
        #[cfg(feature = "sqs")]
        Command::Ingest(command) => command.run(context).await,
        #[cfg(feature = "sqs")]
        Command::Queue(command) => command.run(context).await,
        #[cfg(feature = "sqs")]
        Command::Reset(command) => command.run(context).await,
        #[cfg(feature = "mapping")]
        Command::Map(command) => command.run(context),
        Command::Demo(command) => command.run(context).await,
        Command::Completions(command) => command.run(context),
    }
}
