//! The list of commands.

use clap::{CommandFactory, Parser, Subcommand};

use super::commands::{
    append, compact, completions, copy, cost, count, create, delete, demo, doctor, drop, export, follow, get, history,
    inspect, pin, query, repair, scan, status, sweep, unpin, verify,
};
use super::context::Context;
use super::exit::{EXIT_CODES, Outcome};
use super::global::Global;

/// Collections of vector records on object storage: append deltas, fold them into snapshots, read
/// both.
#[derive(Debug, Parser)]
#[command(name = "deltafold", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a collection
    Create(create::Create),
    /// Append ops, one a line, from files or standard input
    Append(append::Append),
    /// Read records by id
    Get(get::Get),
    /// Find the records whose embeddings are nearest to a vector
    Query(query::Query),
    /// Read records in order, as JSON Lines
    Scan(scan::Scan),
    /// Count the records
    Count(count::Count),
    /// Write the records to files: JSON Lines, Parquet, Arrow
    Export(export::Export),
    /// Copy a collection into another one: a backup, another number of shards, a standby
    Copy(Box<copy::Copy>),
    /// Read new ops of a shard's log as they arrive, as JSON Lines
    Follow(follow::Follow),
    /// Delete the records that match a filter
    Delete(delete::Delete),
    /// Fold the log into the snapshot, and merge runs
    Compact(compact::Compact),
    /// Show a collection's state, or list the collections
    Status(status::Status),
    /// Show the versions of a collection and the edits that made them
    History(history::History),
    /// Keep the current version readable under a name
    Pin(pin::Pin),
    /// Remove a pin
    Unpin(unpin::Unpin),
    /// Delete objects that no reader and no writer can need any more
    Sweep(sweep::Sweep),
    /// Check a collection for damage
    Verify(verify::Verify),
    /// Rebuild lost or damaged registers from the other objects
    Repair(repair::Repair),
    /// Show the kind and the content of any single object
    Inspect(inspect::Inspect),
    /// Test whether the store keeps every promise that Deltafold relies on
    Doctor(doctor::Doctor),
    /// Delete a collection and all its objects
    Drop(drop::Drop),
    /// Estimate the monthly cost of a pipeline
    Cost(cost::Cost),
    /// Append the messages of an SQS queue until it is stopped
    #[cfg(feature = "sqs")]
    Ingest(Box<super::commands::ingest::Ingest>),
    /// Manage queues: show their depth, peek, move dead letters back, purge
    #[cfg(feature = "sqs")]
    Queue(super::commands::queue::Queue),
    /// Purge queues and drop a collection, to begin anew
    #[cfg(feature = "sqs")]
    Reset(super::commands::reset::ResetArgs),
    /// Take over the items of a DynamoDB table, from an export or a scan
    #[cfg(feature = "mapping")]
    Backfill(Box<super::commands::backfill::Backfill>),
    /// Show the ops that a mapping makes of records of a DynamoDB stream
    #[cfg(feature = "mapping")]
    Map(super::commands::map::MapRecords),
    /// Import collections of other programs
    #[cfg(feature = "import")]
    Import(super::commands::import::Import),
    /// Serve the collections over HTTP to Chroma's clients
    #[cfg(feature = "serve")]
    Serve(Box<super::commands::serve::Serve>),
    /// Show every feature at work on 1,500 real records
    Demo(demo::Demo),
    /// Print the completions of a shell
    Completions(completions::Completions),
}

impl Command {
    /// Runs the command to its end.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        match self {
            Self::Create(command) => command.run(context).await,
            Self::Append(command) => command.run(context).await,
            Self::Get(command) => command.run(context).await,
            Self::Query(command) => command.run(context).await,
            Self::Scan(command) => command.run(context).await,
            Self::Count(command) => command.run(context).await,
            Self::Export(command) => command.run(context).await,
            Self::Copy(command) => command.run(context).await,
            Self::Follow(command) => command.run(context).await,
            Self::Delete(command) => command.run(context).await,
            Self::Compact(command) => command.run(context).await,
            Self::Status(command) => command.run(context).await,
            Self::History(command) => command.run(context).await,
            Self::Pin(command) => command.run(context).await,
            Self::Unpin(command) => command.run(context).await,
            Self::Sweep(command) => command.run(context).await,
            Self::Verify(command) => command.run(context).await,
            Self::Repair(command) => command.run(context).await,
            Self::Inspect(command) => command.run(context).await,
            Self::Doctor(command) => command.run(context).await,
            Self::Drop(command) => command.run(context).await,
            Self::Cost(command) => command.run(context),
            #[cfg(feature = "sqs")]
            Self::Ingest(command) => command.run(context).await,
            #[cfg(feature = "sqs")]
            Self::Queue(command) => command.run(context).await,
            #[cfg(feature = "sqs")]
            Self::Reset(command) => command.run(context).await,
            #[cfg(feature = "mapping")]
            Self::Backfill(command) => command.run(context).await,
            #[cfg(feature = "mapping")]
            Self::Map(command) => command.run(context),
            #[cfg(feature = "import")]
            Self::Import(command) => command.run(context).await,
            #[cfg(feature = "serve")]
            Self::Serve(command) => command.run(context).await,
            Self::Demo(command) => command.run(context).await,
            Self::Completions(command) => command.run(context, &mut Cli::command()),
        }
    }

    /// Whether the command only prints, and may end when its reader closes the pipe. All other
    /// commands finish their work and give their verdict.
    pub(crate) fn only_prints(&self) -> bool {
        match self {
            Self::Scan(scan) => scan.only_prints(),
            Self::Follow(_) => true,
            #[cfg(feature = "mapping")]
            Self::Map(map) => map.only_prints(),
            _ => false,
        }
    }

    /// The help after a signal has ended the command. `None` for commands that stop by themselves.
    pub(crate) fn after_a_signal(&self) -> Option<&'static str> {
        match self {
            Self::Append(_) | Self::Follow(_) => None,
            Self::Compact(compact) if compact.watches() => None,
            Self::Copy(copy) if copy.follows() => None,
            Self::Export(_) => Some("nothing was written under the final name: run the same command again"),
            Self::Copy(_) => Some("nothing is lost: the same command again goes on where this one stopped"),
            #[cfg(feature = "sqs")]
            Self::Ingest(_) => None,
            #[cfg(feature = "mapping")]
            Self::Backfill(_) => None,
            #[cfg(feature = "serve")]
            Self::Serve(_) => None,
            Self::Verify(_) => Some("there is no verdict: run the same command again"),
            Self::Get(_) | Self::Scan(_) | Self::Count(_) | Self::Status(_) | Self::History(_) | Self::Inspect(_) => {
                Some("the output may lack its end: run the same command again")
            }
            _ => Some("nothing acknowledged is lost; the same command again does the rest"),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
