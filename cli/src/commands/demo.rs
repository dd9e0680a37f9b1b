//! `demo`: every feature at work on 1,500 real records, step by step.

use std::io::BufRead as _;
use std::time::Duration;

use clap::Args;
use deltafold::format::{Action, CollectionName, EditKind, Op, OpRules};
use deltafold::{
    Collection, CompactEvent, CompactorOptions, CreateOptions, Depth, Entry, ErrorKind, Include, Policy, Query, Writer,
    WriterOptions,
};
use serde_json::{Value, json};

use super::compact::sentence;
use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::output::units::{bytes, counted};

/// Records that `examples/cut_demo.rs` cuts out of the descriptions of Debian's packages, and the
/// later updates.
const BASE: &[u8] = include_bytes!("../../../demo/debian-1500.jsonl.zst");
const UPDATES: &[u8] = include_bytes!("../../../demo/updates.jsonl.zst");
const EXPECTED: &str = include_str!("../../../demo/expected.json");
const DIMENSION: u32 = 384;
/// Ops a segment: the base comes in bulk, updates come in handfuls.
const BASE_SEGMENT: usize = 100;
const UPDATE_SEGMENT: usize = 10;

/// Show every feature at work on 1,500 real records. The demo creates a collection in the store and
/// leaves it there to try things on
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// The collection to create; if the name is taken, the demo adds a number
    #[arg(long, default_value = "demo", value_name = "NAME")]
    collection: CollectionName,
}

impl Demo {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let mut show = Show { output: context.output, step: 0, events: Vec::new(), segments: 0 };
        let base = ops(BASE)?;
        let updates = ops(UPDATES)?;

        show.step("create a collection")?;
        let collection = create(context, &self.collection).await?;
        let name = collection.name().clone();
        show.say(format!("{name} in {}, dimension {DIMENSION}", collection.store().location()))?;

        show.step(format!(
            "append {}, while a compactor folds every 8 segments",
            counted(base.len() as u64, "record")
        ))?;
        let writer = collection.writer(WriterOptions::default())?;
        show.append(&collection, &writer, &base, BASE_SEGMENT).await?;

        show.step("read them back")?;
        let mut reader = collection.reader().await?;
        show.say(counted(reader.count().await?, "record"))?;
        let changed = example(&updates, &base, |action| matches!(action, Action::Patch(_)));
        let deleted = example(&updates, &base, |action| matches!(action, Action::Delete));
        for id in [changed, deleted].into_iter().flatten() {
            show.entry(id, reader.get(id).await?.as_ref())?;
        }

        let total = counted(updates.len() as u64, "real update");
        show.step(format!("append {total}, {UPDATE_SEGMENT} a segment, while the compactor goes on"))?;
        show.append(&collection, &writer, &updates, UPDATE_SEGMENT).await?;
        writer.close().await?;

        show.step("refresh the reader, which shows the old state until then")?;
        show.say(format!("before the refresh: {}", counted(reader.count().await?, "record")))?;
        reader.refresh().await?;
        let records = reader.count().await?;
        show.say(format!("after it:           {}", counted(records, "record")))?;
        for id in [changed, deleted].into_iter().flatten() {
            show.entry(id, reader.get(id).await?.as_ref())?;
        }

        show.step("fold the rest, and check every byte")?;
        let report = collection.compactor(CompactorOptions::default()).run_once().await?;
        report.events.iter().try_for_each(|event| show.event(event))?;
        let verified = collection.verify(Depth::Deep, |_| ()).await?;
        let expected: Value = serde_json::from_str(EXPECTED).unwrap_or_default();
        if !verified.is_sound() || Some(records) != expected["records"].as_u64() {
            let problem =
                format!("`{name}` differs from the expected collection: {records} records, {:?}", verified.findings);
            return Err(Failure::new(Exit::Damaged, problem).help("please report this"));
        }
        show.say(format!(
            "sound: {} and {} read, {} as expected",
            counted(verified.objects, "object"),
            bytes(verified.bytes),
            counted(records, "record")
        ))?;
        show.finish(context, &collection, base.len() + updates.len(), records, changed).await
    }
}

