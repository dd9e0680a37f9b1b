//! The program's output: tables and sentences for people, JSON for scripts; progress on standard
//! error.
//!
//! All of standard output and standard error passes through this module. It escapes characters that
//! a terminal acts on, and decides what a closed output means.

pub(crate) mod config;
pub(crate) mod escape;
mod log;
mod progress;
pub(crate) mod requests;
mod table;
pub(crate) mod units;

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use anstream::ColorChoice;
use owo_colors::OwoColorize as _;
use serde_json::Value;

pub(crate) use log::log;
pub(crate) use progress::{Progress, clear_progress};
pub(crate) use table::Table;

/// The destination and form of results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// JSON for scripts instead of text for people.
    pub(crate) json: bool,
    /// The command only prints, so a closed standard output ends it.
    pub(crate) only_prints: bool,
}

/// The first failure to write standard output in a command that goes on without it.
static LOST: OnceLock<io::Error> = OnceLock::new();

impl Output {
    /// Prints one JSON document.
    pub(crate) fn document(self, document: &Value) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(document)?;
        text.push(b'\n');
        self.raw(&escape::json(&text))
    }

    /// Prints one line of JSON Lines, at once.
    pub(crate) fn json_line(self, line: &Value) -> io::Result<()> {
        self.json_text(serde_json::to_vec(line)?)
    }

    /// Prints one line of JSON Lines from finished text, at once.
    pub(crate) fn json_text(self, mut line: Vec<u8>) -> io::Result<()> {
        line.push(b'\n');
        self.raw(&escape::json(&line))
    }

    /// Prints one line for people. Escapes line breaks in it; [`lines`](Self::lines) prints several
    /// lines.
    pub(crate) fn line(self, text: impl std::fmt::Display) -> io::Result<()> {
        self.raw(format!("{}\n", escape::shown(&text.to_string())).as_bytes())
    }

    /// Prints lines for people.
    pub(crate) fn lines<T: std::fmt::Display>(self, lines: impl IntoIterator<Item = T>) -> io::Result<()> {
        lines.into_iter().try_for_each(|line| self.line(line))
    }

    /// Prints an empty line.
    pub(crate) fn blank(self) -> io::Result<()> {
        self.line("")
    }

    /// Prints a line for people, in bold where there are colours.
    pub(crate) fn heading(self, text: impl std::fmt::Display) -> io::Result<()> {
        self.styled(&format!("{}\n", escape::shown(&text.to_string()).bold()))
    }

    /// Prints a title in bold, and one line for each field below it.
    pub(crate) fn card(self, title: &str, fields: &[(String, String)]) -> io::Result<()> {
        let fields = || fields.iter().map(|(name, value)| (escape::shown(name), escape::shown(value)));
        let width = fields().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let mut text = format!("{}\n", escape::shown(title).bold());
        for (name, value) in fields() {
            let space = width - name.chars().count();
            text.push_str(&format!("  {}{:space$}  {value}\n", name.dimmed(), ""));
        }
        self.styled(&text)
    }

    /// Prints a table.
    pub(crate) fn table(self, table: &Table) -> io::Result<()> {
        self.styled(&format!("{}\n", table.text()))
    }

    /// Prints a line for people on standard error, beside data on standard output. Prints nothing
    /// with `--json`.
    pub(crate) fn note(self, text: impl std::fmt::Display) {
        if !self.json {
            complain(&format!("{}\n", escape::shown(&text.to_string())));
        }
    }

    /// Whether standard output shows colours.
    pub(crate) fn colored(self) -> bool {
        !matches!(anstream::AutoStream::choice(&io::stdout()), ColorChoice::Never)
    }

    /// Whether standard output is a terminal.
    pub(crate) fn is_terminal(self) -> bool {
        io::stdout().is_terminal()
    }

    /// Prints bytes as they are. They must hold no unescaped data.
    pub(crate) fn raw(self, text: &[u8]) -> io::Result<()> {
        self.print(|| {
            let mut out = io::stdout().lock();
            out.write_all(text)?;
            out.flush()
        })
    }

    /// Prints text with our own styles, and strips these where colours are off.
    fn styled(self, text: &str) -> io::Result<()> {
        self.print(|| {
            let mut out = anstream::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()
        })
    }

    /// Prints. In a command that does more than print, neither work nor verdict depends on the
    /// reader of the output. It remembers its first failure, and prints nothing more.
    fn print(self, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.only_prints {
            return write();
        }
        if LOST.get().is_none()
            && let Err(error) = write()
        {
            // Another thread may have stored its own failure; one is enough.
            let _ = LOST.set(error);
        }
        Ok(())
    }
}

/// The failure to write standard output in a command that went on without it. A reader that closed
/// the pipe has read what it wanted, and is not a failure.
pub(crate) fn lost() -> Option<&'static io::Error> {
    LOST.get().filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
}

/// Writes to standard error. Ignores a failure, because there is no other place to report it.
pub(crate) fn complain(text: &str) {
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}
