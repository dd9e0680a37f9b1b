//! The report of a panic. A program that panics anywhere says so once and ends with exit code 70.
//!
//! No panic is expected, so no task goes on beside one: nothing acknowledged depends on a clean
//! end.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};

/// `EX_SOFTWARE` of `sysexits.h`: a defect of the program.
const EXIT: i32 = 70;

/// Has the first panic of this process reported, whatever thread or task it is in, and the process
/// end.
///
/// The report goes to standard error. On AWS Lambda it is a line of the log, which is standard
/// output.
pub(crate) fn install(on_lambda: bool) {
    static REPORTED: AtomicBool = AtomicBool::new(false);
    std::panic::set_hook(Box::new(move |panic| {
        if REPORTED.swap(true, Ordering::Relaxed) {
            // Another thread is reporting its own panic, and ends the process.
            loop {
                std::thread::park();
            }
        }
        // Where the report cannot be written, the exit code is left to tell.
        let _ = tell(on_lambda, panic);
        std::process::exit(EXIT);
    }));
}

fn tell(on_lambda: bool, panic: &PanicHookInfo<'_>) -> std::io::Result<()> {
    let reason = panic.payload_as_str().unwrap_or("no reason is given");
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let version = env!("CARGO_PKG_VERSION");
    let message = format!("deltafold {version} panicked at {place} in thread `{thread}`: {reason}");
    // The reason may quote data, and a terminal obeys control characters.
    let message: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let help = "this is a defect of Deltafold. Please report the lines above, and the command. \
        What was acknowledged is durable; RUST_BACKTRACE=1 shows where it happened";
    // Captured only where RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let details = serde_json::json!({ "version": version, "place": place, "backtrace": backtrace });
    if on_lambda {
        let line = serde_json::json!({ "level": "ERROR", "message": message, "help": help, "panic": details });
        return writeln!(std::io::stdout(), "{line}");
    }
    if std::env::args_os().any(|argument| argument == "--json") {
        let error = serde_json::json!({ "kind": "panic", "message": message, "help": [help], "panic": details });
        return writeln!(std::io::stderr(), "{}", serde_json::json!({ "error": error }));
    }
    let mut out = std::io::stderr().lock();
    writeln!(out, "error: {message}\nhelp: {help}")?;
    backtrace.map_or(Ok(()), |backtrace| writeln!(out, "{backtrace}"))
}

/// Panics where the variable DELTAFOLD_PANIC says so: for tests of the report.
#[cfg(feature = "simulation")]
#[expect(clippy::disallowed_methods, reason = "a test wants the panic of a task and of a thread, not a seam")]
pub(crate) async fn planted() {
    match std::env::var("DELTAFOLD_PANIC").as_deref() {
        Ok("main") => panic!("planted in main"),
        Ok("task") => drop(tokio::spawn(async { panic!("planted in task") }).await),
        Ok("blocking") => drop(tokio::task::spawn_blocking(|| panic!("planted in blocking")).await),
        Ok("thread") => drop(std::thread::spawn(|| panic!("planted in thread")).join()),
        _ => {}
    }
}
