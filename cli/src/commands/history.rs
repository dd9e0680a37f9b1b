//! `history`: the versions of each shard, and the edits that made them.

use clap::Args;
use deltafold::HistoryEntry;
use deltafold::format::CollectionName;
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

impl History {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let mut history = context.collection(&self.collection).await?.history().await?;
        history.keep_newest(self.limit);
        let entries = &history.versions;
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
        for entry in entries {
            table.row([
                entry.shard.get().to_string(),
                entry.version.get().to_string(),
                date(entry.published),
                entry.edit.kind.name().to_owned(),
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

fn document(entry: &HistoryEntry) -> Value {
    json!({
        "shard": entry.shard.get(),
        "version": entry.version.get(),
        "published": rfc3339(entry.published),
        "edit": entry.edit.kind.name(),
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
