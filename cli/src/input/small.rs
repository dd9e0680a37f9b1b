//! Files that options name, such as mappings. The program reads them whole, up to a limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::exit::{Exit, Failure, Outcome};
use crate::output::units::bytes;

/// The largest such file, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit(pub(crate) u64);

/// Reads a text file; `-` is standard input. `what` names the expected content.
///
/// It refuses named pipes, which could block for ever, and devices, which never end. It reads pipes
/// that a shell has opened, as in `<(…)`.
pub(crate) fn read_text(path: &Path, what: &str, limit: Limit) -> Outcome<String> {
    let name = path.display().to_string();
    let source: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(open(path, &name, what)?) };
    let mut read = Vec::new();
    source.take(limit.0 + 1).read_to_end(&mut read).map_err(|error| Failure::file("read", &name, &error))?;
    if read.len() as u64 > limit.0 {
        let problem = format!("`{name}` is larger than {}, the limit for {what}", bytes(limit.0));
        return Err(Failure::new(Exit::BadInput, problem).help("name the right file"));
    }
    String::from_utf8(read).map_err(|_| {
        Failure::new(Exit::BadInput, format!("`{name}` is not UTF-8 text")).help(format!("name a file with {what}"))
    })
}

fn open(path: &Path, name: &str, what: &str) -> Outcome<File> {
    let meta = std::fs::metadata(path).map_err(|error| Failure::file("read", name, &error))?;
    if !meta.is_file() && !is_opened_pipe(path, &meta) {
        let kind = if meta.is_dir() { "a folder" } else { "not a regular file" };
        let problem = format!("`{name}` is {kind}");
        return Err(Failure::new(Exit::BadInput, problem).help(format!("name a file with {what}")));
    }
    File::open(path).map_err(|error| Failure::file("read", name, &error))
}

#[cfg(unix)]
fn is_opened_pipe(path: &Path, meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    let opened = ["/dev/fd", "/proc/self/fd", "/dev/stdin"].iter().any(|folder| path.starts_with(folder));
    meta.file_type().is_fifo() && opened
}

#[cfg(not(unix))]
fn is_opened_pipe(_: &Path, _: &std::fs::Metadata) -> bool {
    false
}
