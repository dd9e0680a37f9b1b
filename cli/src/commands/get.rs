//! `get`: reads records by id.

use clap::Args;
use deltafold::format::{CollectionName, Value, Version};
use deltafold::jsonl::{self, Fields};
use deltafold::{At, Collection, Entry, GetOptions, Reader};

use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::units;

/// Read records by id
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The collection
    collection: CollectionName,
    /// Ids of records
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Omit the embeddings
    #[arg(long)]
    no_embeddings: bool,
    #[command(flatten)]
    at: AtArguments,
}

/// The state to read.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct AtArguments {
    /// Read this version instead of the latest state; one for each shard, separated by commas
    #[arg(long, value_name = "VERSION", value_delimiter = ',')]
    version: Vec<u64>,
    /// Read the state that this pin keeps instead of the latest state
    #[arg(long, value_name = "NAME")]
    pin: Option<String>,
}

impl AtArguments {
    /// Whether the command reads the latest state.
    pub(crate) fn is_latest(&self) -> bool {
        self.pin.is_none() && self.version.is_empty()
    }

    pub(crate) async fn reader(&self, collection: &Collection) -> Outcome<Reader> {
        Ok(collection.reader_at(self.at(collection)?).await?)
    }

    /// The state, for a command that opens its readers itself.
    pub(crate) fn at(&self, collection: &Collection) -> Outcome<At> {
        Ok(match &self.pin {
            Some(name) => At::Pin(name.clone()),
            None if self.version.is_empty() => At::Latest,
            None => At::Versions(self.versions(collection)?),
        })
    }

    /// The versions, one for each shard.
    fn versions(&self, collection: &Collection) -> Outcome<Vec<Version>> {
        let (given, shards) = (self.version.len() as u64, u64::from(collection.config().shards));
        if given == shards {
            return Ok(self.version.iter().copied().map(Version::new).collect());
        }
        let (given, shards) = (units::counted(given, "version"), units::counted(shards, "shard"));
        let problem = format!("`--version` names {given}, and `{}` has {shards}", collection.name());
        Err(Failure::new(Exit::Usage, problem).help("name one version for each shard, separated by commas"))
    }
}

impl Get {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let ids: Vec<&str> = self.ids.iter().map(String::as_str).collect();
        let options = GetOptions::default().embedding(!self.no_embeddings);
        let found = match (self.at.is_latest(), &ids[..]) {
            (true, [id]) => vec![context.record(&self.collection, id, &options).await?],
            (true, _) => context.reader(&self.collection).await?.1.get_many_with(&ids, &options).await?,
            (false, _) => {
                let reader = self.at.reader(&context.collection(&self.collection).await?).await?;
                reader.get_many_with(&ids, &options).await?
            }
        };
        let fields = Fields::default().embedding(!self.no_embeddings);
        let people = !context.output.json && context.output.is_terminal();
        for (index, entry) in found.iter().flatten().enumerate() {
            if people {
                if index > 0 {
                    context.output.blank()?;
                }
                context.output.card(&entry.id, &card(entry, fields))?;
            } else {
                let mut line = Vec::new();
                jsonl::write_record(&mut line, &entry.id, &entry.record, fields);
                context.output.json_text(line)?;
            }
        }
        let missing: Vec<&str> =
            ids.iter().zip(&found).filter(|(_, entry)| entry.is_none()).map(|(id, _)| *id).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let listed = missing.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
        let problem = format!("`{}` holds no record {listed}", self.collection);
        Err(Failure::new(Exit::NotFound, problem)
            .detail("missing", missing)
            .help(format!("`deltafold scan {} --prefix …` lists the ids that begin alike", self.collection)))
    }
}

/// The fields of a record for people. Cuts long ones.
fn card(entry: &Entry, fields: Fields) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut field = |name: &str, value: String| lines.push((name.to_owned(), value));
    if let Some(document) = &entry.record.document {
        field("document", cut(document, 200));
    }
    if let (Some(embedding), true) = (&entry.record.embedding, fields.embedding) {
        let shown: Vec<String> = embedding.iter().take(6).map(f32::to_string).collect();
        let more = if embedding.len() > shown.len() { ", …" } else { "" };
        field("embedding", format!("[{}{more}] ({} numbers)", shown.join(", "), embedding.len()));
    }
    for (key, value) in &entry.record.metadata {
        field(key, cut(&text(value), 200));
    }
    field("inserted", entry.inserted.to_string());
    field("changed", entry.changed.to_string());
    lines
}

/// A metadata value for people.
pub(crate) fn text(value: &Value) -> String {
    fn list<T: std::fmt::Display>(items: &[T]) -> String {
        let shown: Vec<String> = items.iter().take(50).map(T::to_string).collect();
        let more = items.len().saturating_sub(shown.len());
        let more = if more > 0 { format!(" and {} more", units::count(more as u64)) } else { String::new() };
        format!("[{}]{more}", shown.join(", "))
    }
    match value {
        Value::String(text) => text.clone(),
        Value::I64(number) => number.to_string(),
        Value::F64(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Strings(items) => list(items),
        Value::I64s(items) => list(items),
        Value::F64s(items) => list(items),
        Value::Bools(items) => list(items),
    }
}

/// The beginning of a text.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    let mut shown: String = text.chars().take(limit).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
