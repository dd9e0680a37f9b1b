//! `compact`: folds the log into the snapshot and merges runs, once or until it is stopped.

use std::time::Duration;

use clap::Args;
use deltafold::format::{CollectionName, EditKind};
use deltafold::{CompactEvent, CompactorOptions, Policy};
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::Outcome;
use crate::output::Output;
use crate::output::units::{bytes, counted, parse_bytes, parse_duration, parse_span};
use crate::signals;

/// Fold the log into the snapshot, and merge runs. Any number of compactors may run at once,
/// anywhere
#[derive(Debug, Args)]
pub(crate) struct Compact {
    /// The collection
    collection: CollectionName,
    /// Merge everything into the base, due or not
    #[arg(long, conflicts_with = "watch")]
    merge_all: bool,
    /// Keep folding at the thresholds until interrupted
    #[arg(long)]
    watch: bool,
    /// The interval of `--watch` between looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_span, requires = "watch")]
    interval: Duration,
    /// Fold when the log holds this many segments
    #[arg(long, value_name = "N", default_value_t = Policy::default().fold_segments)]
    fold_segments: u64,
    /// Fold when the log's segments hold this many bytes; one fold reads no more than that
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = parse_bytes)]
    fold_bytes: u64,
    /// Forget the positions of sources after this long a silence; ops that they repeat later take
    /// effect again
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = parse_duration)]
    forget_sources_after: Duration,
}

impl Compact {
    /// Whether it runs until it is stopped.
    pub(crate) fn watches(&self) -> bool {
        self.watch
    }

    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let collection = context.collection(&self.collection).await?;
        let policy = Policy::default()
            .fold_segments(self.fold_segments.max(1))
            .fold_bytes(self.fold_bytes.max(1))
            .forget_sources_after(self.forget_sources_after);
        let mut compactor = collection.compactor(CompactorOptions::default().policy(policy));
        let output = context.output;
        if self.watch {
            output.note(format!("watching {}; interrupt to stop", self.collection));
            let mut told = Ok(());
            let each = |event: &CompactEvent| {
                let outcome = tell(output, event);
                if told.is_ok() {
                    told = outcome;
                }
            };
            compactor.watch(self.interval, signals::stopped(), each).await?;
            return Ok(told?);
        }
        let report = if self.merge_all { compactor.merge_all().await? } else { compactor.run_once().await? };
        if output.json {
            let events: Vec<Value> = report.events.iter().map(document).collect();
            return Ok(output.document(&json!({
                "collection": self.collection.as_str(),
                "folds": report.published(EditKind::Fold),
                "merges": report.published(EditKind::Merge),
                "conflicts": report.conflicts(),
                "bytes_out": report.bytes_out(),
                "events": events,
            }))?);
        }
        for event in &report.events {
            tell(output, event)?;
        }
        if report.events.is_empty() {
            output.line(format!("nothing to do: {} has no segment waiting and no merge due", self.collection))?;
        }
        Ok(())
    }
}

fn tell(output: Output, event: &CompactEvent) -> std::io::Result<()> {
    if output.json { output.json_line(&document(event)) } else { output.line(sentence(event)) }
}

/// An edit as a sentence for people.
pub(crate) fn sentence(event: &CompactEvent) -> String {
    let Some(version) = event.version else {
        return format!("shard {}: another compactor published first; nothing was lost", event.shard.get());
    };
    let noun = if event.kind == EditKind::Fold { "op" } else { "row" };
    format!(
        "shard {}: version {:>3}  {:<5}  {} -> {}, read {}, wrote {}",
        event.shard.get(),
        version.get(),
        event.kind.name(),
        counted(event.rows_in, noun),
        counted(event.rows_out, "row"),
        bytes(event.bytes_in),
        bytes(event.bytes_out)
    )
}

fn document(event: &CompactEvent) -> Value {
    json!({
        "shard": event.shard.get(),
        "edit": event.kind.name(),
        "version": event.version.map(deltafold::format::Version::get),
        "rows_in": event.rows_in,
        "rows_out": event.rows_out,
        "bytes_in": event.bytes_in,
        "bytes_out": event.bytes_out,
    })
}
