//! `compact`: folds and merges what is due, and sweeps now and then.

use std::collections::HashMap;

use aws_lambda_events::sqs::SqsBatchResponse;
use deltafold_format::{CollectionName, EditKind};
use serde::Deserialize;
use serde_json::{Value, json};

use super::deadline::Deadline;
use super::event::Event;
use super::failure::Failure;
use super::metrics::{Measured, Metric};
use crate::collection::Collection;
use crate::compact::{CompactReport, Compactor, CompactorOptions, SweepOptions};
use crate::env::{Env, System};
use crate::error::{ErrorKind, Result};
use crate::location::Location;
use crate::memory::MemoryLimit;

/// A sweep is due when a shard's version passes a multiple of this: about three times a day at a
/// fold every quarter of an hour.
const SWEEP_VERSIONS: u64 = 32;

/// The function, kept between invocations.
#[derive(Debug)]
pub(super) struct Compact {
    store: Location,
    /// The collections to compact if the event names none. Empty for all of the store.
    names: Vec<CollectionName>,
    memory: MemoryLimit,
    open: HashMap<CollectionName, Open>,
}

/// An open collection with its compactor.
#[derive(Debug)]
struct Open {
    collection: Collection,
    compactor: Compactor,
}

/// The collections that an event or a message asks to compact.
#[derive(Deserialize)]
struct Named {
    collections: Vec<String>,
}

impl Compact {
    pub(super) fn new(store: Location, names: Vec<CollectionName>, memory: MemoryLimit) -> Self {
        Self { store, names, memory, open: HashMap::new() }
    }

    /// Compacts the collections that the event names (`{"collections": ["a"]}`, directly or in
    /// messages of a queue). Otherwise compacts those of the configuration, or all of the store.
    pub(super) async fn handle(&mut self, event: Event, request: &str, deadline: Deadline) -> Result<Value, Failure> {
        match event {
            Event::Messages(messages) => {
                let mut response = SqsBatchResponse::default();
                for message in messages {
                    let done = match named(message.body.as_deref().unwrap_or_default()) {
                        Ok(names) => self.all(names, request, deadline).await.map(drop),
                        Err(failure) => Err(failure),
                    };
                    let id = message.message_id.unwrap_or_default();
                    if let Err(reason) = done {
                        tracing::warn!(id, %reason, "the work of a message was not done");
                        response.add_failure(id);
                    }
                }
                serde_json::to_value(response).map_err(|error| Failure::event(error.to_string()))
            }
            Event::Changes(_) => Err(Failure::event("records of a stream are for `ingest` or `forward`".to_owned())),
            Event::Notices { source, .. } => Err(Event::unwanted(&source)),
            Event::Other(text) => {
                let done = self.all(named(&text)?, request, deadline).await?;
                Ok(json!({ "collections": done }))
            }
        }
    }

    /// Compacts each of them, even if others fail.
    async fn all(
        &mut self,
        named: Option<Vec<CollectionName>>,
        request: &str,
        deadline: Deadline,
    ) -> Result<Vec<Value>, Failure> {
        let finds_them = named.is_none() && self.names.is_empty();
        let names = match named {
            Some(names) => names,
            None if finds_them => self.found(deadline).await?,
            None => self.names.clone(),
        };
        let (mut done, mut failed) = (Vec::new(), None);
        for name in &names {
            match deadline.bound(self.one(name, request)).await {
                Some(Ok(report)) => done.push(report),
                // It was dropped after it was found.
                Some(Err(error)) if finds_them && error.kind() == ErrorKind::NotFound => {}
                Some(Err(error)) => {
                    tracing::error!(collection = %name, %error, "a collection was not compacted");
                    failed = Some(error.into());
                }
                None => {
                    let reason = format!("`{name}` could not be compacted in time; give the function more");
                    failed = Some(Failure::late(reason));
                }
            }
        }
        failed.map_or(Ok(done), Err)
    }

