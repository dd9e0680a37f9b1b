//! `scan`: reads records in order, as JSON Lines.

use std::fs::File;
use std::io::{self, Write};
use std::ops::{Bound, RangeBounds};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use deltafold::format::{CollectionName, Op};
use deltafold::jsonl::{self, Fields};
use deltafold::{Entry, Find, Include, Order, Reader, ScanOptions};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::get::AtArguments;
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output::{Progress, escape};
use crate::whered::WhereArguments;

/// Bytes of lines that one write gathers.
const WRITTEN_AT_ONCE: usize = 1 << 18;

/// Read records in order, as JSON Lines
#[derive(Debug, Args)]
pub(crate) struct Scan {
    /// The collection
    collection: CollectionName,
    /// The order
    #[arg(long, value_enum, default_value_t = OrderArgument::Id)]
    order: OrderArgument,
    /// Only ids with this prefix
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Only this id and those after it
    #[arg(long, value_name = "ID")]
    start: Option<String>,
    /// Only ids before this one
    #[arg(long, value_name = "ID")]
    end: Option<String>,
    /// Stop after this many records
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    filter: WhereArguments,
    /// Omit the embeddings
    #[arg(long)]
    no_embeddings: bool,
    /// Omit the documents
    #[arg(long)]
    no_documents: bool,
    /// Print each record as the `put` that makes it, for `append`; by revision, with the revision
    /// of its last change
    #[arg(long, conflicts_with_all = ["no_embeddings", "no_documents"])]
    as_ops: bool,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    at: AtArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OrderArgument {
    /// By id, in byte order
    Id,
    /// In the order of insertion
    Insertion,
}

impl Scan {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let reader = self.at.reader(&context.collection(&self.collection).await?).await?;
        let mut out: Box<dyn Write> = match &self.output {
            None => Box::new(io::stdout()),
            Some(path) => {
                let file = File::create(path);
                Box::new(file.map_err(|error| Failure::file("write", &path.display().to_string(), &error))?)
            }
        };
        let mut batches = self.batches(&reader).await?;
        let mut progress = Progress::new(context.output, "scanning", "record", None);
        let (mut records, mut bytes) = (0, 0);
        let mut lines = Vec::new();
        while let Some(batch) = batches.next().await {
            let Ok(batch) = batch else {
                self.print(&mut out, &mut lines)?;
                return batch.map(drop).map_err(Into::into);
            };
            for entry in batch {
                self.write(&mut lines, entry);
                records += 1;
                if lines.len() >= WRITTEN_AT_ONCE {
                    bytes += lines.len() as u64;
                    self.print(&mut out, &mut lines)?;
                    progress.at(records, records, bytes);
                }
            }
        }
        self.print(&mut out, &mut lines)?;
        Ok(out.flush()?)
    }

    /// Writes lines, and clears them.
    fn print(&self, out: &mut impl Write, lines: &mut Vec<u8>) -> io::Result<()> {
        let text = if self.only_prints() { escape::json(lines) } else { (&**lines).into() };
        out.write_all(&text)?;
        lines.clear();
        Ok(())
    }

    /// The selected records, in batches.
    async fn batches(&self, reader: &Reader) -> Outcome<BoxStream<'static, deltafold::Result<Vec<Entry>>>> {
        let options = self.options();
        let Some(filter) = self.filter.filter()? else { return Ok(reader.scan_batches(options).boxed()) };
        let include = Include::default().embedding(!self.no_embeddings).document(!self.no_documents).metadata(true);
        let found = reader.find(&Find::new(filter).order(options.order).include(include)).await?;
        let limit = options.limit.unwrap_or(usize::MAX);
        let in_range = move |entry: &Entry| {
            entry.id.starts_with(options.prefix.as_deref().unwrap_or_default())
                && RangeBounds::<String>::contains(&(options.start.as_ref(), options.end.as_ref()), &entry.id)
        };
        let found = found.try_filter(move |entry| std::future::ready(in_range(entry)));
        Ok(found.take(limit).map_ok(|entry| vec![entry]).boxed())
    }

    /// Whether the records go to standard output.
    pub(crate) fn only_prints(&self) -> bool {
        self.output.is_none()
    }

    fn options(&self) -> ScanOptions {
        ScanOptions::default()
            .order(match self.order {
                OrderArgument::Id => Order::Id,
                OrderArgument::Insertion => Order::Insertion,
            })
            .prefix(self.prefix.clone())
            .start(self.start.clone().map_or(Bound::Unbounded, Bound::Included))
            .end(self.end.clone().map_or(Bound::Unbounded, Bound::Excluded))
            .limit(self.limit)
            .embeddings(!self.no_embeddings)
    }

    fn write(&self, line: &mut Vec<u8>, entry: Entry) {
        if self.as_ops {
            let put = Op::put(entry.id, entry.record);
            jsonl::write_op(line, &Op { revision: entry.changed.revision(), ..put });
        } else {
            let fields = Fields::default().embedding(!self.no_embeddings).document(!self.no_documents);
            jsonl::write_record(line, &entry.id, &entry.record, fields);
        }
        line.push(b'\n');
    }
}