/// Creates the collection under the first free name.
async fn create(context: &Context, name: &CollectionName) -> Outcome<Collection> {
    let store = context.new_store().await?;
    let options = CreateOptions::new(DIMENSION);
    for number in 1..1_000 {
        let numbered = if number == 1 { name.to_string() } else { format!("{name}-{number}") };
        let numbered = numbered.parse().map_err(|error| Failure::new(Exit::Usage, error))?;
        match Collection::create(store.clone(), &numbered, &options).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => return Ok(created?),
        }
    }
    Err(Failure::new(Exit::Failed, format!("`{name}` to `{name}-999` all exist")).help("`deltafold drop` removes them"))
}

/// The ops of a compressed file inside the program.
fn ops(compressed: &[u8]) -> Outcome<Vec<Op>> {
    let broken = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, format!("the data of the demo: {error}"));
    let lines = zstd::Decoder::with_buffer(compressed).map_err(|error| broken(&error))?;
    let mut ops = Vec::new();
    for (number, line) in (1..).zip(std::io::BufReader::new(lines).split(b'\n')) {
        let line = line.map_err(|error| broken(&error))?;
        ops.push(
            deltafold::jsonl::parse_op_for(&line, number, OpRules::log(DIMENSION)).map_err(|error| broken(&error))?,
        );
    }
    Ok(ops)
}

/// The id of the first update of a kind on a record of the base.
fn example<'a>(updates: &'a [Op], base: &[Op], wanted: fn(&Action) -> bool) -> Option<&'a str> {
    let of_base = |op: &&Op| wanted(&op.action) && base.iter().any(|old| old.id == op.id);
    updates.iter().find(of_base).map(|op| op.id.as_str())
}

/// The state of the demo, and its counts.
struct Show {
    output: Output,
    step: usize,
    events: Vec<CompactEvent>,
    segments: u64,
}

impl Show {
    fn step(&mut self, what: impl std::fmt::Display) -> std::io::Result<()> {
        self.step += 1;
        if self.output.json {
            return Ok(());
        }
        if self.step > 1 {
            self.output.blank()?;
        }
        self.output.heading(format!("{}. {what}", self.step))
    }

    fn say(&self, what: impl std::fmt::Display) -> std::io::Result<()> {
        self.line(format!("   {what}"))
    }

    fn line(&self, text: impl std::fmt::Display) -> std::io::Result<()> {
        if self.output.json { Ok(()) } else { self.output.line(text) }
    }

    fn event(&mut self, event: &CompactEvent) -> std::io::Result<()> {
        self.events.push(event.clone());
        self.say(sentence(event))
    }

    fn entry(&self, id: &str, entry: Option<&Entry>) -> std::io::Result<()> {
        let Some(entry) = entry else { return self.say(format!("{id}: no such record")) };
        let text = |key: &str| match entry.record.metadata.get(key) {
            Some(deltafold::format::Value::String(text)) => text.as_str(),
            _ => "none",
        };
        self.say(format!("{id}: version {}, last changed at {}", text("version"), entry.changed))
    }

    /// Shows the records whose embeddings are nearest to that of a record.
    async fn neighbours(&self, collection: &Collection, id: &str) -> Outcome {
        let reader = collection.reader().await?;
        let Some(vector) = reader.get(id).await?.and_then(|entry| entry.record.embedding) else { return Ok(()) };
        let answers = reader.search(&[Query::new(vector, 4).include(Include::NOTHING)]).await?;
        for answer in &answers {
            for hit in &answer.hits {
                self.say(format!("{:.4}  {}", hit.distance, hit.entry.id))?;
            }
            let (work, records) = (answer.work, reader.count().await?);
            self.say(format!(
                "exact: codes of 8 bits ruled out all but {} of {}",
                counted(work.read, "embedding"),
                counted(records, "record")
            ))?;
        }
        Ok(())
    }

