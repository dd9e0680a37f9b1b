//! The file of rejects: the lines, rows and items that a load turned away, as JSON Lines.
//!
//! A line is written before the lines behind it are handed to the writer, and flushed before any of
//! them is reported as acknowledged. So a load that is killed and run again finds each line in the
//! log or in the file. A line that the file names is not read again: mended meanwhile, it would
//! count as a repetition of its source and be lost.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Deserialize;

use super::reject::{Place, Reject};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::units::{count, counted};
use crate::quote::quoted_path;

/// Lines in a file of rejects, unless `--max-rejects` sets another limit.
const MAX_REJECTS: u64 = 1_000_000;

/// Whether a load goes on behind what cannot be taken.
#[derive(Debug, Clone, Args)]
pub(crate) struct RejectsArguments {
    /// Turn away what cannot be taken, and go on: it is written to this file with its place,
    /// reason, field and text. The exit code is then 7
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Stop in front of the text that would be one more in the file of rejects; 16 bytes of memory
    /// each
    #[arg(long, value_name = "N", default_value_t = MAX_REJECTS, requires = "rejects")]
    max_rejects: u64,
}

impl RejectsArguments {
    /// The file, where one is named.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.rejects.as_deref()
    }

    /// Refuses a file that `open` would refuse, and makes none.
    #[cfg(feature = "mapping")]
    pub(crate) fn check(&self, source: Option<&str>) -> Outcome {
        self.path().map_or(Ok(()), |path| Rejects::check(path, source))
    }

    /// Opens the file, where one is named. A file that is there must hold rejects of this source
    /// alone; `None` where each run has sources of its own. `unit` is the name of a text.
    pub(crate) fn open(&self, source: Option<&str>, unit: &'static str) -> Outcome<Option<Rejects>> {
        self.path().map(|path| Rejects::open(path, source, self.max_rejects, unit)).transpose()
    }

    /// The options that a command to go on with must repeat, behind a space.
    pub(crate) fn again(&self) -> String {
        let Some(path) = &self.rejects else { return String::new() };
        let most = if self.max_rejects == MAX_REJECTS {
            String::new()
        } else {
            format!(" --max-rejects {}", self.max_rejects)
        };
        format!(" --rejects {}{most}", quoted_path(path.as_os_str()))
    }
}

/// A file of rejects that is written.
pub(crate) struct Rejects {
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
    /// The places in it that were there before, in order.
    before: Arc<[Place]>,
    /// The name of a text.
    unit: &'static str,
}

/// The beginning of a line of the file.
#[derive(Deserialize)]
struct Line {
    source: String,
    file: Option<u64>,
    row: Option<u64>,
    element: Option<u64>,
    line: Option<u64>,
}

impl Rejects {
    /// Refuses a file that `open` would refuse, or that it could not make.
    #[cfg(feature = "mapping")]
    fn check(path: &Path, source: Option<&str>) -> Outcome {
        regular(path)?;
        let failed = |error: io::Error| Failure::file("open", &path.display().to_string(), &error);
        match OpenOptions::new().read(true).append(true).open(path) {
            Ok(mut file) => places(&mut file, path, source).map(drop),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                folder.map_or(Ok(()), |folder| folder.metadata().map(drop)).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Opens the file, or makes it. A file that is there must hold rejects of this source alone;
    /// `None` where each run has sources of its own.
    fn open(path: &Path, source: Option<&str>, most: u64, unit: &'static str) -> Outcome<Self> {
        let name = path.display().to_string();
        regular(path)?;
        let failed =
            |what: &'static str| move |error: io::Error| Failure::file(what, &path.display().to_string(), &error);
        let opened = OpenOptions::new().read(true).append(true).create(true).open(path);
        let mut file = opened.map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let problem = format!("another load writes its rejects to `{name}`");
                return Err(Failure::new(Exit::TryAgain, problem).help("wait for its end, or name another file"));
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
        }
        let Places { mut before, sound } = places(&mut file, path, source)?;
        // A killed run left a last line unfinished.
        file.set_len(sound).map_err(failed("cut"))?;
        file.seek(SeekFrom::End(0)).map_err(failed("read"))?;
        before.sort_unstable();
        let held = before.len() as u64;
        Ok(Self { path: path.to_owned(), file, held, most, added: 0, dirty: false, before: before.into(), unit })
    }

    /// The places that an earlier run turned away, in order.
    pub(crate) fn before(&self) -> Arc<[Place]> {
        self.before.clone()
    }

    /// Lines that this run added.
    pub(crate) fn added(&self) -> u64 {
        self.added
    }

    /// All lines in the file.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds lines as far as there is room. Returns their number, and the failure if that is not
    /// all of them. `unit` is the name of a place in the input.
    pub(crate) fn add<'a>(
        &mut self,
        source: &str,
        input: &str,
        unit: &str,
        rejects: impl IntoIterator<Item = &'a Reject>,
    ) -> (usize, Option<Failure>) {
        for (index, reject) in rejects.into_iter().enumerate() {
            if self.held >= self.most {
                return (index, Some(self.full(input, unit, reject)));
            }
            if let Err(error) = self.file.write_all(&reject.json(source, input)) {
                return (index, Some(self.unwritten(&error)));
            }
            (self.held, self.added, self.dirty) = (self.held + 1, self.added + 1, true);
        }
        (usize::MAX, None)
    }

