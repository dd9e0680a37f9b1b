//! `sweep`: deletes objects that no reader and no writer can need any more.

use std::time::Duration;

use clap::Args;
use deltafold::SweepOptions;
use deltafold::format::CollectionName;
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::Outcome;
use crate::output::Table;
use crate::output::units::{bytes, count, counted, parse_duration};

/// Delete objects that no reader and no writer can need any more
#[derive(Debug, Args)]
pub(crate) struct Sweep {
    /// The collection
    collection: CollectionName,
    /// Keep this many versions before the current one readable
    #[arg(long, value_name = "N", default_value_t = SweepOptions::default().keep_versions)]
    keep_versions: u64,
    /// Keep a version readable until it has been out of date for this long
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    min_age: Duration,
    /// Only print what it would delete
    #[arg(long)]
    dry_run: bool,
}

impl Sweep {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let (keep_versions, min_age, dry_run) = (self.keep_versions, self.min_age, self.dry_run);
        let options = SweepOptions::default().keep_versions(keep_versions).min_age(min_age).dry_run(dry_run);
        let reports = context.collection(&self.collection).await?.sweep(&options).await?;
        if context.output.json {
            let shards: Vec<Value> = reports
                .iter()
                .map(|(shard, report)| {
                    json!({
                        "shard": shard.get(),
                        "sweep_floor": report.sweep_floor.get(),
                        "truncated": report.truncated.get(),
                        "segments": report.segments,
                        "manifests": report.manifests,
                        "parts": report.parts,
                        "bytes": report.bytes,
                        "uploads": report.uploads,
                        "expired_pins": report.expired_pins,
                    })
                })
                .collect();
            return Ok(context.output.document(&json!({
                "collection": self.collection.as_str(),
                "dry_run": self.dry_run,
                "shards": shards,
            }))?);
        }
        let columns =
            [">SHARD", ">SEGMENTS", ">MANIFESTS", ">PARTS", ">BYTES", ">VERSIONS FROM", ">LOG FROM", "EXPIRED PINS"];
        let mut table = Table::new(context.output, &columns);
        for (shard, report) in &reports {
            table.row([
                shard.get().to_string(),
                count(report.segments),
                count(report.manifests),
                count(report.parts),
                bytes(report.bytes),
                report.sweep_floor.get().to_string(),
                report.truncated.get().to_string(),
                report.expired_pins.join(", "),
            ]);
        }
        context.output.table(&table)?;
        let uploads: u64 = reports.iter().map(|(_, report)| report.uploads).sum();
        if uploads > 0 {
            context.output.line(format!("{} of large objects that were never finished", counted(uploads, "upload")))?;
        }
        if self.dry_run {
            context.output.note("nothing was deleted: this was a dry run");
        }
        Ok(())
    }
}
