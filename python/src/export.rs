//! Writes the records of a collection to a file: JSON Lines, Parquet, Arrow.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use deltafold::columnar::{Shape, TableFormat, TableWriter};
use deltafold::format::Op;
use deltafold::{Collection, Entry, Order, Reader, ScanOptions, jsonl};
use futures::TryStreamExt as _;

use crate::error::Failure;

/// The format of a file.
#[derive(Clone, Copy)]
pub(crate) enum Format {
    /// A `put` a line.
    Jsonl,
    /// Columns.
    Table(TableFormat),
}

impl Format {
    /// The format of this name, or of the ending of a file.
    pub(crate) fn of(name: Option<&str>, path: &Path) -> Result<Self, String> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        match name.unwrap_or(ending) {
            "jsonl" | "ndjson" => Ok(Self::Jsonl),
            "parquet" | "pq" => Ok(Self::Table(TableFormat::Parquet)),
            "arrow" | "feather" | "ipc" => Ok(Self::Table(TableFormat::Arrow)),
            other => Err(format!("format: `{other}` is none; choose `jsonl`, `parquet` or `arrow`")),
        }
    }
}

/// A file under construction.
enum Sink {
    Jsonl(BufWriter<File>),
    Table(Box<TableWriter>),
}

/// Writes all records in the order of insertion. The file gets its name at the end, so a file of
/// this name is whole.
pub(crate) async fn export(
    collection: &Collection,
    reader: &Reader,
    path: &Path,
    format: Format,
    overwrite: bool,
) -> Result<u64, Failure> {
    let failed = |error: std::io::Error| Failure::Input(format!("`{}` cannot be written: {error}", path.display()));
    if path.exists() && !overwrite {
        let text = format!("`{}` exists already; name another file, or give `overwrite=True`", path.display());
        return Err(Failure::Input(text));
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let file = File::create(&partial).map_err(failed)?;
    let table = |error| Failure::Input(format!("`{}` cannot be written: {error}", path.display()));
    let mut sink = match format {
        Format::Jsonl => Sink::Jsonl(BufWriter::new(file)),
        Format::Table(format) => {
            // The types of all values decide which columns there are.
            let mut shape = Shape::default();
            let mut batches = reader.scan_batches(ScanOptions::default().embeddings(false));
            while let Some(batch) = batches.try_next().await? {
                batch.iter().for_each(|entry| shape.note(&entry.record.metadata));
            }
            Sink::Table(Box::new(TableWriter::new(file, format, &shape, collection, reader).map_err(table)?))
        }
    };
    let mut batches = reader.scan_batches(ScanOptions::default().order(Order::Insertion));
    let (mut records, mut line) = (0, Vec::new());
    while let Some(batch) = batches.try_next().await? {
        for entry in batch {
            records += 1;
            match &mut sink {
                Sink::Jsonl(file) => {
                    write_line(&mut line, entry);
                    file.write_all(&line).map_err(failed)?;
                }
                Sink::Table(writer) => writer.write(entry).map_err(table)?,
            }
        }
    }
    let file = match sink {
        Sink::Jsonl(file) => file.into_inner().map_err(|error| failed(error.into_error()))?,
        Sink::Table(writer) => writer.finish().map_err(table)?,
    };
    file.sync_all().map_err(failed)?;
    std::fs::rename(&partial, path).map_err(failed)?;
    Ok(records)
}

fn write_line(line: &mut Vec<u8>, entry: Entry) {
    line.clear();
    let put = Op::put(entry.id, entry.record);
    jsonl::write_op(line, &Op { revision: entry.changed.revision(), ..put });
    line.push(b'\n');
}