    /// All collections of the store. Forgets those that are gone.
    async fn found(&mut self, deadline: Deadline) -> Result<Vec<CollectionName>, Failure> {
        let finding = async { Collection::list(&*self.store.store().await?).await };
        let late = || Failure::late("the collections of the store could not be listed in time".to_owned());
        let names = deadline.bound(finding).await.ok_or_else(late)??;
        self.open.retain(|name, _| names.contains(name));
        Ok(names)
    }

    async fn one(&mut self, name: &CollectionName, request: &str) -> Result<Value> {
        // Removed, so that a failure or a timeout makes the next call open it anew.
        let mut open = match self.open.remove(name) {
            Some(open) => open,
            None => {
                let collection = Collection::open(self.store.store_of(name).await?, name).await?;
                let collection = collection.with_memory(self.memory);
                let compactor = collection.compactor(CompactorOptions::default());
                Open { collection, compactor }
            }
        };
        let before = open.collection.store().requests();
        let report = open.compactor.run_once().await?;
        let swept = if passes(&report) {
            let swept = open.collection.sweep(&SweepOptions::default()).await?;
            swept.iter().map(|(_, report)| report.bytes).sum()
        } else {
            0
        };
        let mut measured = measured(&report);
        measured.requests(&open.collection.store().requests().since(&before));
        measured.print(name, request, System.now());
        let (folds, merges) = (report.published(EditKind::Fold), report.published(EditKind::Merge));
        tracing::info!(collection = %name, folds, merges, conflicts = report.conflicts(), swept, "compacted");
        self.open.insert(name.clone(), open);
        Ok(json!({
            "collection": name.as_str(),
            "folds": folds,
            "merges": merges,
            "conflicts": report.conflicts(),
            "swept_bytes": swept,
        }))
    }
}

/// The collections that an event or a message names. `None` if it has no such list.
fn named(text: &str) -> Result<Option<Vec<CollectionName>>, Failure> {
    let event: Value = serde_json::from_str(text).unwrap_or_default();
    if event.get("collections").is_none() {
        return Ok(None);
    }
    let wrong = |reason: String| Failure::event(format!("`collections` names no collections: {reason}"));
    let Named { collections } = serde_json::from_value(event).map_err(|error| wrong(error.to_string()))?;
    let names = collections.iter().map(|name| name.parse().map_err(|error| wrong(format!("`{name}`: {error}"))));
    names.collect::<Result<Vec<_>, _>>().map(Some)
}

/// Whether a published version passes a multiple of [`SWEEP_VERSIONS`].
fn passes(report: &CompactReport) -> bool {
    report.events.iter().filter_map(|event| event.version).any(|version| version.get().is_multiple_of(SWEEP_VERSIONS))
}

/// The backlog before the fold, and the work done.
fn measured(report: &CompactReport) -> Measured {
    let mut measured = Measured::default();
    let folds = || report.events.iter().filter(|event| event.kind == EditKind::Fold && event.version.is_some());
    measured.count(Metric::LagSegments, folds().map(|event| event.segments).sum());
    measured.count(Metric::LagBytes, folds().map(|event| event.bytes_in).sum());
    if let Some(oldest) = folds().filter_map(|event| event.oldest).min() {
        measured.set(Metric::LagSeconds, super::metrics::seconds_since(oldest));
    }
    measured.count(Metric::Conflicts, report.conflicts() as u64);
    if let Some(version) = report.events.iter().filter_map(|event| event.version).max() {
        measured.count(Metric::Version, version.get());
    }
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_may_name_collections() {
        let names = |text| named(text).unwrap().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(names(r#"{"collections":["a","b"]}"#), Some(vec!["a".to_owned(), "b".to_owned()]));
        for none in [r#"{"detail-type":"Scheduled Event"}"#, "{}", "null", "", "fold, please"] {
            assert_eq!(names(none), None, "{none}");
        }
        for wrong in [r#"{"collections":"a"}"#, r#"{"collections":[1]}"#, r#"{"collections":["Ä"]}"#] {
            assert!(named(wrong).unwrap_err().to_string().contains("names no collections"), "{wrong}");
        }
    }
}
