//! Lines of a file or of standard input, decompressed on the way.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::cli::exit::{Exit, Failure, Outcome};

/// No op is longer: a document of 16 MiB with every byte escaped is 96 MiB.
const MAX_LINE_BYTES: u64 = 128 << 20;
const BUFFER: usize = 1 << 20;

/// Where lines come from.
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

    /// As messages and commands name it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Stdin => "-".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Its length before decompression, where it is known.
    pub(crate) fn len(&self) -> Option<u64> {
        match self {
            Self::Stdin => None,
            Self::File(path) => std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len()),
        }
    }

    /// Opens it. Its first bytes say whether it is zstd, gzip or plain; a name that says otherwise is an error.
    pub(crate) fn open(&self) -> Outcome<Lines> {
        let name = self.name();
        let read = Arc::new(AtomicU64::new(0));
        let source: Box<dyn Read + Send> = match self {
            Self::Stdin => Box::new(io::stdin()),
            Self::File(path) => Box::new(File::open(path).map_err(|error| Failure::file("open", &name, &error))?),
        };
        let mut source = BufReader::with_capacity(BUFFER, Counted { source, read: Arc::clone(&read) });
        let magic = source.fill_buf().map_err(|error| Failure::file("read", &name, &error))?;
        let (zstd, gzip) = (magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]), magic.starts_with(&[0x1f, 0x8b]));
        for (extension, found) in [(".zst", zstd), (".gz", gzip)] {
            if name.ends_with(extension) && !found && !magic.is_empty() {
                let problem = format!("`{name}` is not what its name says: it does not begin as a `{extension}` file");
                return Err(Failure::new(Exit::BadInput, problem).help("rename it, or compress it again"));
            }
        }
        let reader: Box<dyn Buffered> = if zstd {
            let decoder = zstd::Decoder::with_buffer(source).map_err(|error| Failure::file("read", &name, &error))?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        } else if gzip {
            Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(source)))
        } else {
            Box::new(source)
        };
        Ok(Lines { reader, name, number: 0, line: Vec::new(), read })
    }
}

/// Lines with their numbers.
pub(crate) struct Lines {
    reader: Box<dyn Buffered>,
    name: String,
    number: u64,
    line: Vec<u8>,
    read: Arc<AtomicU64>,
}

impl Lines {
    /// The next line and its number, counted from 1; `None` at the end.
    pub(crate) fn next(&mut self) -> Outcome<Option<(u64, &[u8])>> {
        self.line.clear();
        self.number += 1;
        let limited = &mut (&mut self.reader).take(MAX_LINE_BYTES);
        let length = limited.read_until(b'\n', &mut self.line).map_err(|error| {
            Failure::new(Exit::BadInput, format!("cannot read `{}` from line {} on: {error}", self.name, self.number))
                .help("the file is damaged or cut short; get it whole and go on from that line")
        })?;
        if length as u64 == MAX_LINE_BYTES {
            let problem = format!("{}:{}: the line is longer than {MAX_LINE_BYTES} bytes", self.name, self.number);
            return Err(Failure::new(Exit::BadInput, problem).help("write one op a line"));
        }
        Ok((length > 0).then_some((self.number, &self.line)))
    }

    /// All of it, at most `limit` bytes.
    #[cfg(feature = "mapping")]
    pub(crate) fn into_text(mut self, limit: u64) -> Outcome<String> {
        let mut text = String::new();
        (&mut self.reader).take(limit + 1).read_to_string(&mut text).map_err(|error| {
            Failure::new(Exit::BadInput, format!("cannot read `{}`: {error}", self.name))
                .help("the file is damaged, cut short, or no text")
        })?;
        if text.len() as u64 > limit {
            return Err(
                Failure::new(Exit::BadInput, format!("`{}` holds more than {limit} bytes", self.name)).help("split it")
            );
        }
        Ok(text)
    }

    /// Whether the next line can be had without waiting for the input.
    pub(crate) fn is_next_here(&self) -> bool {
        self.reader.holds_line()
    }

    /// Bytes read of the input so far, before decompression.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.load(Relaxed)
    }
}

/// A reader that knows what it has read ahead.
trait Buffered: BufRead + Send {
    fn holds_line(&self) -> bool;
}

impl<R: Read + Send> Buffered for BufReader<R> {
    fn holds_line(&self) -> bool {
        self.buffer().contains(&b'\n')
    }
}

struct Counted<R> {
    source: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.read.fetch_add(length as u64, Relaxed);
        Ok(length)
    }
}
