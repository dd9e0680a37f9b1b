//! `status`: the state of a collection, or the list of collections.

use clap::Args;
use deltafold::format::{CollectionName, HeadPlace};
use deltafold::{Collection, CollectionStatus, Finding, ShardStatus};
use serde_json::{Value, json};

use crate::commands::verify::{damaged, finding_document};
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::units::{bytes, count, counted, date, rfc3339};
use crate::output::{Table, config, requests};

/// Show a collection's state, or list the collections
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The collection; without one, the command lists all
    collection: Option<CollectionName>,
}

impl Status {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        match &self.collection {
            Some(name) => one(context, name).await,
            None => all(context).await,
        }
    }
}

async fn all(context: &Context) -> Outcome {
    let store = context.store().await?;
    let names = Collection::list(&*store).await?;
    let mut statuses = Vec::new();
    for name in names {
        let status = context.collection(&name).await?.status().await?;
        statuses.push((name, status));
    }
    if context.output.json {
        let collections: Vec<Value> = statuses.iter().map(|(name, status)| document(name, status)).collect();
        let mut document = json!({ "store": store.location(), "collections": collections });
        add_requests(context, &mut document);
        return Ok(context.output.document(&document)?);
    }
    if statuses.is_empty() {
        let location = store.location();
        return Ok(context.output.line(format!("{location} holds no collection; `deltafold create` makes one"))?);
    }
    let columns = ["COLLECTION", ">DIMENSION", ">SHARDS", ">OPS FOLDED", ">SEGMENTS WAITING", "CREATED"];
    let mut table = Table::new(context.output, &columns);
    for (name, status) in &statuses {
        let waiting = status.shards.iter().map(waiting).sum();
        table.row([
            name.to_string(),
            status.config.dimension.to_string(),
            status.config.shards.to_string(),
            count(status.shards.iter().map(|shard| shard.ops).sum()),
            count(waiting),
            date(status.config.created),
        ]);
    }
    Ok(context.output.table(&table)?)
}

async fn one(context: &Context, name: &CollectionName) -> Outcome {
    let status = context.collection(name).await?.status().await?;
    let damage: Vec<Finding> = status.shards.iter().flat_map(|shard| shard.damage.clone()).collect();
    if context.output.json {
        let mut document = document(name, &status);
        add_requests(context, &mut document);
        context.output.document(&document)?;
        return damaged(name, &damage);
    }
    let config = &status.config;
    context.output.line(format!(
        "{name}: dimension {}, {}, {}, created {}",
        config.dimension,
        config.metric.name(),
        counted(config.shards.into(), "shard"),
        date(config.created)
    ))?;
    if config.ordering.is_revision() {
        context.output.line(config::ordering_words(config.ordering))?;
    }
    if config.heads != HeadPlace::Store {
        context.output.line(format!("its heads lie in {}", config.heads))?;
    }
    for shard in &status.shards {
        context.output.blank()?;
        context.output.lines(paragraph(shard))?;
        let columns = ["RUN", ">TIER", ">SEGMENTS", ">ROWS", ">PARTS", ">BYTES", "FROM", "TO"];
        let mut table = Table::new(context.output, &columns);
        for (index, run) in shard.runs.iter().enumerate() {
            table.row([
                if index == 0 { "base".to_owned() } else { format!("{index}") },
                run.level.to_string(),
                format!("{}-{}", run.first.get(), run.last.get()),
                count(run.rows),
                count(run.parts),
                bytes(run.bytes),
                date(run.times.first),
                date(run.times.last),
            ]);
        }
        if !shard.runs.is_empty() {
            context.output.table(&table)?;
        }
        for pin in &shard.pins {
            let until = pin.expires.map_or(String::new(), |expires| format!(", until {}", date(expires)));
            context.output.line(format!("pin `{}` keeps version {}{until}", pin.name, pin.version.get()))?;
        }
        for finding in &shard.damage {
            context.output.line(format!("{}: {}", finding.key, finding.problem))?;
        }
    }
    damaged(name, &damage)
}

/// Adds the requests that this command made to the store, with `--requests`.
fn add_requests(context: &Context, document: &mut Value) {
    if let Some(document) = document.as_object_mut().filter(|_| context.counts_requests()) {
        document.insert("requests".to_owned(), requests::document(&context.requests()));
    }
}

/// Segments that are not folded yet.
fn waiting(shard: &ShardStatus) -> u64 {
    shard.tail.get().saturating_sub(shard.folded.get())
}

fn paragraph(shard: &ShardStatus) -> Vec<String> {
    let published = if shard.version.get() > 0 { format!(", {}", date(shard.published)) } else { String::new() };
    let mut lines = vec![
        format!("shard {}: version {}{published}", shard.shard.get(), shard.version.get()),
        format!(
            "  log         {} waiting to be folded ({}), tail {}, folded {}, kept from {}",
            counted(waiting(shard), "segment"),
            bytes(shard.unfolded_bytes),
            shard.tail.get(),
            shard.folded.get(),
            shard.truncated.get()
        ),
        format!("  snapshot    {} folded into {}", counted(shard.ops, "op"), counted(shard.runs.len() as u64, "run")),
        format!(
            "  embeddings  {} of {} live in {}, {}",
            count(shard.live_embedding_rows),
            counted(shard.embedding_rows, "row"),
            counted(shard.embedding_objects, "object"),
            bytes(shard.embedding_bytes)
        ),
    ];
    if shard.dropped_objects > 0 {
        let dropped = counted(shard.dropped_objects, "object");
        lines.push(format!("  sweep       {dropped} that only older versions need"));
    }
    lines
}

fn document(name: &CollectionName, status: &CollectionStatus) -> Value {
    let mut document = config::document(&status.config);
    document["collection"] = name.as_str().into();
    document["heads"] = config::heads(&status.config.heads);
    document["shards"] = status.shards.iter().map(shard_document).collect();
    document
}

fn shard_document(shard: &ShardStatus) -> Value {
    let runs: Vec<Value> = shard
        .runs
        .iter()
        .map(|run| {
            json!({
                "level": run.level,
                "first": run.first.get(),
                "last": run.last.get(),
                "rows": run.rows,
                "rows_without_record": run.absent,
                "parts": run.parts,
                "bytes": run.bytes,
                "from": rfc3339(run.times.first),
                "to": rfc3339(run.times.last),
            })
        })
        .collect();
    let pins: Vec<Value> = shard
        .pins
        .iter()
        .map(|pin| {
            json!({
                "name": pin.name,
                "version": pin.version.get(),
                "created": rfc3339(pin.created),
                "expires": pin.expires.map(rfc3339),
            })
        })
        .collect();
    json!({
        "shard": shard.shard.get(),
        "version": shard.version.get(),
        "published": rfc3339(shard.published),
        "folded": shard.folded.get(),
        "tail": shard.tail.get(),
        "truncated": shard.truncated.get(),
        "sweep_floor": shard.sweep_floor.get(),
        "unfolded_segments": waiting(shard),
        "unfolded_bytes": shard.unfolded_bytes,
        "ops": shard.ops,
        "runs": runs,
        "embedding_objects": shard.embedding_objects,
        "embedding_bytes": shard.embedding_bytes,
        "embedding_rows": shard.embedding_rows,
        "live_embedding_rows": shard.live_embedding_rows,
        "dropped_objects": shard.dropped_objects,
        "pins": pins,
        "damage": shard.damage.iter().map(finding_document).collect::<Vec<Value>>(),
    })
}
