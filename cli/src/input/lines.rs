//! The texts of the ops in a file or standard input, decompressed on the way: lines, or elements of
//! a list or sequence.

use std::fs::File;
use std::io::{self, BufRead, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use deltafold::MemoryLimit;
use deltafold::jsonl::{Layout, OpText, OpTexts, TextError, known_format};

use super::packed::{Buffered, Frame, Limits, Packing, every_frame_has_a_checksum, first_bytes, judge, unpacked};
use crate::exit::{Exit, Failure, Outcome};
use crate::quote::{quoted_name, quoted_path};

/// The remedy for a decoder's error.
const GET_IT_WHOLE: &str = "the file is damaged or cut short; get it whole";
/// Bytes between two checks for a signal.
const STEP: u64 = 4 << 20;

/// The origin of lines.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    Stdin,
    File(PathBuf),
}

impl Input {
    /// `-` is standard input.
    pub(crate) fn of(argument: &Path) -> Self {
        if argument == Path::new("-") { Self::Stdin } else { Self::File(argument.to_owned()) }
    }

    /// Its name in messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Stdin => "-".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Its form as an argument of a command.
    pub(crate) fn argument(&self) -> String {
        match self {
            Self::Stdin => "-".to_owned(),
            Self::File(path) if path.as_os_str() == "-" => quoted_name("./-".as_ref()),
            Self::File(path) => quoted_path(path.as_os_str()),
        }
    }

    /// The unit of its ops as far as its name tells: a line, or a row of a file of columns.
    pub(crate) fn unit(&self) -> &'static str {
        if self.table().is_some() { "row" } else { "line" }
    }

    /// The format of a Parquet or an Arrow file, by its name or its first bytes.
    pub(crate) fn table(&self) -> Option<Table> {
        let Self::File(path) = self else { return None };
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let is = |known: &[&str]| known.iter().any(|known| ending.eq_ignore_ascii_case(known));
        if is(&["parquet", "pq"]) {
            return Some(Table::Parquet);
        }
        if is(&["arrow", "feather", "ipc"]) {
            return Some(Table::Arrow);
        }
        // A pipe cannot be read twice.
        if !std::fs::metadata(path).ok()?.is_file() {
            return None;
        }
        let mut first = [0; 6];
        File::open(path).ok()?.read_exact(&mut first).ok()?;
        match &first {
            [b'P', b'A', b'R', b'1', ..] => Some(Table::Parquet),
            b"ARROW1" | [0xff, 0xff, 0xff, 0xff, ..] => Some(Table::Arrow),
            _ => None,
        }
    }

    /// Its length before decompression, if known.
    pub(crate) fn len(&self) -> Option<u64> {
        match self {
            Self::Stdin => None,
            Self::File(path) => std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len()),
        }
    }

    /// Opens it. Its first bytes tell zstd, gzip and plain apart. A file name that contradicts them
    /// is an error.
    pub(crate) fn open(&self, memory: MemoryLimit) -> Outcome<Lines> {
        let limits = Limits::of(memory);
        let name = self.name();
        let read = Arc::new(AtomicU64::new(0));
        let file = match self {
            Self::Stdin => stdin_file(),
            Self::File(path) => Some(File::open(path).map_err(|error| Failure::file("open", &name, &error))?),
        };
        let again = file.as_ref().and_then(Again::of);
        let source: Box<dyn Read + Send> = match file {
            Some(file) => Box::new(file),
            None => Box::new(io::stdin()),
        };
        let mut source = Counted { source, read: Arc::clone(&read) };
        let first = first_bytes(&mut source).map_err(|error| Failure::file("read", &name, &error))?;
        let packing = Packing::of(&first);
        for (extension, found) in [(".zst", Packing::Zstd), (".gz", Packing::Gzip)] {
            if name.ends_with(extension) && packing != found && !first.is_empty() {
                let problem = format!("`{name}` is not what its name says: it does not begin as a `{extension}` file");
                return Err(Failure::new(Exit::BadInput, problem).help("rename it, or compress it again"));
            }
        }
        let frame = Frame::read(&first);
        let covered = match packing {
            Packing::Plain => Covered::Nothing,
            _ => Covered::AtTheEnd,
        };
        let reader = unpacked(packing, Cursor::new(first).chain(source), limits)
            .map_err(|error| Failure::file("read", &name, &error))?;
        let texts = OpTexts::new(reader, limits.line);
        Ok(Lines { texts, name, read, packing, frame, again, covered, limits })
    }
}

/// The format of a file of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Parquet,
    Arrow,
}

/// Standard input as a file that no reader of the program buffers.
#[cfg(unix)]
fn stdin_file() -> Option<File> {
    use std::os::fd::AsFd as _;
    io::stdin().as_fd().try_clone_to_owned().ok().map(File::from)
}

#[cfg(not(unix))]
fn stdin_file() -> Option<File> {
    None
}

