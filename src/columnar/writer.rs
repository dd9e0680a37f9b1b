//! Writes records as a file of columns.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter};

use arrow_ipc::writer::FileWriter;
use arrow_schema::ArrowError;
use deltafold_format::{CollectionConfig, Version};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::batch::BatchBuilder;
use super::shape::Layout;
use super::{Shape, TableError, TableFormat};
use crate::collection::Collection;
use crate::reader::{Entry, Reader};

/// Rows, and estimated bytes, of a batch.
const BATCH_ROWS: usize = 4_096;
const BATCH_BYTES: usize = 8 << 20;
/// Rows, and bytes in memory, of a row group.
const GROUP_ROWS: usize = 65_536;
const GROUP_BYTES: usize = 32 << 20;

/// A file of columns that is being written. It holds a batch of up to 8 MiB, and a row group of up
/// to 32 MiB.
pub struct TableWriter {
    batch: BatchBuilder,
    sink: Sink,
}

impl std::fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableWriter").finish_non_exhaustive()
    }
}

enum Sink {
    Parquet(Box<ArrowWriter<BufWriter<File>>>),
    Arrow(Box<FileWriter<Counted>>),
}

/// Counts the bytes written.
struct Counted {
    file: BufWriter<File>,
    bytes: u64,
}

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl TableWriter {
    /// Begins a file with records of `reader`, of this shape. The file says in its metadata which
    /// collection, versions and metric they have.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn new(
        file: File,
        format: TableFormat,
        shape: &Shape,
        collection: &Collection,
        reader: &Reader,
    ) -> Result<Self, TableError> {
        let config = collection.config();
        let about = about(collection, reader);
        let dimension = i32::try_from(config.dimension).map_err(TableError::new)?;
        let layout = Layout::new(shape, dimension, config.ordering.is_revision(), about.clone());
        let file = BufWriter::new(file);
        let sink = match format {
            TableFormat::Parquet => {
                let mut about: Vec<KeyValue> =
                    about.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
                about.sort_by(|a, b| a.key.cmp(&b.key));
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .set_key_value_metadata(Some(about))
                    .build();
                let writer = ArrowWriter::try_new(file, layout.schema.clone(), Some(properties));
                Sink::Parquet(Box::new(writer.map_err(TableError::new)?))
            }
            TableFormat::Arrow => {
                let writer = FileWriter::try_new(Counted { file, bytes: 0 }, &layout.schema);
                Sink::Arrow(Box::new(writer.map_err(TableError::new)?))
            }
        };
        Ok(Self { batch: BatchBuilder::new(layout), sink })
    }

    /// Adds a record.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn write(&mut self, entry: Entry) -> Result<(), TableError> {
        self.batch.add(entry);
        if self.batch.rows() >= BATCH_ROWS || self.batch.bytes() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), TableError> {
        let batch = self.batch.take()?;
        match &mut self.sink {
            Sink::Parquet(writer) => {
                writer.write(&batch).map_err(TableError::new)?;
                if writer.in_progress_size() >= GROUP_BYTES {
                    writer.flush().map_err(TableError::new)?;
                }
            }
            Sink::Arrow(writer) => writer.write(&batch).map_err(TableError::new)?,
        }
        Ok(())
    }

    /// About the bytes of the file so far.
    pub fn bytes(&self) -> u64 {
        let written = match &self.sink {
            Sink::Parquet(writer) => writer.bytes_written() as u64 + writer.in_progress_size() as u64,
            Sink::Arrow(writer) => writer.get_ref().bytes,
        };
        written + self.batch.bytes() as u64
    }

    /// Writes the end of the file. Returns the file, which is not synced yet.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn finish(mut self) -> Result<File, TableError> {
        if self.batch.rows() > 0 {
            self.flush()?;
        }
        let file = match self.sink {
            Sink::Parquet(writer) => writer.into_inner().map_err(TableError::new)?,
            Sink::Arrow(mut writer) => {
                writer.finish().map_err(TableError::new)?;
                writer.into_inner().map_err(|error: ArrowError| TableError::new(error))?.file
            }
        };
        file.into_inner().map_err(|error| TableError::new(error.into_error()))
    }
}

/// The metadata of a file.
fn about(collection: &Collection, reader: &Reader) -> HashMap<String, String> {
    let CollectionConfig { uid, dimension, metric, ordering, .. } = collection.config();
    let list = |numbers: Vec<String>| numbers.join(",");
    let versions = reader.versions().into_iter().map(Version::get).map(|version| version.to_string()).collect();
    let tails = reader.positions().iter().map(|position| position.tail.get().to_string()).collect();
    let pairs = [
        ("collection", collection.name().as_str().to_owned()),
        ("uid", uid.to_string()),
        ("versions", list(versions)),
        ("segments", list(tails)),
        ("dimension", dimension.to_string()),
        ("metric", metric.name().to_owned()),
        ("ordering", if ordering.is_revision() { "revision" } else { "log" }.to_owned()),
    ];
    pairs.into_iter().map(|(key, value)| (format!("deltafold.{key}"), value)).collect()
}
