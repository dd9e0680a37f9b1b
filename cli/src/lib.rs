//! The code of the program `deltafold`, a thin layer on top of the library: arguments in, library
//! calls, results out. `commands/` has one file for each command.
//!
//! It is a library for the sake of its two programs, and of the Python package, which runs it in an
//! interpreter. The library to build on is `deltafold`.
#![deny(unsafe_code)]

mod args;
mod backlog;
#[cfg(feature = "lambda")]
mod bootstrap;
mod commands;
mod confirm;
mod context;
mod crash;
mod exit;
mod global;
#[cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "the C library's heap has no other way to be set")
)]
mod heap;
mod input;
#[expect(unsafe_code, reason = "blocks of memory are kept below the allocator")]
mod kept_blocks;
#[expect(unsafe_code, reason = "a global allocator cannot be written without")]
mod out_of_memory;
mod output;
mod quote;
mod signals;
mod whered;

use std::ffi::OsString;

use clap::Parser;

use args::Cli;
use context::Context;
use exit::Exit;
use global::Color;

#[cfg(feature = "lambda")]
pub use bootstrap::bootstrap;
pub use out_of_memory::Allocator;

/// Runs the program with these arguments, of which the first is its name. Returns its exit code.
///
/// It is the whole process: it writes to standard output and standard error, catches signals, ends
/// the process after a panic, and sets up the heap and the logger of the process. So it runs once a
/// process. With [`Allocator`] as the global allocator, a process that runs out of memory ends with
/// a sentence and the exit code 71.
pub fn main(arguments: Vec<OsString>) -> u8 {
    heap::give_back_early();
    // Where clap cannot read the arguments, a script still wants JSON.
    let json = arguments.iter().skip(1).take_while(|argument| *argument != "--").any(|argument| argument == "--json");
    crash::install(if json { crash::Report::Json } else { crash::Report::Text });
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refused(error, &arguments, json),
    };
    match cli.global.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    let json = cli.global.json;
    crate::out_of_memory::tell_as_json(json);
    crate::out_of_memory::keep_blocks(cli.global.memory.bytes() / 8);
    output::log(cli.global.verbose, json);
    let called = arguments.first().map_or("deltafold".into(), |first| first.to_string_lossy()).into_owned();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return exit::Failure::new(Exit::Failed, format!("cannot start threads: {error}")).report(json);
        }
    };
    let context = Context::new(called, &cli.global, cli.command.only_prints());
    let told = matches!(cli.command, args::Command::Status(_)) && json;
    #[cfg(feature = "simulation")]
    runtime.block_on(crate::crash::planted());
    let outcome = runtime.block_on(async {
        if let Some(help) = cli.command.after_a_signal() {
            signals::end_program(help, json);
        }
        cli.command.run(&context).await
    });
    if cli.global.requests && !told {
        context.tell_requests();
    }
    // A reader of standard input may still block; the program does not wait for it.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => match output::lost() {
            None => 0,
            Some(error) => exit::Failure::unwritten(error).report(json),
        },
        Err(failure) => failure.report(json),
    }
}

/// Answers a parse that yields no command: help and version on standard output, or an error.
fn refused(error: clap::Error, arguments: &[OsString], json: bool) -> u8 {
    if !error.use_stderr() {
        let _ = error.print();
        return 0;
    }
    // The message quotes arguments. If they hold characters that a terminal acts on, this parses
    // their escaped form instead, so that the message quotes that.
    let arguments = || arguments.iter().map(|argument| argument.to_string_lossy().into_owned());
    let escaped = || arguments().map(|argument| output::escape::shown(&argument).into_owned());
    let error = if arguments().eq(escaped()) { error } else { Cli::try_parse_from(escaped()).err().unwrap_or(error) };
    if json {
        return exit::Failure::usage(&error.render().to_string()).report(true);
    }
    let _ = error.print();
    Exit::Usage as u8
}
