//! A collection: writes, maintenance, and the ways to its readers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deltafold::format::{CollectionConfig, OpRules, Position, Revision, ShardId, Version};
use deltafold::{
    At, BacklogLimit, Collection as Engine, CompactorOptions, Copier, CopyOptions, Depth, FollowOptions, Latest,
    Location, SweepOptions, WriterOptions,
};
use pyo3::prelude::*;
use tokio::sync::{OnceCell, RwLock};

use crate::appends::{Appends, Identity};
use crate::call::{Call, invalid};
use crate::copying::{self, Following};
use crate::error::{Failure, engine};
use crate::export::{self, Target};
use crate::follow::Follow;
use crate::input::arrow::Table;
use crate::input::columns::{Columns, Verb};
use crate::input::source::Source;
use crate::input::{self, capsule, ops};
use crate::output::rows;
use crate::report::{self, Acks};
use crate::view::{Origin, View, order, span};
use crate::writer::Writer;

/// Bytes of ops of one writer that wait for their acknowledgement.
const WAITING: usize = 64 << 20;

/// An open collection.
#[pyclass(module = "deltafold._deltafold", frozen)]
pub(crate) struct Collection {
    engine: Engine,
    location: Location,
    config: Arc<CollectionConfig>,
    latest: Arc<Latest>,
    /// The writer of all appends through this handle. Their ops share segments.
    appends: Arc<OnceCell<Appends>>,
}

impl Collection {
    pub(crate) fn new(engine: Engine, location: Location) -> Self {
        let config = Arc::new(engine.config().clone());
        let latest = Arc::new(Latest::new(engine.clone(), Duration::ZERO));
        Self { engine, location, config, latest, appends: Arc::default() }
    }

    /// The engine's handle.
    #[cfg(feature = "figures")]
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    fn rules(&self) -> OpRules {
        rows::rules(&self.config)
    }

    /// The state that `version` and `pin` name.
    fn at(&self, py: Python<'_>, versions: Option<Vec<u64>>, pin: Option<String>) -> PyResult<At> {
        match (versions, pin) {
            (None, None) => Ok(At::Latest),
            (None, Some(pin)) => Ok(At::Pin(pin)),
            (Some(versions), None) => {
                let wanted = usize::from(self.config.shards);
                if versions.len() != wanted {
                    let text = format!("version: {} numbers for {wanted} shards", versions.len());
                    return Err(invalid(py, format!("{text}; give one for each shard, in their order")));
                }
                Ok(At::Versions(versions.into_iter().map(Version::new).collect()))
            }
            (Some(_), Some(_)) => Err(invalid(py, "give `version` or `pin`, not both".to_owned())),
        }
    }

    fn append_all(&self, source: Source) -> Call {
        let (engine, appends) = (self.engine.clone(), self.appends.clone());
        Call::with(async move { appends_of(&appends, &engine).await?.append_all(source).await }, |acks: Acks, py| {
            acks.object(py)
        })
    }
}

async fn appends_of<'a>(appends: &'a OnceCell<Appends>, engine: &Engine) -> Result<&'a Appends, Failure> {
    appends.get_or_try_init(|| async { Ok(Appends::new(engine.writer(WriterOptions::default())?, WAITING)) }).await
}

fn revision(py: Python<'_>, revision: Option<u128>, rules: OpRules) -> PyResult<Option<Revision>> {
    match (revision, rules.revisions) {
        (None, true) => Err(invalid(
            py,
            "revision: the collection is ordered by revision; give the revision of the deletes".to_owned(),
        )),
        (Some(_), false) => {
            Err(invalid(py, "revision: the collection is ordered by its log; leave the revision out".to_owned()))
        }
        (revision, _) => Ok(revision.map(Revision::new)),
    }
}

#[pymethods]
impl Collection {
    #[getter]
    fn name(&self) -> &str {
        self.engine.name().as_str()
    }

