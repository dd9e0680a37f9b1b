//! A writer that goes on while its ops are on their way.

use std::sync::{Arc, Mutex, PoisonError};

use deltafold::format::OpRules;
use deltafold::{Error, Writer as Engine};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use pyo3::prelude::*;
use tokio::sync::oneshot;

use crate::appends::{Appends, Identity};
use crate::call::{Call, invalid};
use crate::error::Failure;
use crate::input::arrow::Table;
use crate::input::columns::{Columns, Verb};
use crate::input::source::Source;
use crate::input::{capsule, ops};
use crate::report::Acks;
use crate::runtime::runtime;

/// A writer. Its calls hand ops over and return as soon as there is room for them.
#[pyclass(module = "deltafold._deltafold", frozen)]
pub(crate) struct Writer {
    appends: Appends,
    rules: OpRules,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    acks: Acks,
    failure: Option<Error>,
    on_the_way: Vec<oneshot::Receiver<()>>,
    closed: bool,
}

impl Writer {
    pub(crate) fn new(writer: Engine, bytes: usize, rules: OpRules) -> Self {
        Self { appends: Appends::new(writer, bytes), rules, state: Arc::default() }
    }

    /// Hands the chunks of a source over. Their acknowledgements come later.
    fn send(&self, py: Python<'_>, mut source: Source) -> PyResult<Call> {
        let (appends, state, runtime) = (self.appends.clone(), self.state.clone(), runtime(py)?.handle());
        Ok(Call::new(async move {
            loop {
                check(&state)?;
                let ops = source.next().await?;
                if ops.is_empty() {
                    return Ok(());
                }
                let appending = appends.hand_over(ops, Identity::None).await?;
                let (done, decided) = oneshot::channel();
                {
                    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    state
                        .on_the_way
                        .retain_mut(|decided| matches!(decided.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
                    state.on_the_way.push(decided);
                }
                let state = state.clone();
                runtime.spawn(async move {
                    let (ops, ack) = appending.await;
                    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    match ack {
                        Ok(ack) => state.acks.add(&ack, ops),
                        Err(error) => drop(state.failure.get_or_insert(error)),
                    }
                    // A flush that was cancelled no longer waits.
                    let _ = done.send(());
                });
            }
        }))
    }
}

/// The first failure so far. Every later call fails with it.
fn check(state: &Mutex<State>) -> Result<(), Failure> {
    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
    match &state.failure {
        Some(error) => Err(Failure::Engine(error.clone()).after(state.acks.ops())),
        None if state.closed => Err(Failure::Closed),
        None => Ok(()),
    }
}

#[pymethods]
impl Writer {
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
        let columns = Columns::new(verb, self.rules, ids, embeddings, [metadatas, documents, revisions])?;
        self.send(py, Source::Columns(columns))
    }

    fn write_table(&self, py: Python<'_>, verb: &str, table: &Bound<'_, PyAny>, columns: &str) -> PyResult<Call> {
        let table = Table::new(Verb::named(py, verb)?, self.rules, table, columns)?;
        self.send(py, Source::Table(Box::new(table)))
    }

    fn append(&self, py: Python<'_>, list: &Bound<'_, PyAny>) -> PyResult<Call> {
        if capsule::is_arrow(list) {
            return Err(invalid(py, "ops is a table; give a list of `Op`, or use `upsert`".to_owned()));
        }
        self.send(py, Source::Ops(ops::ops(list, self.rules)?))
    }

    /// Waits until everything handed over is decided. Returns the acknowledgements since the last
    /// flush.
    fn flush(&self) -> Call {
        let state = self.state.clone();
        Call::with(
            async move {
                let waiting = std::mem::take(&mut state.lock().unwrap_or_else(PoisonError::into_inner).on_the_way);
                waiting.into_iter().collect::<FuturesUnordered<_>>().map(drop).collect::<()>().await;
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(error) = &state.failure {
                    return Err(Failure::Engine(error.clone()).after(state.acks.ops()));
                }
                Ok(std::mem::take(&mut state.acks))
            },
            |acks, py| acks.object(py),
        )
    }

    /// Refuses further appends.
    fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
    }
}
