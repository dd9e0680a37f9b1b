//! The state that all handlers share.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::{Answer, ApiError};
use super::metrics::Metrics;
use super::opened::Listener;
use super::options::ServeOptions;
use super::pool::Pool;
use super::room::Room;
use crate::catalogue::Catalogue;
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
    metrics: Metrics,
    room: Room,
}

impl App {
    /// The state of a server of `store`. `grown` hears of each append, for a caller that has logs
    /// folded elsewhere.
    pub(super) fn new(store: Arc<dyn Store>, options: ServeOptions, grown: Option<Listener>) -> Self {
        let catalogue = Catalogue::new(store, options.location.clone(), options.max_staleness);
        let inner = Inner {
            pool: Pool::new(catalogue.clone(), options.clone(), grown),
            catalogue,
            queries: Semaphore::new(options.max_queries.min(Semaphore::MAX_PERMITS)),
            room: Room::new(options.request_memory),
            options,
            metrics: Metrics::default(),
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

    /// Waits until one more query may run.
    pub(super) async fn turn(&self) -> Answer<SemaphorePermit<'_>> {
        let turn = self.inner.queries.acquire().await;
        turn.map_err(|_| ApiError::from(Error::invalid("the server is stopping; ask another one")))
    }
}
