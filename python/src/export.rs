//! Writes the records of a state to files: JSON Lines, Parquet, Arrow.
//!
//! Everything is written under a temporary name, and renamed at the end. So a file or folder of the
//! final name is whole.

mod target;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use deltafold::columnar::{Shape, TableError, TableFormat, TableWriter};
use deltafold::format::Op;
use deltafold::{Collection, Entry, Order, Reader, ScanOptions, jsonl};
use futures::TryStreamExt as _;

use crate::error::Failure;

pub(crate) use target::Target;

/// The format of a file.
#[derive(Clone, Copy)]
pub(crate) enum Format {
    /// A `put` a line.
    Jsonl,
    /// Columns.
    Table(TableFormat),
}

impl Format {
    /// The format of this name.
    fn of(name: &str) -> Result<Self, String> {
        match name.to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" => Ok(Self::Jsonl),
            "parquet" | "pq" => Ok(Self::Table(TableFormat::Parquet)),
            "arrow" | "feather" | "ipc" => Ok(Self::Table(TableFormat::Arrow)),
            _ => Err(format!("format: `{name}` is none; choose `jsonl`, `parquet` or `arrow`")),
        }
    }

    /// The ending of a file of a folder.
    fn ending(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Table(format) => format.ending(),
        }
    }
}

/// Writes all records of a reader, and returns their number. A folder gets another file after about
/// `file_size` bytes.
pub(crate) async fn run(
    collection: &Collection,
    reader: &Reader,
    target: &Target,
    order: Order,
    file_size: u64,
) -> Result<u64, Failure> {
    tokio::task::block_in_place(|| target.begin())?;
    // The types of all values decide which columns there are.
    let mut shape = Shape::default();
    if matches!(target.format(), Format::Table(_)) {
        let mut batches = reader.scan_batches(ScanOptions::default().embeddings(false));
        while let Some(batch) = batches.try_next().await? {
            batch.iter().for_each(|entry| shape.note(&entry.record.metadata));
        }
    }
    let mut files = Files { collection, reader, target, shape, number: 0, sink: None };
    files.next()?;
    let mut batches = reader.scan_batches(ScanOptions::default().order(order));
    let mut records = 0;
    while let Some(batch) = batches.try_next().await? {
        records += batch.len() as u64;
        tokio::task::block_in_place(|| {
            batch.into_iter().try_for_each(|entry| {
                if target.is_folder() && files.size() >= file_size {
                    files.next()?;
                }
                files.write(entry)
            })
        })?;
    }
    tokio::task::block_in_place(|| {
        files.end()?;
        target.finish()
    })?;
    Ok(records)
}

/// The files of an export, one after the other.
struct Files<'a> {
    collection: &'a Collection,
    reader: &'a Reader,
    target: &'a Target,
    shape: Shape,
    number: usize,
    sink: Option<Sink>,
}

/// A file under construction.
enum Sink {
    Jsonl { file: BufWriter<File>, line: Vec<u8>, bytes: u64 },
    Table(Box<TableWriter>),
}

impl Files<'_> {
    /// Ends the file at hand, and begins another one.
    fn next(&mut self) -> Result<(), Failure> {
        self.end()?;
        let path = self.target.file(self.number);
        self.number += 1;
        let file = File::create(&path).map_err(|error| unwritten(&path, &error))?;
        self.sink = Some(match self.target.format() {
            Format::Jsonl => Sink::Jsonl { file: BufWriter::new(file), line: Vec::new(), bytes: 0 },
            Format::Table(format) => {
                let writer = TableWriter::new(file, format, &self.shape, self.collection, self.reader);
                Sink::Table(Box::new(writer.map_err(|error| self.failed(&error))?))
            }
        });
        Ok(())
    }

    fn write(&mut self, entry: Entry) -> Result<(), Failure> {
        match &mut self.sink {
            Some(Sink::Jsonl { file, line, bytes }) => {
                line.clear();
                let put = Op::put(entry.id, entry.record);
                jsonl::write_op(line, &Op { revision: entry.changed.revision(), ..put });
                line.push(b'\n');
                *bytes += line.len() as u64;
                file.write_all(line).map_err(|error| unwritten(self.target.path(), &error))
            }
            Some(Sink::Table(writer)) => writer.write(entry).map_err(|error| self.failed(&error)),
            None => Ok(()),
        }
    }

    /// About the bytes of the file at hand.
    fn size(&self) -> u64 {
        match &self.sink {
            Some(Sink::Jsonl { bytes, .. }) => *bytes,
            Some(Sink::Table(writer)) => writer.bytes(),
            None => 0,
        }
    }

    /// Ends the file at hand, durably.
    fn end(&mut self) -> Result<(), Failure> {
        let failed = |error: &std::io::Error| unwritten(self.target.path(), error);
        let file = match self.sink.take() {
            Some(Sink::Jsonl { file, .. }) => file.into_inner().map_err(|error| failed(error.error()))?,
            Some(Sink::Table(writer)) => writer.finish().map_err(|error| self.failed(&error))?,
            None => return Ok(()),
        };
        file.sync_all().map_err(|error| failed(&error))
    }

    fn failed(&self, error: &TableError) -> Failure {
        unwritten(self.target.path(), error)
    }
}

fn unwritten(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Input(format!("`{}` cannot be written: {error}", path.display()))
}
