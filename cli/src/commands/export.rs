//! `export`: writes the records of a collection to files.
//!
//! It writes under a temporary name, and gives the final one at the end. So a file or folder under
//! the final name is whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
#[cfg(feature = "columnar")]
use deltafold::Collection;
use deltafold::format::{CollectionName, Op, Version};
use deltafold::jsonl;
use deltafold::{Entry, MemoryLimit, Order, Reader, ScanOptions};
use futures::TryStreamExt as _;
use serde_json::json;

use super::get::AtArguments;
use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Progress;
use crate::output::units::{bytes, counted, duration, parse_bytes};

/// Write the records to files: JSON Lines, Parquet, Arrow. Nothing stands under the final name
/// before all of it is written
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The collection
    collection: CollectionName,
    /// The format. JSON Lines are ops for `append`; `append` takes Parquet and Arrow files, too
    #[arg(long, value_enum)]
    format: Format,
    /// A file, if the name has an ending of the format; otherwise a folder for files `part-00000`,
    /// `part-00001` and so on
    #[arg(long, short, value_name = "PATH")]
    out: PathBuf,
    /// Begin another file of a folder when one has about this size
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = parse_bytes)]
    file_size: u64,
    /// The order of the records
    #[arg(long, value_enum, default_value_t = OrderArgument::Insertion)]
    order: OrderArgument,
    /// Replace an existing file
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    at: AtArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A `put` a line
    Jsonl,
    /// Columns, for Spark, DuckDB, Polars, pandas
    Parquet,
    /// Arrow IPC, also called Feather 2
    Arrow,
}

impl Format {
    fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Jsonl => &["jsonl", "ndjson"],
            Self::Parquet => &["parquet", "pq"],
            Self::Arrow => &["arrow", "feather", "ipc"],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OrderArgument {
    /// In the order of insertion
    Insertion,
    /// By id, in byte order
    Id,
}

/// A finished file.
struct Written {
    name: String,
    records: u64,
    bytes: u64,
}

impl Export {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        // The file under construction takes the other half.
        let half = MemoryLimit::new(context.memory().bytes() / 2).unwrap_or(MemoryLimit::SMALLEST);
        let collection = context.collection(&self.collection).await?.with_memory(half);
        let reader = self.at.reader(&collection).await?;
        let target = Target::new(&self.out, self.format, self.overwrite)?;
        let total = reader.count().await?;
        let mut progress = Progress::new(context.output, "exporting", "record", Some(total));
        let kind = Kind::of(self.format, &reader).await?;
        let mut parts = Parts {
            target: &target,
            kind,
            #[cfg(feature = "columnar")]
            collection: &collection,
            #[cfg(feature = "columnar")]
            reader: &reader,
            current: None,
            done: Vec::new(),
        };
        let order = if self.order == OrderArgument::Id { Order::Id } else { Order::Insertion };
        let mut batches = reader.scan_batches(ScanOptions::default().order(order));
        let (mut records, mut size) = (0, 0);
        parts.begin()?;
        while let Some(batch) = batches.try_next().await? {
            for entry in batch {
                if !target.is_file && parts.size() >= self.file_size {
                    size += parts.end()?;
                    parts.begin()?;
                }
                parts.write(entry)?;
                records += 1;
            }
            progress.at(records, records, size + parts.size());
        }
        parts.end()?;
        let written = parts.done;
        target.finish()?;
        self.tell(context, &reader, &written, &progress)
    }

    fn tell(&self, context: &Context, reader: &Reader, written: &[Written], progress: &Progress) -> Outcome {
        let records: u64 = written.iter().map(|file| file.records).sum();
        let size: u64 = written.iter().map(|file| file.bytes).sum();
        let out = self.out.display().to_string();
        if context.output.json {
            let files = written
                .iter()
                .map(|file| json!({ "name": file.name, "records": file.records, "bytes": file.bytes }))
                .collect::<Vec<_>>();
            return Ok(context.output.document(&json!({
                "collection": self.collection.as_str(),
                "out": out,
                "versions": reader.versions().into_iter().map(Version::get).collect::<Vec<_>>(),
                "records": records,
                "bytes": size,
                "files": files,
                "seconds": progress.elapsed().as_secs_f64(),
            }))?);
        }
        Ok(context.output.line(format!(
            "exported {} to {out} in {}: {} in {}, {}",
            self.collection,
            duration(progress.elapsed()),
            counted(records, "record"),
            counted(written.len() as u64, "file"),
            bytes(size)
        ))?)
    }
}

