//! `history`: the versions of each shard, and the edits that made them.

use clap::Args;
use deltafold::HistoryEntry;
use deltafold::format::{CollectionName, EditKind, ShardId};
use serde_json::{Value, json};

use crate::commands::verify::{damaged, finding_document};
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::Table;
use crate::output::units::{bytes, count, date, rfc3339};

/// Show the versions of a collection and the edits that made them
#[derive(Debug, Args)]
pub(crate) struct History {
    /// The collection
    collection: CollectionName,
    /// Show at most this many versions of each shard
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

/// The name of an edit in text and JSON.
pub(crate) fn edit_name(kind: EditKind) -> &'static str {
    match kind {
        EditKind::Fold => "fold",
        EditKind::Merge => "merge",
        EditKind::Pin => "pin",
        EditKind::Unpin => "unpin",
        EditKind::Sweep => "sweep",
        EditKind::Repair => "repair",
    }
}

impl History {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let history = context.collection(&self.collection).await?.history().await?;
        let mut entries = history.versions;
        newest_of_each_shard(&mut entries, self.limit);
        if context.output.json {
            let versions: Vec<Value> = entries.iter().map(document).collect();
            let damage: Vec<Value> = history.damage.iter().map(finding_document).collect();
            let document = json!({ "collection": self.collection.as_str(), "versions": versions, "damage": damage });
            context.output.document(&document)?;
            return damaged(&self.collection, &history.damage);
        }
        let columns = [
            ">SHARD",
            ">VERSION",
            "PUBLISHED",
            "EDIT",
            ">IN",
            ">OUT",
            ">READ",
            ">WRITTEN",
            ">FOLDED",
            ">OPS",
            ">RUNS",
            ">ROWS",
        ];
        let mut table = Table::new(context.output, &columns);
        for entry in &entries {
            table.row([
                entry.shard.get().to_string(),
                entry.version.get().to_string(),
                date(entry.published),
                edit_name(entry.edit.kind).to_owned(),
                count(entry.edit.rows_in),
                count(entry.edit.rows_out),
                bytes(entry.edit.bytes_in),
                bytes(entry.edit.bytes_out),
                entry.folded.get().to_string(),
                count(entry.ops),
                count(entry.runs),
                count(entry.rows),
            ]);
        }
        if entries.is_empty() && history.damage.is_empty() {
            return Ok(context
                .output
                .line(format!("no version yet: `deltafold compact {}` makes the first", self.collection))?);
        }
        if !entries.is_empty() {
            context.output.table(&table)?;
        }
        for finding in &history.damage {
            context.output.line(format!("{}: {}", finding.key, finding.problem))?;
        }
        damaged(&self.collection, &history.damage)
    }
}

/// Keeps the last `limit` entries of each shard. The entries come shard by shard, oldest first.
fn newest_of_each_shard(entries: &mut Vec<HistoryEntry>, limit: usize) {
    let mut kept = std::collections::BTreeMap::<ShardId, usize>::new();
    entries.reverse();
    entries.retain(|entry| {
        let kept = kept.entry(entry.shard).or_default();
        *kept += 1;
        *kept <= limit
    });
    entries.reverse();
}

fn document(entry: &HistoryEntry) -> Value {
    json!({
        "shard": entry.shard.get(),
        "version": entry.version.get(),
        "published": rfc3339(entry.published),
        "edit": edit_name(entry.edit.kind),
        "rows_in": entry.edit.rows_in,
        "rows_out": entry.edit.rows_out,
        "bytes_in": entry.edit.bytes_in,
        "bytes_out": entry.edit.bytes_out,
        "folded": entry.folded.get(),
        "ops": entry.ops,
        "runs": entry.runs,
        "rows": entry.rows,
    })
}