    /// Appends ops a segment at a time, and shows the work of a compactor beside it.
    async fn append(&mut self, collection: &Collection, writer: &Writer, ops: &[Op], segment: usize) -> Outcome {
        let policy = Policy::default().fold_segments(8);
        let mut compactor = collection.compactor(CompactorOptions::default().policy(policy));
        let (stop, stopped) = futures::channel::oneshot::channel::<()>();
        let (mut segments, mut last) = (0, None);
        let appending = async {
            for batch in ops.chunks(segment) {
                let ack = writer.append(batch.to_vec()).await?;
                segments += 1;
                last = ack.segments().last().copied();
            }
            drop(stop);
            Ok::<(), deltafold::Error>(())
        };
        let mut shown = Ok(());
        let compacting = compactor.watch(
            Duration::from_millis(1),
            async {
                // Ready when the sender is dropped.
                let _ = stopped.await;
            },
            |event| {
                let told = self.event(event);
                shown = std::mem::replace(&mut shown, Ok(())).and(told);
            },
        );
        let (appended, compacted) = futures::join!(appending, compacting);
        appended?;
        compacted?;
        shown?;
        self.segments += segments;
        let last = last.map_or(String::new(), |(_, sequence)| format!("; the log ends at {}", sequence.get()));
        Ok(self.say(format!(
            "appended {} in {}{last}",
            counted(ops.len() as u64, "op"),
            counted(segments, "segment")
        ))?)
    }

    async fn finish(
        &mut self,
        context: &Context,
        collection: &Collection,
        ops: usize,
        records: u64,
        example: Option<&str>,
    ) -> Outcome {
        let of = |kind| self.events.iter().filter(move |event| event.kind == kind && event.version.is_some());
        let ingested: u64 = of(EditKind::Fold).map(|event| event.bytes_in).sum();
        let written: u64 = self.events.iter().map(|event| event.bytes_out).sum();
        let (folds, merges) = (of(EditKind::Fold).count(), of(EditKind::Merge).count());
        let status = collection.status().await?;
        let runs: u64 = status.shards.iter().map(|shard| shard.runs.len() as u64).sum();
        let version = status.shards.first().map_or(0, |shard| shard.version.get());
        let amplification = written as f64 / ingested.max(1) as f64;
        let name = collection.name();
        if self.output.json {
            return Ok(self.output.document(&json!({
                "collection": name.as_str(),
                "store": collection.store().location(),
                "ops": ops,
                "segments": self.segments,
                "records": records,
                "version": version,
                "folds": folds,
                "merges": merges,
                "runs": runs,
                "bytes_ingested": ingested,
                "bytes_compacted": written,
                "write_amplification": amplification,
            }))?);
        }
        self.say(format!(
            "{} in {} became version {version} with {}, by {} and {}",
            counted(ops as u64, "op"),
            counted(self.segments, "segment"),
            counted(runs, "run"),
            counted(folds as u64, "fold"),
            counted(merges as u64, "merge")
        ))?;
        self.say(format!(
            "{} came in, compaction wrote {}: {amplification:.1} bytes a byte",
            bytes(ingested),
            bytes(written)
        ))?;
        let id = example.unwrap_or("bookworm/admin/udev");
        self.step("find the nearest neighbours of a record")?;
        self.neighbours(collection, id).await?;
        let (program, store) = (program(context), context.store_option());
        self.line("")?;
        self.line(format!("{} are in {name}. Try next:", counted(records, "record")))?;
        self.line(format!("  {program} {store}get {name} {}", crate::quote::quoted(id)))?;
        self.line(format!("  {program} {store}query {name} --vector-from {} -k 5", crate::quote::quoted(id)))?;
        self.line(format!("  {program} {store}history {name}"))?;
        Ok(self.line(format!("  {program} {store}scan {name} --prefix bookworm/libs/ --no-embeddings --limit 5"))?)
    }
}

/// The command line for this program: its name where the shell finds it, else the path it was
/// called by.
fn program(context: &Context) -> String {
    const NAME: &str = "deltafold";
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).any(|folder| folder.join(NAME).is_file());
    if installed { NAME.to_owned() } else { crate::quote::quoted(context.called()) }
}
