//! The state that all handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};

use super::error::{Answer, ApiError};
use super::incidents::Incidents;
use super::metrics::{Gauges, Metrics};
use super::opened::Listener;
use super::options::ServeOptions;
use super::pool::Pool;
use super::room::Room;
use crate::catalogue::Catalogue;
use crate::env::Stopwatch;
use crate::error::Error;
use crate::store::Store;

/// The state of a server. Nothing in it must be known to another server.
#[derive(Debug, Clone)]
pub(super) struct App {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    catalogue: Catalogue,
    pool: Pool,
    options: ServeOptions,
    queries: Semaphore,
    /// Queries that wait for their turn.
    waiting: AtomicUsize,
    connections: Arc<Semaphore>,
    followers: Arc<Semaphore>,
    metrics: Metrics,
    room: Room,
    incidents: Arc<Incidents>,
    /// True once the server stops.
    stopping: watch::Sender<bool>,
    started: Stopwatch,
}

impl App {
    /// The state of a server of `store`. `grown` hears of each append, for a caller that has logs
    /// folded elsewhere.
    pub(super) fn new(store: Arc<dyn Store>, options: ServeOptions, grown: Option<Listener>) -> Self {
        let catalogue = Catalogue::new(store, options.location.clone(), options.max_staleness);
        let incidents = Arc::<Incidents>::default();
        let connections = options.max_connections.min(Semaphore::MAX_PERMITS);
        let inner = Inner {
            pool: Pool::new(catalogue.clone(), options.clone(), incidents.clone(), grown),
            catalogue,
            queries: Semaphore::new(options.max_queries.min(Semaphore::MAX_PERMITS)),
            room: Room::new(options.request_memory),
            waiting: AtomicUsize::new(0),
            connections: Arc::new(Semaphore::new(connections)),
            // The rest of the connections stays for calls that end.
            followers: Arc::new(Semaphore::new(connections / 2)),
            options,
            metrics: Metrics::default(),
            incidents,
            stopping: watch::Sender::new(false),
            started: Stopwatch::start(),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(super) fn catalogue(&self) -> &Catalogue {
        &self.inner.catalogue
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    pub(super) fn options(&self) -> &ServeOptions {
        &self.inner.options
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The memory of bodies.
    pub(super) fn room(&self) -> &Room {
        &self.inner.room
    }

    /// Errors of the recent past.
    pub(super) fn incidents(&self) -> &Incidents {
        &self.inner.incidents
    }

    /// The permits of connections.
    pub(super) fn connections(&self) -> &Arc<Semaphore> {
        &self.inner.connections
    }

    /// Set to true once the server stops. Connections and followers hold receivers until they end.
    pub(super) fn stopping(&self) -> &watch::Sender<bool> {
        &self.inner.stopping
    }

    /// The time since the start.
    pub(super) fn uptime(&self) -> std::time::Duration {
        self.inner.started.elapsed()
    }

    /// The server's present load.
    pub(super) fn gauges(&self) -> Gauges {
        let used = |most: usize, free: usize| most.min(Semaphore::MAX_PERMITS).saturating_sub(free);
        let Inner { options, queries, connections, .. } = &*self.inner;
        Gauges {
            queries_running: used(options.max_queries, queries.available_permits()),
            queries_waiting: self.inner.waiting.load(Ordering::Relaxed),
            connections: used(options.max_connections, connections.available_permits()),
            open_collections: self.inner.pool.len(),
        }
    }

    /// Waits until one more query may run.
    pub(super) async fn turn(&self) -> Answer<SemaphorePermit<'_>> {
        let _waiting = Waiting::new(&self.inner.waiting);
        let turn = self.inner.queries.acquire().await;
        turn.map_err(|_| ApiError::from(Error::invalid("the server is stopping; ask another one")))
    }

    /// Lets one more client follow a log, if there are not too many.
    pub(super) fn follower(&self) -> Answer<OwnedSemaphorePermit> {
        self.inner.followers.clone().try_acquire_owned().map_err(|_| {
            let why = "too many clients follow logs of this server; try again later, or raise `--max-connections`";
            ApiError::busy(why)
        })
    }
}

/// Waits until the server stops.
pub(super) async fn stopped(receiver: &mut watch::Receiver<bool>) {
    drop(receiver.wait_for(|stopped| *stopped).await);
}

/// Counts a waiting query until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