/// A regular file, which can be read twice, and the offset of its beginning.
struct Again {
    file: File,
    from: u64,
}

impl Again {
    fn of(file: &File) -> Option<Self> {
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut file = file.try_clone().ok()?;
        let from = file.stream_position().ok()?;
        Some(Self { file, from })
    }

    /// The file at its beginning. All its readers share one position.
    fn rewound(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(self.from))?;
        Ok(file)
    }
}

/// The verdict of checksums on the lines that were handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Covered {
    /// None: the input is plain and has no checksums.
    Nothing,
    /// They are right: the reader checked the whole input before.
    Before,
    /// Unknown until the end of the input, which has the checksums.
    AtTheEnd,
}

/// Lines or elements with their numbers.
pub(crate) struct Lines {
    texts: OpTexts<Box<dyn Buffered>>,
    name: String,
    read: Arc<AtomicU64>,
    packing: Packing,
    /// The header of the first frame of zstd.
    frame: Option<Frame>,
    again: Option<Again>,
    covered: Covered,
    limits: Limits,
}

impl Lines {
    /// The verdict of checksums on the lines.
    pub(crate) fn covered(&self) -> Covered {
        self.covered
    }

    /// Whether all of the input can be checked before its first line is used.
    pub(crate) fn can_check(&self) -> bool {
        self.packing != Packing::Plain && self.again.is_some()
    }

    /// Its length before decompression, if it is a file.
    pub(crate) fn length(&self) -> u64 {
        let meta = self.again.as_ref().and_then(|again| again.file.metadata().ok());
        meta.map_or(0, |meta| meta.len())
    }

    /// Whether part of the input has no checksum, so that damage in it may go unnoticed.
    pub(crate) fn lacks_checksum(&self) -> bool {
        let first = self.frame.is_some_and(|frame| !frame.checksum);
        let whole = || {
            let again = self.again.as_ref()?;
            // The clone shares the position of the file.
            let mut file = again.file.try_clone().ok()?;
            let now = file.stream_position().ok()?;
            let found = again.rewound().and_then(every_frame_has_a_checksum);
            file.seek(SeekFrom::Start(now)).ok()?;
            found.ok()
        };
        self.packing == Packing::Zstd && (first || whole() == Some(false))
    }

    /// Decompresses a file to its end, where its checksums are, and returns to its beginning. Stops
    /// and returns false once `wanted` does. Holds one window and two buffers.
    pub(crate) fn check(&mut self, wanted: impl Fn() -> bool) -> Outcome<bool> {
        let Some(again) = self.again.as_ref().filter(|_| self.packing != Packing::Plain) else { return Ok(true) };
        let failed = |error: &io::Error| {
            let trouble = judge(error, self.frame, GET_IT_WHOLE, self.limits);
            Failure::new(Exit::BadInput, format!("cannot read `{}` to its end: {}", self.name, trouble.reason))
                .help(trouble.help)
        };
        let mut reader = again
            .rewound()
            .and_then(|file| unpacked(self.packing, file, self.limits))
            .map_err(|error| failed(&error))?;
        loop {
            if skip(&mut reader, STEP).map_err(|error| failed(&error))? == 0 {
                break;
            }
            if !wanted() {
                return Ok(false);
            }
        }
        let file = again.rewound().map_err(|error| failed(&error))?;
        self.read.store(0, Relaxed);
        let counted = Counted { source: Box::new(file), read: Arc::clone(&self.read) };
        let reader = unpacked(self.packing, counted, self.limits).map_err(|error| failed(&error))?;
        self.texts = OpTexts::new(reader, self.limits.line);
        self.covered = Covered::Before;
        Ok(true)
    }

    /// Reads the rest, for the checksums at its end. Returns false once `wanted` does.
    pub(crate) fn drain(&mut self, wanted: impl Fn() -> bool) -> Outcome<bool> {
        loop {
            match skip(self.texts.reader_mut(), STEP).map_err(|error| self.broken(&error))? {
                0 => return Ok(true),
                _ if !wanted() => return Ok(false),
                _ => {}
            }
        }
    }

    /// Appends the next text of an op to `text`, and returns its place; `None` at the end.
    pub(crate) fn read_into(&mut self, text: &mut Vec<u8>) -> Outcome<Option<OpText>> {
        let start = text.len();
        self.texts.read_into(text).map_err(|error| self.failed(error, text.get(start..).unwrap_or_default()))
    }

