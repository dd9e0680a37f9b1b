//! `map`: the ops that a mapping makes of records of a DynamoDB stream.

use std::path::PathBuf;

use clap::Args;
use deltafold::format::{Action, Change, CollectionName, Op, OpRules, Patch, Record, Revision};
use deltafold::ingest::{Mapped, Mapping, StreamRecord, stream_records};
use deltafold::jsonl::write_op;
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::{Input, Limit, read_text};
use crate::output::Table;
use crate::output::units::{count, counted};

/// People write mappings by hand, so they are small.
const MAX_MAPPING: Limit = Limit(1 << 20);
/// The command reads sample records whole.
const MAX_SAMPLES_BYTES: u64 = 1 << 30;

/// Show the ops that a mapping makes of records of a DynamoDB stream
#[derive(Debug, Args)]
#[command(
    after_help = "Samples are records as AWS Lambda hands them over or `aws dynamodbstreams get-records` prints them: one or many, a list, or an object with `Records`; \
    compressed or not. Without --check the ops are printed as JSON Lines, for `deltafold append`, and the first record that is refused ends it."
)]
pub(crate) struct MapRecords {
    /// The mapping file
    mapping: PathBuf,
    /// Files of sample records; `-` is standard input
    samples: Vec<PathBuf>,
    /// Report the outcome of every record, with the reason if it yields no op
    #[arg(long)]
    check: bool,
    /// Only the ops of this collection
    #[arg(long, value_name = "COLLECTION")]
    collection: Option<CollectionName>,
    /// Check that embeddings have this dimension
    #[arg(long, value_name = "N")]
    dimension: Option<u32>,
    /// Print and check the ops with their revisions, as a collection ordered by revision takes them
    #[arg(long)]
    revisions: bool,
}

/// Sums for people.
#[derive(Debug, Default)]
struct Tally {
    records: u64,
    ops: u64,
    skipped: u64,
    refused: u64,
}

/// The outcome of one record in one collection.
struct Told<'a> {
    sample: &'a str,
    line: usize,
    record: Option<&'a StreamRecord>,
    collection: Option<&'a CollectionName>,
    result: Result<Mapped, String>,
}

impl MapRecords {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let mapping = read_mapping(&self.mapping)?;
        let collections = self.collections(&mapping)?;
        let mut tally = Tally::default();
        let mut table = Table::new(context.output, &["sample", "event", "collection", "op", "id", "what"]);
        for sample in &self.samples {
            let input = Input::of(sample);
            let text = input.open(context.memory())?.into_text(MAX_SAMPLES_BYTES)?;
            for (line, record) in stream_records(&text) {
                tally.records += 1;
                let name = input.name();
                let told = |record, collection, result| Told { sample: &name, line, record, collection, result };
                match &record {
                    Err(reason) => {
                        self.tell(context, &mut table, &mut tally, &told(None, None, Err(reason.clone())))?
                    }
                    Ok(record) => {
                        for collection in &collections {
                            let result = self.map(&mapping, collection, record);
                            let told = told(Some(record), Some(*collection), result);
                            self.tell(context, &mut table, &mut tally, &told)?;
                        }
                    }
                }
            }
        }
        if self.check {
            self.sum_up(context, &table, &tally, &collections)?;
        }
        if tally.refused > 0 {
            return Err(Failure::new(Exit::BadInput, format!("{} refused", counted(tally.refused, "record")))
                .detail("refused", tally.refused)
                .help("mend the mapping, or the settings of the stream; in operation such records end among the dead letters"));
        }
        Ok(())
    }

    /// Whether the command prints ops and gives no verdict of its own.
    pub(crate) fn only_prints(&self) -> bool {
        !self.check
    }

    fn collections<'a>(&'a self, mapping: &'a Mapping) -> Outcome<Vec<&'a CollectionName>> {
        let known = mapping.collections();
        let names = || known.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        match &self.collection {
            Some(collection) if !known.contains(&collection) => {
                let problem = format!("no rule of the mapping is about collection `{collection}`");
                Err(Failure::new(Exit::NotFound, problem).help(format!("it has rules for {}", names())))
            }
            Some(collection) => Ok(vec![collection]),
            None if known.len() > 1 && !self.check => {
                let problem = "the mapping is about several collections, and ops do not say which they belong to";
                Err(Failure::new(Exit::Usage, problem).help(format!("choose one with --collection: {}", names())))
            }
            None => Ok(known),
        }
    }

    fn map(&self, mapping: &Mapping, collection: &CollectionName, record: &StreamRecord) -> Result<Mapped, String> {
        let mut mapped = mapping.map(collection, record).map_err(|error| error.to_string())?;
        for op in &mut mapped.ops {
            op.revision = mapped.revision.filter(|_| self.revisions).map(Revision::new);
            let own = op.action.embedding().map_or(1, |embedding| u32::try_from(embedding.len()).unwrap_or(u32::MAX));
            let rules = OpRules { dimension: self.dimension.unwrap_or(own), revisions: self.revisions };
            op.validate(rules).map_err(|error| error.to_string())?;
        }
        Ok(mapped)
    }

    fn tell(&self, context: &Context, table: &mut Table, tally: &mut Tally, told: &Told<'_>) -> Outcome {
        match &told.result {
            Ok(mapped) if mapped.skipped.is_some() => tally.skipped += 1,
            Ok(mapped) => tally.ops += mapped.ops.len() as u64,
            Err(_) => tally.refused += 1,
        }
        if !self.check {
            let mapped = told.result.as_ref().map_err(|reason| {
                Failure::new(Exit::BadInput, format!("{}:{}: {reason}", told.sample, told.line))
                    .help("--check tells of every record what becomes of it")
            })?;
            for op in &mapped.ops {
                context.output.json_text(text_of(op).into_bytes())?;
            }
        } else if context.output.json {
            for document in told.documents() {
                context.output.json_line(&document)?;
            }
        } else {
            told.rows(table);
        }
        Ok(())
    }

    fn sum_up(&self, context: &Context, table: &Table, tally: &Tally, collections: &[&CollectionName]) -> Outcome {
        if context.output.json {
            return Ok(());
        }
        let names: Vec<&str> = collections.iter().map(|name| name.as_str()).collect();
        context.output.note(format!("{} is sound; it is about {}", self.mapping.display(), names.join(", ")));
        if tally.records > 0 {
            context.output.table(table)?;
            let (records, ops) = (counted(tally.records, "record"), counted(tally.ops, "op"));
            let rest = format!("{} skipped, {} refused", count(tally.skipped), count(tally.refused));
            context.output.note(format!("{records}: {ops}, {rest}"));
        }
        Ok(())
    }
}

