//! Warnings and steps of the library, on standard error: lines for people, JSON Lines for scripts.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::escape;

/// Logs on standard error: `-v` logs steps, `-vv` every request, `-vvv` everything.
pub(crate) fn log(verbose: u8, json: bool) {
    let level = match verbose {
        // Our own error names the places where the SDK found no region, and the remedy.
        0 => "warn,aws_config=error",
        1 => "deltafold=info",
        2 => "deltafold=debug",
        _ => "trace",
    };
    let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(level)).with_ansi(false);
    // A process that has a logger already keeps it.
    let _ = if json {
        log.json().with_writer(Stderr { json }).finish().try_init()
    } else {
        log.with_writer(Stderr { json }).finish().try_init()
    };
}

/// Standard error that escapes and never fails: the logger would panic where it is closed.
#[derive(Debug, Clone, Copy)]
struct Stderr {
    json: bool,
}

impl MakeWriter<'_> for Stderr {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl Write for Stderr {
    /// Takes one event. The logger hands it over whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = if self.json {
            escape::json(event).into_owned()
        } else {
            let text = String::from_utf8_lossy(event);
            format!("{}\n", escape::shown(text.trim_end_matches('\n'))).into_bytes()
        };
        let _ = io::stderr().lock().write_all(&line);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