    /// Makes the lines durable.
    pub(crate) fn flush(&mut self) -> Outcome {
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
    fn full(&self, input: &str, unit: &str, reject: &Reject) -> Failure {
        let (held, number) = (count(self.held), reject.number);
        let problem = format!("{input}: {unit} {number} would exceed `--max-rejects`, {held}: {}", reject.message);
        Failure::new(Exit::BadInput, problem)
            .detail("rejected", self.added)
            .detail("rejects", self.path.display().to_string())
            .help(format!("look at `{}`, and mend the input or raise `--max-rejects`", self.path.display()))
    }

    /// The failure of a load that is done without the texts in the file. `load` is the command that
    /// takes them in from standard input, and `mend` says what to mend before.
    pub(crate) fn turned_away(&self, mend: &str, load: &str) -> Failure {
        let name = self.path.display().to_string();
        let were = if self.held == 1 { "was" } else { "were" };
        let are = format!("{} {were}", counted(self.held, self.unit));
        let quoted = quoted_path(self.path.as_os_str());
        Failure::new(Exit::Partly, format!("{are} turned away; everything else was appended. See `{name}`"))
            .detail("rejected", self.held)
            .detail("rejects", name)
            .help(format!("{mend}, and append them by themselves: jq -r 'select(.text).text' {quoted} | {load}"))
    }
}

/// Refuses what is no file. To open a pipe would wait for its reader.
fn regular(path: &Path) -> Outcome {
    if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        let name = path.display();
        let problem = format!("`{name}` is not a regular file, so a run that breaks off could not go on");
        return Err(Failure::new(Exit::Usage, problem).help("name another file for the rejects"));
    }
    Ok(())
}

/// The lines in a file of rejects.
struct Places {
    before: Vec<Place>,
    /// The bytes up to a last line that a killed run left unfinished.
    sound: u64,
}

/// The places of the lines in a file of rejects.
fn places(file: &mut File, path: &Path, source: Option<&str>) -> Outcome<Places> {
    let name = path.display();
    let failed = |error: io::Error| Failure::file("read", &path.display().to_string(), &error);
    let foreign = |what: &str| {
        Failure::new(Exit::Usage, format!("`{name}` {what}; nothing was written to it")).help(
            "name another file for the rejects. To go on with a load that broke off, use the command that it printed, \
             with its `--source`",
        )
    };
    let mut before = Vec::new();
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
                let number = number.ok_or_else(|| foreign("is not a file of rejects"))?;
                before.push((line.file.unwrap_or(0), number));
                // The line break belongs to the line: without it, the line is unfinished.
                let mut end = Vec::new();
                (&mut reader).take(1).read_until(b'\n', &mut end).map_err(failed)?;
                if end != b"\n" {
                    before.pop();
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
    }
    Ok(Places { before, sound })
}

/// The beginning of each line.
const BEGINNING: &[u8] = b"{\"source\":";
