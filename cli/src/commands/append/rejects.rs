//! The file of rejects: the lines that a load turned away, as JSON Lines.
//!
//! A line is written before the lines behind it are handed to the writer, and flushed before any of
//! them is reported as acknowledged. So a load that is killed and run again finds each line in the
//! log or in the file. A line that the file names is not read again: mended meanwhile, it would
//! count as a repetition of its source and be lost.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::exit::{Exit, Failure, Outcome};
use crate::input::Reject;
use crate::output::units::count;
use crate::quote::quoted_path;

/// A file of rejects that is written.
pub(super) struct Rejects {
    path: PathBuf,
    file: File,
    /// Lines in it.
    held: u64,
    /// The most lines that it may hold.
    most: u64,
    /// Lines that this run added.
    added: u64,
    /// Whether lines were written since the last flush.
    dirty: bool,
    /// The numbers in it that were there before, in order.
    before: Arc<[u64]>,
}

/// The beginning of a line of the file.
#[derive(Deserialize)]
struct Line {
    source: String,
    row: Option<u64>,
    element: Option<u64>,
    line: Option<u64>,
}

impl Rejects {
    /// Opens the file, or makes it. A file that is there must hold rejects of this source alone;
    /// `None` where each run has sources of its own.
    pub(super) fn open(path: &Path, source: Option<&str>, most: u64) -> Outcome<Self> {
        let name = path.display().to_string();
        // Opening a pipe would wait for its reader.
        if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
            let problem = format!("`{name}` is not a regular file, so a run that breaks off could not go on");
            return Err(Failure::new(Exit::Usage, problem).help("name another file for the rejects"));
        }
        let failed =
            |what: &'static str| move |error: io::Error| Failure::file(what, &path.display().to_string(), &error);
        let opened = OpenOptions::new().read(true).append(true).create(true).open(path);
        let mut file = opened.map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let problem = format!("another `append` writes its rejects to `{name}`");
                return Err(Failure::new(Exit::TryAgain, problem).help("wait for its end, or name another file"));
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
        }
        let mut before = numbers(&mut file, path, source)?;
        file.seek(SeekFrom::End(0)).map_err(failed("read"))?;
        before.sort_unstable();
        let held = before.len() as u64;
        Ok(Self { path: path.to_owned(), file, held, most, added: 0, dirty: false, before: before.into() })
    }

    /// The numbers that an earlier run turned away, in order.
    pub(super) fn before(&self) -> Arc<[u64]> {
        self.before.clone()
    }

    /// Lines that this run added.
    pub(super) fn added(&self) -> u64 {
        self.added
    }

    /// All lines in the file.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file may hold another line.
    pub(super) fn has_room(&self) -> bool {
        self.held < self.most
    }

    /// Adds lines.
    pub(super) fn add(&mut self, source: &str, input: &str, rejects: &[Reject]) -> Outcome {
        for reject in rejects {
            let line = reject.json(source, input);
            self.file.write_all(&line).map_err(|error| self.unwritten(&error))?;
            (self.held, self.added, self.dirty) = (self.held + 1, self.added + 1, true);
        }
        Ok(())
    }

    /// Makes the lines durable.
    pub(super) fn flush(&mut self) -> Outcome {
        if std::mem::take(&mut self.dirty) {
            self.file.sync_data().map_err(|error| self.unwritten(&error))?;
        }
        Ok(())
    }

    fn unwritten(&self, error: &io::Error) -> Failure {
        Failure::file("write the rejects to", &self.path.display().to_string(), error)
            .help("make room for them, and go on as below: a line that took effect does not do so again")
    }

    /// The failure where one more line would exceed the limit.
    pub(super) fn full(&self, input: &str, unit: &str, reject: &Reject) -> Failure {
        let (held, number) = (count(self.held), reject.number);
        let problem = format!("{input}: {unit} {number} would exceed `--max-rejects`, {held}: {}", reject.message);
        Failure::new(Exit::BadInput, problem)
            .detail("rejected", self.added)
            .detail("rejects", self.path.display().to_string())
            .help(format!("look at `{}`, and mend the input or raise `--max-rejects`", self.path.display()))
    }

    /// The failure of a load that is done without the lines in the file. `append` is the command
    /// that takes them in.
    pub(super) fn turned_away(&self, append: &str) -> Failure {
        let name = self.path.display().to_string();
        let are = if self.held == 1 { "1 line was".to_owned() } else { format!("{} lines were", count(self.held)) };
        let quoted = quoted_path(self.path.as_os_str());
        Failure::new(Exit::Partly, format!("{are} turned away; everything else was appended. See `{name}`"))
            .detail("rejected", self.held)
            .detail("rejects", name)
            .help(format!(
                "mend the texts in it, and append them by themselves: jq -r 'select(.text).text' {quoted} | {append} -"
            ))
    }
}

/// The numbers of the lines in a file of rejects. Removes a last line that a killed run left
/// unfinished.
fn numbers(file: &mut File, path: &Path, source: Option<&str>) -> Outcome<Vec<u64>> {
    let name = path.display();
    let failed = |error: io::Error| Failure::file("read", &path.display().to_string(), &error);
    let foreign = |what: &str| {
        Failure::new(Exit::Usage, format!("`{name}` {what}; nothing was written to it")).help(
            "name another file for the rejects. To go on with a load that broke off, use the command that it printed, \
             with its `--source`",
        )
    };
    let mut numbers = Vec::new();
    let mut sound = 0;
    let mut reader = BufReader::new(&mut *file);
    loop {
        let mut lines = serde_json::Deserializer::from_reader(&mut reader).into_iter::<Line>();
        let next = lines.next();
        let length = lines.byte_offset() as u64;
        match next {
            None => break,
            Some(Ok(line)) => {
                if source != Some(line.source.as_str()) {
                    return Err(foreign(&format!("holds rejects of another source, `{}`", line.source)));
                }
                let number = line.row.or(line.element).or(line.line);
                numbers.push(number.ok_or_else(|| foreign("is not a file of rejects"))?);
                // The line break belongs to the line: without it, the line is unfinished.
                let mut end = Vec::new();
                (&mut reader).take(1).read_until(b'\n', &mut end).map_err(failed)?;
                if end != b"\n" {
                    numbers.pop();
                    break;
                }
                sound += length + 1;
            }
            Some(Err(error)) if error.is_eof() => break,
            Some(Err(_)) => return Err(foreign("is not a file of rejects")),
        }
    }
    drop(reader);
    let length = file.metadata().map_err(failed)?.len();
    if length > sound {
        // Only a line of ours may go.
        let mut rest = Vec::new();
        file.seek(SeekFrom::Start(sound)).map_err(failed)?;
        file.take(BEGINNING.len() as u64).read_to_end(&mut rest).map_err(failed)?;
        if !BEGINNING.starts_with(&rest) {
            return Err(foreign("is not a file of rejects"));
        }
        file.set_len(sound).map_err(|error| Failure::file("cut", &name.to_string(), &error))?;
    }
    Ok(numbers)
}

/// The beginning of each line.
const BEGINNING: &[u8] = b"{\"source\":";
