//! The `deltafold` program, a thin layer on top of the library: arguments in, library calls,
//! results out. `commands/` has one file for each command.
#![deny(unsafe_code)]

mod args;
mod backlog;
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

use std::process::ExitCode;

use clap::Parser;

use args::Cli;
use context::Context;
use exit::Exit;
use global::Color;

fn main() -> ExitCode {
    heap::give_back_early();
    crash::install(false);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refused(error),
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
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return exit::Failure::new(Exit::Failed, format!("cannot start threads: {error}")).report(json);
        }
    };
    let context = Context::new(&cli.global, cli.command.only_prints());
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
            None => ExitCode::SUCCESS,
            Some(error) => exit::Failure::unwritten(error).report(json),
        },
        Err(failure) => failure.report(json),
    }
}

/// Answers a parse that yields no command: help and version on standard output, or an error.
fn refused(error: clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    // The message quotes arguments. If they hold characters that a terminal acts on, this parses
    // their escaped form instead, so that the message quotes that.
    let arguments = || std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let escaped = || arguments().map(|argument| output::escape::shown(&argument).into_owned());
    let error = if arguments().eq(escaped()) { error } else { Cli::try_parse_from(escaped()).err().unwrap_or(error) };
    // Clap could not read the arguments, and a script still wants JSON.
    let json = arguments().skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json");
    if json {
        return exit::Failure::usage(&error.render().to_string()).report(true);
    }
    let _ = error.print();
    ExitCode::from(Exit::Usage as u8)
}