/// The final path, and the temporary one beside it.
struct Target {
    last: PathBuf,
    partial: PathBuf,
    is_file: bool,
    ending: &'static str,
}

impl Target {
    fn new(out: &Path, format: Format, overwrite: bool) -> Outcome<Self> {
        let ending = out.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let is_file = format.endings().iter().any(|known| known.eq_ignore_ascii_case(ending));
        let named = |error: &io::Error| Failure::file("write", &out.display().to_string(), error);
        let Some(name) = out.file_name() else {
            return Err(Failure::new(Exit::Usage, format!("`{}` names no file and no folder", out.display())));
        };
        let is_empty = fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none());
        if out.exists() && !(is_file && overwrite && !out.is_dir()) && (is_file || !is_empty) {
            let problem = format!("`{}` exists already", out.display());
            let help = if is_file { "name another file, or add `--overwrite`" } else { "name a new or empty folder" };
            return Err(Failure::new(Exit::Usage, problem).help(help));
        }
        let mut partial = name.to_owned();
        partial.push(".partial");
        let target =
            Self { last: out.to_owned(), partial: out.with_file_name(partial), is_file, ending: format.endings()[0] };
        if let Some(parent) = out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(|error| named(&error))?;
        }
        target.clear().map_err(|error| Failure::file("replace", &target.partial.display().to_string(), &error))?;
        if !is_file {
            fs::create_dir(&target.partial).map_err(|error| named(&error))?;
        }
        Ok(target)
    }

    /// Removes what an interrupted export left, and nothing else.
    fn clear(&self) -> io::Result<()> {
        if self.is_file || !self.partial.is_dir() {
            return Ok(());
        }
        for entry in fs::read_dir(&self.partial)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !name.starts_with("part-") {
                return Err(io::Error::other(format!("`{name}` in it is not part of an export; move it away")));
            }
            fs::remove_file(path)?;
        }
        fs::remove_dir(&self.partial)
    }

    /// The path of a file while it is written, and its name.
    fn file(&self, number: usize) -> (PathBuf, String) {
        if self.is_file {
            return (self.partial.clone(), self.last.display().to_string());
        }
        let name = format!("part-{number:05}.{}", self.ending);
        (self.partial.join(&name), name)
    }

    /// Gives the final name.
    fn finish(&self) -> Outcome {
        let named = |error: &io::Error| Failure::file("write", &self.last.display().to_string(), error);
        sync_folder(&self.partial).map_err(|error| named(&error))?;
        fs::rename(&self.partial, &self.last).map_err(|error| named(&error))?;
        let parent = self.last.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_folder(parent.unwrap_or(Path::new("."))).map_err(|error| named(&error))
    }
}

/// Makes the names in a folder durable, where the system can.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) && path.is_dir() { File::open(path)?.sync_all() } else { Ok(()) }
}

/// The format, with all that its files need.
enum Kind {
    Jsonl,
    #[cfg(feature = "columnar")]
    Table(deltafold::columnar::TableFormat, Box<deltafold::columnar::Shape>),
}

impl Kind {
    #[cfg(feature = "columnar")]
    async fn of(format: Format, reader: &Reader) -> Outcome<Self> {
        use deltafold::columnar::{Shape, TableFormat};
        let format = match format {
            Format::Jsonl => return Ok(Self::Jsonl),
            Format::Parquet => TableFormat::Parquet,
            Format::Arrow => TableFormat::Arrow,
        };
        // The types of all values decide which columns there are.
        let mut shape = Shape::default();
        let mut batches = reader.scan_batches(ScanOptions::default().embeddings(false));
        while let Some(batch) = batches.try_next().await? {
            batch.iter().for_each(|entry| shape.note(&entry.record.metadata));
        }
        Ok(Self::Table(format, Box::new(shape)))
    }

