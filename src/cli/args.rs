//! The arguments that every command shares, and the list of commands.

use clap::{Args, Parser, Subcommand, ValueEnum};
use deltafold::MemoryLimit;

use super::commands::{
    append, compact, completions, cost, count, create, delete, demo, doctor, drop, follow, get, history, inspect, pin,
    query, repair, scan, status, sweep, unpin, verify,
};
use super::exit::EXIT_CODES;

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

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The store: a path, `dir:PATH`, or `s3://BUCKET/PREFIX`; `?region=`, `?endpoint=` and more:
    /// see `docs/s3.md`
    #[arg(long, env = "DELTAFOLD_STORE", default_value = "./deltafold-data", global = true, value_name = "STORE")]
    pub(crate) store: String,
    /// The memory that the command may use, at least 64MiB; the program itself uses up to 64MiB
    /// more
    #[arg(long, env = "DELTAFOLD_MEMORY", default_value = "256MiB", global = true, value_name = "SIZE")]
    pub(crate) memory: MemoryLimit,
    /// Print JSON for scripts: one document, or one a line where there may be many
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Report the requests to the store at the end: calls by kind, retries, conflicts, bytes
    #[arg(long, global = true)]
    pub(crate) requests: bool,
    /// Colours: on a terminal unless NO_COLOR is set, always, or never
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
    /// Log the steps on standard error; `-vv` and `-vvv` log more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
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
    /// Show the ops that a mapping makes of records of a DynamoDB stream
    #[cfg(feature = "mapping")]
    Map(super::commands::map::MapRecords),
    /// Show every feature at work on 1,500 real records
    Demo(demo::Demo),
    /// Print the completions of a shell
    Completions(completions::Completions),
}

impl Command {
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
            #[cfg(feature = "sqs")]
            Self::Ingest(_) => None,
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
