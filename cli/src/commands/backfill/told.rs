//! The outcome of a backfill, for people and in JSON.

use std::time::Duration;

use deltafold::Collection;
use deltafold::ingest::{Backfilled, ExportKind, Items, RefusedItem};
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::Rejects;
use crate::output::units::{count, counted, duration};

/// The outcome of a backfill that has reached its end.
pub(crate) struct Told {
    pub(super) about: About,
    pub(super) done: Backfilled,
    pub(super) elapsed: Duration,
    pub(super) rejects: Option<Rejects>,
    /// The command that takes in the texts of the file of rejects.
    pub(super) mend: String,
    pub(super) is_dry: bool,
}

impl Told {
    pub(crate) fn document(&self, collection: &Collection) -> Value {
        let done = &self.done;
        let refused: Vec<Value> = done.first_refused.iter().map(document).collect();
        let (rejected, before) = self.rejected();
        json!({
            "collection": collection.name().as_str(),
            "kind": self.about.kind,
            "table": self.about.table,
            "time": self.about.time,
            "dry_run": self.is_dry,
            "items": done.items,
            "resumed": done.resumed,
            "ops": done.ops,
            "duplicates": done.duplicates,
            "skipped": done.skipped,
            "refused": done.refused,
            "first_refused": refused,
            "rejected": rejected,
            "rejected_before": before,
            "rejects": self.rejects.as_ref().map(|rejects| rejects.path().display().to_string()),
            "bytes": done.bytes,
            "seconds": self.elapsed.as_secs_f64(),
        })
    }

    pub(crate) fn tell(&self, context: &Context, collection: &Collection) -> Outcome {
        let (output, done, name) = (context.output, &self.done, collection.name());
        for item in &done.first_refused {
            output.note(item.to_string());
        }
        let items = counted(done.items, "item");
        let took = duration(self.elapsed);
        let appended = if self.is_dry { "would be appended" } else { "appended" };
        let ops = counted(done.ops, "op");
        let mut line = format!("{items} of {} in {took}: {ops} {appended} to {name}", self.about.what());
        let (rejected, before) = self.rejected();
        for (number, what) in [
            (done.skipped, "skipped by the mapping"),
            (done.duplicates, "appended before"),
            (done.resumed, "in files that were taken over before"),
            (rejected, "turned away"),
            (before, "turned away before"),
        ] {
            if number > 0 {
                line.push_str(&format!("; {} {what}", count(number)));
            }
        }
        output.line(line)?;
        if !self.is_dry {
            self.tell_next(context, collection);
        }
        Ok(())
    }

    /// The items that this run turned away, and those that were in the file before.
    fn rejected(&self) -> (u64, u64) {
        self.rejects.as_ref().map_or((0, 0), |rejects| (rejects.added(), rejects.held() - rejects.added()))
    }

    /// The next step: the stream of the table.
    fn tell_next(&self, context: &Context, collection: &Collection) {
        let since: &str = match &self.about.time {
            Some(time) => time.as_str(),
            None => "the scan began",
        };
        context.output.note(if collection.config().ordering.is_revision() {
            format!("the stream's changes count above this state; the stream must have been on before {since}")
        } else {
            format!(
                "start the consumer of the stream now, at a place of the stream before {since}; it must not have run until now"
            )
        });
    }

    /// The failure where items were refused or turned away.
    pub(crate) fn verdict(&self, collection: &Collection) -> Outcome {
        if self.is_dry && self.done.refused > 0 {
            let failure = Failure::new(Exit::BadInput, format!("{} refused", counted(self.done.refused, "item")));
            return Err(failure
                .detail("refused", self.done.refused)
                .help("mend the mapping or the items; a rule leaves items out by `match` and `unless`"));
        }
        let Some(rejects) = self.rejects.as_ref().filter(|rejects| rejects.held() > 0) else { return Ok(()) };
        let failure = rejects.turned_away("mend the mapping, or the texts in it", &self.mend);
        Err(if collection.config().ordering.is_revision() {
            failure
        } else {
            failure.help("do so before the consumer of the stream starts: in log order a later item undoes its changes")
        })
    }
}

fn document(item: &RefusedItem) -> Value {
    json!({ "file": item.file, "line": item.line, "key": item.key, "reason": item.reason })
}

/// The input, for messages.
pub(super) struct About {
    pub(super) kind: &'static str,
    pub(super) table: Option<String>,
    pub(super) time: Option<String>,
    pub(super) items: Option<u64>,
    /// The revision that its items have by default, where that is not the default of a scan.
    pub(super) revision: Option<u128>,
    /// The name of an item's place.
    pub(super) unit: &'static str,
}

impl About {
    /// `table` is the name that the user gave.
    pub(super) fn of(items: &Items, table: Option<&String>) -> Self {
        match items {
            Items::Export(export) => {
                let is_full = export.kind() != ExportKind::Incremental;
                let (table, time) = (Some(export.table().to_owned()), Some(export.time().to_owned()));
                Self {
                    kind: if is_full { "full_export" } else { "incremental_export" },
                    table,
                    time,
                    items: Some(export.items()),
                    revision: is_full.then(|| export.time_micros().into()),
                    unit: "line",
                }
            }
            _ => {
                let table = table.cloned();
                Self { kind: "scan", table, time: None, items: None, revision: None, unit: "item" }
            }
        }
    }

    pub(super) fn what(&self) -> String {
        match (&self.table, &self.time) {
            (Some(table), Some(time)) if self.kind == "full_export" => format!("table {table} as of {time}"),
            (Some(table), Some(time)) => format!("the changes of table {table} up to {time}"),
            _ => "the scan".to_owned(),
        }
    }
}