    /// The same. Of a line that is too long it appends the beginning, skips the rest, and returns
    /// true beside its place.
    pub(crate) fn read_or_cut(&mut self, text: &mut Vec<u8>) -> Outcome<Option<(OpText, bool)>> {
        let start = text.len();
        match self.texts.read_into(text) {
            Ok(at) => Ok(at.map(|at| (at, false))),
            Err(TextError::TooLong(at))
                if self.layout() == Layout::Lines && known_format(text.get(start..).unwrap_or_default()).is_none() =>
            {
                let skipped = self.texts.skip_line(text.get(start..).unwrap_or_default());
                skipped.map_err(|error| self.failed(TextError::Unread(error), &[]))?;
                text.truncate(start + BEGINNING);
                Ok(Some((at, true)))
            }
            Err(error) => Err(self.failed(error, text.get(start..).unwrap_or_default())),
        }
    }

    /// The failure to read a text. `text` is what was read of it.
    fn failed(&mut self, error: TextError, text: &[u8]) -> Failure {
        match error {
            TextError::Unread(error) => {
                self.covered = if self.packing == Packing::Plain { Covered::Nothing } else { Covered::AtTheEnd };
                self.broken(&error)
            }
            TextError::TooLong(at) => self.too_long(at, text),
            TextError::Broken { line, column, field, reason } => {
                refused(&self.name, line, column, &field, &reason).detail("element", self.texts.next_number())
            }
            error => Failure::new(Exit::BadInput, format!("{}: {error}", self.name)),
        }
    }

    /// The limit of a line, in bytes.
    pub(super) fn longest(&self) -> u64 {
        self.limits.line
    }

    /// The arrangement of the ops; lines until the first was read.
    pub(crate) fn layout(&self) -> Layout {
        self.texts.layout()
    }

    fn too_long(&self, at: OpText, text: &[u8]) -> Failure {
        if let Some(known) = known_format(text) {
            return refused(&self.name, at.line, 1, "", &known);
        }
        let most = self.limits.line;
        let what = if self.layout() == Layout::Lines { "line" } else { "element that begins here" };
        let problem = format!("{}:{}: the {what} is longer than {most} bytes", self.name, at.line);
        let help = format!("write one op a line{}", self.limits.advice());
        Failure::new(Exit::BadInput, problem).help(help).detail("file", self.name.as_str()).detail("line", at.line)
    }

    fn broken(&self, error: &io::Error) -> Failure {
        let trouble = judge(error, self.frame, GET_IT_WHOLE, self.limits);
        let (unit, number) = (self.layout().unit(), self.texts.next_number());
        let problem = format!("cannot read `{}` from {unit} {number} on: {}", self.name, trouble.reason);
        Failure::new(Exit::BadInput, problem).help(trouble.help)
    }

    /// The whole text, at most `limit` bytes.
    #[cfg(feature = "mapping")]
    pub(crate) fn into_text(mut self, limit: u64) -> Outcome<String> {
        let mut text = String::new();
        self.texts.reader_mut().take(limit + 1).read_to_string(&mut text).map_err(|error| {
            let trouble = judge(&error, self.frame, "the file is damaged, cut short, or no text", self.limits);
            Failure::new(Exit::BadInput, format!("cannot read `{}`: {}", self.name, trouble.reason)).help(trouble.help)
        })?;
        if text.len() as u64 > limit {
            return Err(
                Failure::new(Exit::BadInput, format!("`{}` holds more than {limit} bytes", self.name)).help("split it")
            );
        }
        Ok(text)
    }

    /// Whether the next line may have to be waited for. A file never makes its reader wait.
    pub(crate) fn may_wait(&self) -> bool {
        // An element may lack a line break behind it.
        let end = if self.layout() == Layout::Lines { b'\n' } else { b'}' };
        let holds = |bytes: &[u8]| bytes.contains(&end);
        self.again.is_none() && !holds(self.texts.ahead()) && !holds(self.texts.reader().held())
    }

    /// Bytes of the input read so far, before decompression.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.load(Relaxed)
    }
}

/// Bytes that are kept of a line that is too long.
const BEGINNING: usize = 1 << 10;

/// The failure of a text that is not an op: `file:line:column: field `x`: reason`, a form that
/// editors can jump to.
pub(super) fn refused(name: &str, line: u64, column: usize, field: &str, reason: &str) -> Failure {
    let of = if field.is_empty() { String::new() } else { format!("field `{field}`: ") };
    Failure::new(Exit::BadInput, format!("{name}:{line}:{column}: {of}{reason}"))
        .detail("file", name)
        .detail("line", line)
        .detail("column", column)
        .detail("field", (!field.is_empty()).then(|| field.to_owned()))
        .detail("reason", reason)
}

/// Skips about this many bytes without a copy. Returns how many, 0 at the end.
fn skip(reader: &mut impl BufRead, bytes: u64) -> io::Result<u64> {
    let mut skipped = 0;
    while skipped < bytes {
        let length = match reader.fill_buf() {
            Ok([]) => break,
            Ok(buffer) => buffer.len(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        reader.consume(length);
        skipped += length as u64;
    }
    Ok(skipped)
}

struct Counted {
    source: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.read.fetch_add(length as u64, Relaxed);
        Ok(length)
    }
}
