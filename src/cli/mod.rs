//! The command line: arguments in, library calls, results out. One file a command.

mod args;
mod commands;
mod confirm;
mod context;
mod exit;
mod input;
mod output;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Color};
use context::Context;
use exit::Exit;

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no error; clap knows.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(Exit::Usage as u8) } else { ExitCode::SUCCESS };
        }
    };
    match cli.global.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    trace(cli.global.verbose);
    let json = cli.global.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return exit::Failure::new(Exit::Failed, format!("cannot start threads: {error}")).report(json);
        }
    };
    let context = Context::new(&cli.global);
    let told = matches!(cli.command, args::Command::Status(_)) && json;
    #[cfg(feature = "simulation")]
    runtime.block_on(crate::crash::planted());
    let outcome = runtime.block_on(commands::run(cli.command, &context));
    if cli.global.requests && !told {
        context.tell_requests();
    }
    // A reader of standard input may still block; nobody waits for it.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

/// Says what happens on standard error: `-v` steps, `-vv` every request, `-vvv` all there is.
fn trace(verbose: u8) {
    let level = match verbose {
        // Where the SDK looked for a region in vain is told by our own error, with what to do.
        0 => "warn,aws_config=error",
        1 => "deltafold=info",
        2 => "deltafold=debug",
        _ => "trace",
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}
