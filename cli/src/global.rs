//! The options of every command.

use clap::{Args, ValueEnum};
use deltafold::MemoryLimit;

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