/// Reads a mapping file.
pub(crate) fn read_mapping(path: &std::path::Path) -> Outcome<Mapping> {
    let name = path.display().to_string();
    let text = read_text(path, "a mapping", MAX_MAPPING)?;
    Mapping::parse(&text, &name).map_err(|error| {
        let failure = Failure::new(Exit::BadInput, &error).detail("file", name.as_str()).detail("line", error.line());
        failure.help("`docs/ingest.md` describes mapping files")
    })
}

impl Told<'_> {
    fn event(&self) -> &str {
        self.record.map_or("", |record| record.event.name())
    }

    /// For scripts: an object for each op, or one with the reason why there is none.
    fn documents(&self) -> Vec<Value> {
        let mut about = Map::new();
        about.insert("sample".into(), self.sample.into());
        about.insert("line".into(), self.line.into());
        if let Some(record) = self.record {
            about.insert("event".into(), record.event.name().into());
            about.insert("event_id".into(), record.event_id.clone().into());
        }
        about.insert("collection".into(), self.collection.map(CollectionName::as_str).into());
        let with = |more: Value| {
            let mut document = about.clone();
            document.extend(more.as_object().cloned().unwrap_or_default());
            Value::Object(document)
        };
        match &self.result {
            Err(reason) => vec![with(json!({ "refused": reason }))],
            Ok(mapped) => match mapped.skipped {
                Some(skip) => vec![with(json!({ "rule": mapped.rule, "skipped": skip.reason() }))],
                None => {
                    let revision = mapped.revision.map(|revision| revision.to_string());
                    let change = |op| serde_json::from_str::<Value>(&text_of(op)).unwrap_or_default();
                    let ops = mapped.ops.iter();
                    ops.map(|op| with(json!({ "rule": mapped.rule, "revision": revision, "change": change(op) })))
                        .collect()
                }
            },
        }
    }

    /// Adds rows for people.
    fn rows(&self, table: &mut Table) {
        let file = std::path::Path::new(self.sample).file_name().unwrap_or_default().display();
        let place = format!("{file}:{}", self.line);
        let collection = self.collection.map_or("", CollectionName::as_str);
        let mut row = |op: &str, id: &str, what: &str| table.row([&*place, self.event(), collection, op, id, what]);
        match &self.result {
            Err(reason) => row("refused", "", reason),
            Ok(mapped) => match mapped.skipped {
                Some(skip) => row("skipped", "", skip.reason()),
                None => mapped.ops.iter().for_each(|op| row(op.action.name(), &op.id, &what(op))),
            },
        }
    }
}

fn text_of(op: &Op) -> String {
    let mut line = Vec::new();
    write_op(&mut line, op);
    String::from_utf8(line).unwrap_or_default()
}

/// The fields that an op sets and removes, in a few words.
fn what(op: &Op) -> String {
    match &op.action {
        Action::Put(record) | Action::Add(record) => fields_of(record),
        Action::Upsert(patch) | Action::Patch(patch) => changes_of(patch),
        Action::Delete => String::new(),
    }
}

fn fields_of(record: &Record) -> String {
    let embedding = record.embedding.as_ref().map(|embedding| format!("embedding of {}", embedding.len()));
    let document = record.document.as_ref().map(|document| format!("document of {} B", document.len()));
    let keys = record.metadata.keys().cloned();
    keys.chain(embedding).chain(document).collect::<Vec<_>>().join(", ")
}

fn changes_of(patch: &Patch) -> String {
    let field = |name: &str, is: Option<bool>| is.map(|set| if set { name.to_owned() } else { format!("no {name}") });
    fn is<T>(change: &Change<T>) -> Option<bool> {
        match change {
            Change::Keep => None,
            Change::Clear => Some(false),
            Change::Set(_) => Some(true),
        }
    }
    let keys = patch.metadata.iter().filter_map(|(key, value)| field(key, Some(value.is_some())));
    let others = [field("embedding", is(&patch.embedding)), field("document", is(&patch.document))];
    keys.chain(others.into_iter().flatten()).collect::<Vec<_>>().join(", ")
}
