//! The report of a panic. A program that panics reports it once and ends with exit code 70.
//!
//! No panic is expected, so no task continues after one. No acknowledged op depends on a clean end.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};

/// `EX_SOFTWARE` of `sysexits.h`: a defect of the program.
const EXIT: i32 = 70;

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// Lines for people, on standard error.
    Text,
    /// An object of JSON, on standard error.
    Json,
    /// On AWS Lambda: a line of the log, which is standard output.
    Lambda,
}

/// Reports the first panic of this process, in any thread or task, and ends the process.
pub(crate) fn install(report: Report) {
    static REPORTED: AtomicBool = AtomicBool::new(false);
    std::panic::set_hook(Box::new(move |panic| {
        if REPORTED.swap(true, Ordering::Relaxed) {
            // Another thread is reporting its panic, and ends the process.
            loop {
                std::thread::park();
            }
        }
        let short = panic.payload_as_str().is_some_and(lacks_a_thread);
        // Where the report cannot be written, only the exit code tells.
        let _ = if short { tell_of_threads(report) } else { tell(report, panic) };
        std::process::exit(if short { i32::from(crate::out_of_memory::EXIT_CODE) } else { EXIT });
    }));
}

/// Whether a panic says that the system refused another thread. The runtime has no other way to say
/// it. Each thread needs address space for its stack, so a process with too little memory to begin
/// ends this way.
fn lacks_a_thread(reason: &str) -> bool {
    let refused = ["WouldBlock", "OutOfMemory", "os error 11", "os error 12"];
    reason.contains("spawn") && refused.iter().any(|sign| reason.contains(sign))
}

fn tell_of_threads(report: Report) -> std::io::Result<()> {
    let message = "out of memory: the system gave no further thread";
    let help = "give the process more memory or threads (`ulimit -v`, `ulimit -u`); acknowledged ops are durable";
    if report == Report::Lambda {
        let line = serde_json::json!({ "level": "ERROR", "message": message, "help": help });
        return writeln!(std::io::stdout(), "{line}");
    }
    if report == Report::Json {
        let error = serde_json::json!({ "kind": "out_of_memory", "message": message, "help": [help] });
        return writeln!(std::io::stderr(), "{}", serde_json::json!({ "error": error }));
    }
    writeln!(std::io::stderr(), "error: {message}\nhelp: {help}")
}

fn tell(report: Report, panic: &PanicHookInfo<'_>) -> std::io::Result<()> {
    let reason = panic.payload_as_str().unwrap_or("no reason is given");
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let version = env!("CARGO_PKG_VERSION");
    let message = format!("deltafold {version} panicked at {place} in thread `{thread}`: {reason}");
    // The reason may quote data, and a terminal obeys control characters.
    let message: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let help = "this is a defect of Deltafold. Please report the lines above, and the command. \
        Acknowledged ops are durable. RUST_BACKTRACE=1 shows the place";
    // Captured only where RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let details = serde_json::json!({ "version": version, "place": place, "backtrace": backtrace });
    if report == Report::Lambda {
        let line = serde_json::json!({ "level": "ERROR", "message": message, "help": help, "panic": details });
        return writeln!(std::io::stdout(), "{line}");
    }
    if report == Report::Json {
        let error = serde_json::json!({ "kind": "panic", "message": message, "help": [help], "panic": details });
        return writeln!(std::io::stderr(), "{}", serde_json::json!({ "error": error }));
    }
    let mut out = std::io::stderr().lock();
    writeln!(out, "error: {message}\nhelp: {help}")?;
    backtrace.map_or(Ok(()), |backtrace| writeln!(out, "{backtrace}"))
}

/// Panics where the variable DELTAFOLD_PANIC says so, for tests of the report.
#[cfg(feature = "simulation")]
#[expect(clippy::disallowed_methods, reason = "a test wants the panic of a task and of a thread, not a seam")]
pub(crate) async fn planted() {
    match std::env::var("DELTAFOLD_PANIC").as_deref() {
        Ok("main") => panic!("planted in main"),
        Ok("threads") => panic!("OS can't spawn worker thread: {}", std::io::Error::from_raw_os_error(libc::EAGAIN)),
        Ok("task") => drop(tokio::spawn(async { panic!("planted in task") }).await),
        Ok("blocking") => drop(tokio::task::spawn_blocking(|| panic!("planted in blocking")).await),
        Ok("thread") => drop(std::thread::spawn(|| panic!("planted in thread")).join()),
        _ => {}
    }
}
