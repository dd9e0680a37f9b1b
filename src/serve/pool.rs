//! The collections that the server has open.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::join_all;
use lru::LruCache;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use super::erase::Broken;
use super::error::{Answer, ApiError};
use super::incidents::Incidents;
use super::opened::{Listener, Opened, Shared};
use super::options::ServeOptions;
use crate::catalogue::{Catalogue, Entry};
use crate::collection::Collection;
use crate::error::{Error, ErrorKind};

/// Compactions that run at once.
const COMPACTIONS: usize = 2;

/// The open collections by id. The least recently used one makes room.
///
/// An open collection needs no look at the catalogue: once it is deleted, its head is gone, and
/// every read and write finds that out.
#[derive(Debug)]
pub(super) struct Pool {
    catalogue: Catalogue,
    options: ServeOptions,
    open: Mutex<LruCache<Uuid, Arc<Opened>>>,
    compactions: Arc<Semaphore>,
    /// Each compaction holds a receiver until it ends.
    working: watch::Sender<()>,
    grown: Option<Listener>,
    incidents: Arc<Incidents>,
}

/// A collection that was looked up.
#[derive(Debug)]
pub(super) enum Found {
    /// It may have records.
    Open(Arc<Opened>),
    /// Nothing was written to it yet.
    Empty(Box<Entry>),
}

impl Pool {
    pub(super) fn new(
        catalogue: Catalogue,
        options: ServeOptions,
        incidents: Arc<Incidents>,
        grown: Option<Listener>,
    ) -> Self {
        let most = NonZeroUsize::new(options.open_collections).unwrap_or(NonZeroUsize::MIN);
        Self {
            catalogue,
            options,
            open: Mutex::new(LruCache::new(most)),
            compactions: Arc::new(Semaphore::new(COMPACTIONS)),
            working: watch::Sender::default(),
            grown,
            incidents,
        }
    }

    /// The collection of this id in this database.
    pub(super) async fn find(&self, tenant: &str, database: &str, id: Uuid) -> Answer<Found> {
        let open = self.open().get(&id).cloned();
        if let Some(open) = open
            && open.tenant == tenant
            && open.database == database
        {
            return Ok(Found::Open(open));
        }
        let entry = self.catalogue.collection_by_id(tenant, database, id).await?;
        if entry.dimension.is_none() {
            return Ok(Found::Empty(Box::new(entry)));
        }
        let collection = self.catalogue.open(&entry).await?;
        self.put(tenant, database, id, collection).map(Found::Open)
    }

    /// The collection of an entry, made for its first write.
    pub(super) async fn make(
        &self,
        tenant: &str,
        database: &str,
        entry: &Entry,
        dimension: u32,
    ) -> Answer<Arc<Opened>> {
        let collection = self.catalogue.make(tenant, database, entry, dimension).await?;
        self.put(tenant, database, entry.id, collection)
    }

    fn put(&self, tenant: &str, database: &str, id: Uuid, collection: Collection) -> Answer<Arc<Opened>> {
        let mut open = self.open();
        // Another request may have opened it meanwhile. All share one writer.
        if let Some(open) = open.get(&id) {
            return Ok(open.clone());
        }
        let shared = Shared {
            compactions: self.compactions.clone(),
            incidents: self.incidents.clone(),
            working: self.working.clone(),
        };
        let opened = Opened::new((tenant, database, id), collection, &self.options, shared, self.grown.clone())?;
        let opened = Arc::new(opened);
        open.put(id, opened.clone());
        Ok(opened)
    }

    /// Closes a collection, after it was deleted.
    pub(super) fn close(&self, id: Uuid) {
        drop(self.open().pop(&id));
    }

    /// Closes all collections, after a reset.
    pub(super) fn close_all(&self) {
        self.open().clear();
    }

    /// The answer to a failed read or write of a collection. One that is gone is closed.
    pub(super) fn failed(&self, opened: &Opened, error: Error) -> ApiError {
        match error.kind() {
            ErrorKind::NotFound => {
                self.close(opened.id);
                ApiError::no_collection(opened.id)
            }
            // A writer that an error stopped is no use any more; the next request opens another.
            ErrorKind::Closed => {
                self.close(opened.id);
                error.into()
            }
            _ => error.into(),
        }
    }

    /// The answer to a delete by filter that failed. If some records are gone, no status says that
    /// nothing was applied.
    pub(super) fn broken(&self, opened: &Opened, broken: Broken) -> ApiError {
        let Broken { error, deleted } = broken;
        let answer = self.failed(opened, error);
        if deleted == 0 || !answer.promises_nothing_applied() {
            return answer;
        }
        ApiError::in_doubt(format!("{deleted} records were deleted, and others that match may be left: delete again"))
    }

    /// The open collections.
    pub(super) fn all(&self) -> Vec<Arc<Opened>> {
        self.open().iter().map(|(_, open)| open.clone()).collect()
    }

    /// Number of open collections.
    pub(super) fn len(&self) -> usize {
        self.open().len()
    }

    /// Waits until every accepted write is decided.
    pub(super) async fn flush(&self) {
        let all = self.all();
        for flushed in join_all(all.iter().map(|open| open.flush())).await {
            if let Err(error) = flushed {
                tracing::warn!(%error, "a writer ended before its writes were decided");
            }
        }
    }

    /// Waits until the compactions of closed collections have ended.
    pub(super) async fn idle(&self) {
        self.working.closed().await;
    }

    fn open(&self) -> MutexGuard<'_, LruCache<Uuid, Arc<Opened>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
