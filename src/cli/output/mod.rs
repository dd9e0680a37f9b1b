//! What the program prints: tables and sentences for people, JSON for scripts; progress on standard error.

mod progress;
pub(crate) mod requests;
mod table;
pub(crate) mod units;

use std::io::{self, IsTerminal, Write};

use anstream::ColorChoice;
use serde_json::Value;

pub(crate) use progress::Progress;
pub(crate) use table::Table;

/// Where and how results are printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// JSON for scripts instead of text for people.
    pub(crate) json: bool,
}

impl Output {
    /// Prints one JSON document.
    pub(crate) fn document(self, document: &Value) -> io::Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, document)?;
        writeln!(out)?;
        out.flush()
    }

    /// Prints one line of JSON Lines, at once.
    pub(crate) fn json_line(self, line: &Value) -> io::Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, line)?;
        writeln!(out)?;
        out.flush()
    }

    /// Prints a line for people, colours and all.
    pub(crate) fn line(self, text: impl std::fmt::Display) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// Prints a line for people on standard error, beside data on standard output. Nothing with `--json`.
    pub(crate) fn note(self, text: impl std::fmt::Display) {
        if !self.json {
            // A note that nobody can read is no failure.
            let _ = writeln!(anstream::stderr().lock(), "{text}");
        }
    }

    /// Whether standard output shows colours.
    pub(crate) fn colored(self) -> bool {
        !matches!(anstream::AutoStream::choice(&io::stdout()), ColorChoice::Never)
    }

    /// Whether a person looks at standard output.
    pub(crate) fn is_terminal(self) -> bool {
        io::stdout().is_terminal()
    }
}