    #[getter]
    fn url(&self) -> String {
        self.location.to_string()
    }

    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        report::config(py, &self.config)
    }

    /// Reads of the latest state.
    fn view(&self) -> View {
        View { origin: Origin::Latest(self.latest.clone()), config: self.config.clone() }
    }

    #[pyo3(signature = (verb, ids, embeddings, metadatas, documents, revisions))]
    fn write(
        &self,
        py: Python<'_>,
        verb: &str,
        ids: &Bound<'_, PyAny>,
        embeddings: Option<&Bound<'_, PyAny>>,
        metadatas: Option<&Bound<'_, PyAny>>,
        documents: Option<&Bound<'_, PyAny>>,
        revisions: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Call> {
        let verb = Verb::named(py, verb)?;
        let columns = Columns::new(verb, self.rules(), ids, embeddings, [metadatas, documents, revisions])?;
        Ok(self.append_all(Source::Columns(columns)))
    }

    fn write_table(&self, py: Python<'_>, verb: &str, table: &Bound<'_, PyAny>, columns: &str) -> PyResult<Call> {
        let table = Table::new(Verb::named(py, verb)?, self.rules(), table, columns)?;
        Ok(self.append_all(Source::Table(Box::new(table))))
    }

    /// Makes the ops of columns at once, in this thread, for a test. Returns how many.
    fn _made(&self, py: Python<'_>, ids: &Bound<'_, PyAny>, embeddings: &Bound<'_, PyAny>) -> PyResult<usize> {
        let mut columns = Columns::new(Verb::Put, self.rules(), ids, Some(embeddings), [None; 3])?;
        let mut made = 0;
        loop {
            match columns.next(py)?.len() {
                0 => return Ok(made),
                more => made += more,
            }
        }
    }

    /// Appends ops as one request: together in each shard, or not at all there.
    #[pyo3(signature = (list, source, position, positions, change))]
    fn append(
        &self,
        py: Python<'_>,
        list: &Bound<'_, PyAny>,
        source: Option<String>,
        position: Option<u128>,
        positions: Option<Vec<u128>>,
        change: bool,
    ) -> PyResult<Call> {
        if capsule::is_arrow(list) {
            return Err(invalid(py, "ops is a table; give a list of `Op`, or use `upsert`".to_owned()));
        }
        let ops = ops::ops(list, self.rules())?;
        let identity = match (source, position, positions) {
            (None, None, None) if !change => Identity::None,
            (Some(source), Some(position), None) if change => Identity::Change(source, position),
            (Some(source), Some(position), None) => Identity::At(source, position),
            (Some(source), None, Some(positions)) if !change => {
                if positions.len() != ops.len() {
                    let text = format!("positions has {} elements, and ops has {}", positions.len(), ops.len());
                    return Err(invalid(py, format!("{text}; give one for each op")));
                }
                Identity::Run(source, positions)
            }
            _ => {
                let text = "give `source` with `position` for all ops, or with `positions` for each one";
                return Err(invalid(py, text.to_owned()));
            }
        };
        let (engine, appends) = (self.engine.clone(), self.appends.clone());
        Ok(Call::with(
            async move {
                let mut acks = Acks::default();
                if !ops.is_empty() {
                    let (count, ack) = appends_of(&appends, &engine).await?.hand_over(ops, identity).await?.await;
                    acks.add(&ack?, count);
                }
                Ok(acks)
            },
            |acks, py| acks.object(py),
        ))
    }

    #[pyo3(signature = (ids, revision))]
    fn delete(&self, py: Python<'_>, ids: Vec<String>, revision: Option<u128>) -> PyResult<Call> {
        let rules = self.rules();
        let revision = self::revision(py, revision, rules)?;
        let mut ops = Vec::with_capacity(ids.len());
        for (row, id) in ids.into_iter().enumerate() {
            let op = deltafold::format::Op { revision, ..deltafold::format::Op::delete(id) };
            op.validate(rules).map_err(|error| invalid(py, format!("ids, row {row}: {error}")))?;
            ops.push(op);
        }
        Ok(self.append_all(Source::Ops(ops)))
    }

    /// Deletes the records that match, and returns their number.
    #[pyo3(signature = (filter, documents, revision))]
    fn delete_where(
        &self,
        py: Python<'_>,
        filter: Option<&str>,
        documents: Option<&str>,
        revision: Option<u128>,
    ) -> PyResult<Call> {
        let revision = self::revision(py, revision, self.rules())?;
        let Some(filter) = input::filter(py, filter, documents)? else {
            return Err(invalid(py, "where: give a filter".to_owned()));
        };
        let (engine, appends, latest) = (self.engine.clone(), self.appends.clone(), self.latest.clone());
        Ok(Call::new(async move {
            let writer = appends_of(&appends, &engine).await?.writer();
            Ok(writer.delete_matching(&latest.reader().await?, &filter, revision).await?)
        }))
    }

    /// A writer of its own.
    #[pyo3(signature = (linger, max_waiting_bytes))]
    fn writer(&self, py: Python<'_>, linger: f64, max_waiting_bytes: usize) -> PyResult<Writer> {
        let options = WriterOptions::default()
            .linger(span(py, "linger", linger)?)
            .max_waiting_bytes(max_waiting_bytes.saturating_mul(2))
            .max_backlog(BacklogLimit::default());
        let writer = self.engine.writer(options).map_err(engine(py))?;
        // The engine keeps to half of the collection's memory.
        let half = usize::try_from(self.engine.memory().bytes() / 4).unwrap_or(usize::MAX);
        Ok(Writer::new(writer, max_waiting_bytes.min(half), self.rules()))
    }

    /// A snapshot: of the latest state, of versions, or of a pin.
    #[pyo3(signature = (versions, pin))]
    fn snapshot(&self, py: Python<'_>, versions: Option<Vec<u64>>, pin: Option<String>) -> PyResult<Call> {
        let at = self.at(py, versions, pin)?;
        let (engine, config) = (self.engine.clone(), self.config.clone());
        Ok(Call::new(async move {
            let reader = engine.reader_at(at).await?;
            Ok(View { origin: Origin::Snapshot(Arc::new(RwLock::new(reader))), config })
        }))
    }

    #[pyo3(signature = (shard, after, until_end, interval))]
    fn follow(
        &self,
        py: Python<'_>,
        shard: u16,
        after: Option<&str>,
        until_end: bool,
        interval: f64,
    ) -> PyResult<Follow> {
        let options = FollowOptions::default().until_tail(until_end).interval(span(py, "interval", interval)?);
        let options = match after {
            None => options,
            Some(after) => {
                let after: Position = after.parse().map_err(|error| invalid(py, format!("after: {error}")))?;
                options.after(after)
            }
        };
        let none =
            || invalid(py, format!("shard: there is no shard {shard}; the collection has {}", self.config.shards));
        let shard = ShardId::new(shard).ok_or_else(none)?;
        Ok(Follow::new(self.engine.follow(shard, options).map_err(engine(py))?))
    }

    /// Folds the log, and merges runs: those that are due, or all.
    fn compact(&self, merge_all: bool) -> Call {
        let engine = self.engine.clone();
        Call::with(
            async move {
                let mut compactor = engine.compactor(CompactorOptions::default());
                Ok(if merge_all { compactor.merge_all().await? } else { compactor.run_once().await? })
            },
            |compacted, py| report::compacted(py, &compacted),
        )
    }

    #[pyo3(signature = (keep_versions, min_age, dry_run))]
    fn sweep(&self, py: Python<'_>, keep_versions: u64, min_age: f64, dry_run: bool) -> PyResult<Call> {
        let options = SweepOptions::default()
            .keep_versions(keep_versions)
            .min_age(span(py, "min_age", min_age)?)
            .dry_run(dry_run);
        let engine = self.engine.clone();
        Ok(Call::with(async move { Ok(engine.sweep(&options).await?) }, |swept, py| report::swept(py, &swept)))
    }

    fn verify(&self, deep: bool) -> Call {
        let engine = self.engine.clone();
        let depth = if deep { Depth::Deep } else { Depth::Quick };
        Call::with(async move { Ok(engine.verify(depth, |_| ()).await?) }, |verified, py| {
            report::verified(py, &verified)
        })
    }

    fn status(&self) -> Call {
        let engine = self.engine.clone();
        Call::with(async move { Ok(engine.status().await?) }, |status, py| report::status(py, &status))
    }

    fn history(&self) -> Call {
        let engine = self.engine.clone();
        Call::with(async move { Ok(engine.history().await?) }, |history, py| report::history(py, &history))
    }

    /// Pins the current version of every shard. Returns the versions.
    #[pyo3(signature = (name, ttl))]
    fn pin(&self, py: Python<'_>, name: String, ttl: Option<f64>) -> PyResult<Call> {
        let ttl: Option<Duration> = ttl.map(|seconds| span(py, "ttl", seconds)).transpose()?;
        let engine = self.engine.clone();
        Ok(Call::new(async move {
            let pinned = engine.pin(&name, ttl).await?;
            Ok(pinned.into_iter().map(|(_, version)| version.get()).collect::<Vec<u64>>())
        }))
    }

    fn unpin(&self, name: String) -> Call {
        let engine = self.engine.clone();
        Call::new(async move { Ok(engine.unpin(&name).await?) })
    }

    /// Copies this collection into another one.
    #[pyo3(signature = (target, versions, pin, follow, interval, overwrite, verify))]
    fn copy(
        &self,
        py: Python<'_>,
        target: &Bound<'_, Self>,
        versions: Option<Vec<u64>>,
        pin: Option<String>,
        follow: &Bound<'_, PyAny>,
        interval: f64,
        overwrite: bool,
        verify: bool,
    ) -> PyResult<Call> {
        let following = Following::of(follow)?;
        let interval = span(py, "interval", interval)?;
        let options = CopyOptions::default()
            .at(self.at(py, versions, pin)?)
            .follow(!matches!(following, Following::No))
            .interval(interval)
            .overwrite(overwrite)
            .verify(verify);
        let copier = Copier::new(&self.engine, &target.get().engine, options).map_err(engine(py))?;
        Ok(Call::with(copying::run(copier, following, interval), |copied, py| report::copied(py, &copied)))
    }

    /// Writes the records of a state to files. Returns their number.
    #[pyo3(signature = (path, is_folder, format, versions, pin, by, file_size, overwrite))]
    fn export(
        &self,
        py: Python<'_>,
        path: PathBuf,
        is_folder: bool,
        format: Option<&str>,
        versions: Option<Vec<u64>>,
        pin: Option<String>,
        by: &str,
        file_size: u64,
        overwrite: bool,
    ) -> PyResult<Call> {
        let target = Target::new(path, is_folder, format, overwrite).map_err(|reason| invalid(py, reason))?;
        let (at, order) = (self.at(py, versions, pin)?, order(py, by)?);
        let (engine, latest) = (self.engine.clone(), self.latest.clone());
        Ok(Call::new(async move {
            let reader = if at == At::Latest { latest.reader().await? } else { engine.reader_at(at).await? };
            export::run(&engine, &reader, &target, order, file_size).await
        }))
    }
}