    #[cfg(not(feature = "columnar"))]
    async fn of(format: Format, _reader: &Reader) -> Outcome<Self> {
        if format == Format::Jsonl {
            return Ok(Self::Jsonl);
        }
        Err(Failure::new(Exit::Usage, "this program was built without Parquet and Arrow")
            .help("build it with the feature `columnar`, or export JSON Lines"))
    }
}

/// The files of an export.
struct Parts<'a> {
    target: &'a Target,
    kind: Kind,
    #[cfg(feature = "columnar")]
    collection: &'a Collection,
    #[cfg(feature = "columnar")]
    reader: &'a Reader,
    current: Option<(Sink, String, u64)>,
    done: Vec<Written>,
}

/// A file under construction.
enum Sink {
    Jsonl {
        file: BufWriter<File>,
        line: Vec<u8>,
        bytes: u64,
    },
    #[cfg(feature = "columnar")]
    Table(Box<deltafold::columnar::TableWriter>),
}

impl Parts<'_> {
    fn begin(&mut self) -> Outcome {
        let (path, name) = self.target.file(self.done.len());
        let file = File::create(&path).map_err(|error| Failure::file("write", &name, &error))?;
        let sink = match &self.kind {
            Kind::Jsonl => Sink::Jsonl { file: BufWriter::new(file), line: Vec::new(), bytes: 0 },
            #[cfg(feature = "columnar")]
            Kind::Table(format, shape) => {
                let writer = deltafold::columnar::TableWriter::new(file, *format, shape, self.collection, self.reader);
                Sink::Table(Box::new(writer.map_err(|error| unwritten(&name, &error))?))
            }
        };
        self.current = Some((sink, name, 0));
        Ok(())
    }

    /// About the bytes of the file at hand.
    fn size(&self) -> u64 {
        match &self.current {
            None => 0,
            Some((Sink::Jsonl { bytes, .. }, ..)) => *bytes,
            #[cfg(feature = "columnar")]
            Some((Sink::Table(writer), ..)) => writer.bytes(),
        }
    }

    fn write(&mut self, entry: Entry) -> Outcome {
        let Some((sink, name, records)) = &mut self.current else { return Ok(()) };
        *records += 1;
        match sink {
            Sink::Jsonl { file, line, bytes } => {
                line.clear();
                let put = Op::put(entry.id, entry.record);
                jsonl::write_op(line, &Op { revision: entry.changed.revision(), ..put });
                line.push(b'\n');
                *bytes += line.len() as u64;
                file.write_all(line).map_err(|error| Failure::file("write", name, &error))
            }
            #[cfg(feature = "columnar")]
            Sink::Table(writer) => writer.write(entry).map_err(|error| unwritten(name, &error)),
        }
    }

    /// Ends the file at hand, durably. Returns its bytes.
    fn end(&mut self) -> Outcome<u64> {
        let Some((sink, name, records)) = self.current.take() else { return Ok(0) };
        let failed = |error: &io::Error| Failure::file("write", &name, error);
        let file = match sink {
            Sink::Jsonl { file, .. } => file.into_inner().map_err(|error| failed(error.error()))?,
            #[cfg(feature = "columnar")]
            Sink::Table(writer) => writer.finish().map_err(|error| unwritten(&name, &error))?,
        };
        file.sync_all().map_err(|error| failed(&error))?;
        let bytes = file.metadata().map_err(|error| failed(&error))?.len();
        self.done.push(Written { name, records, bytes });
        Ok(bytes)
    }
}

#[cfg(feature = "columnar")]
fn unwritten(name: &str, error: &deltafold::columnar::TableError) -> Failure {
    Failure::new(Exit::Failed, format!("cannot write `{name}`: {error}"))
}
