//! A collection that the server has open: one writer and one reader for all requests.

use std::sync::Arc;

use deltafold_format::{CollectionName, EditKind, Op, Sequence, ShardId};
use tokio::sync::{RwLock, RwLockWriteGuard, Semaphore, mpsc};
use uuid::Uuid;

use super::latest::Latest;
use super::options::ServeOptions;
use crate::collection::Collection;
use crate::compact::CompactorOptions;
use crate::env::{self, Stopwatch};
use crate::error::{ErrorKind, Result};
use crate::log::{BacklogLimit, Writer, WriterOptions};
use crate::reader::Reader;

/// Attempts at a read whose snapshot is swept meanwhile.
const ATTEMPTS: usize = 3;

/// An open collection. Requests that write at once share segments, as they share the writer.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) tenant: String,
    pub(super) database: String,
    pub(super) id: Uuid,
    collection: Collection,
    writer: Writer,
    latest: Latest,
    /// Every append holds a share of it. A delete by filter that lost to other writes takes all.
    appends: RwLock<()>,
    /// The backlog at which a fold is due.
    limit: BacklogLimit,
    /// Wakes the compaction, which ends when this is dropped. `None` where the server does none.
    due: Option<mpsc::Sender<()>>,
    grown: Option<Listener>,
}

/// Hears of each append: the collection, and the segments in its longest log.
pub(super) type Listener = mpsc::UnboundedSender<(CollectionName, u64)>;

impl Opened {
    pub(super) fn new(
        place: (&str, &str, Uuid),
        collection: Collection,
        options: &ServeOptions,
        compactions: &Arc<Semaphore>,
        grown: Option<Listener>,
    ) -> Result<Self> {
        let (tenant, database, id) = place;
        let collection = collection.with_memory(options.memory);
        let writer = collection.writer(WriterOptions::default())?;
        let due = options.compact.then(|| {
            let (due, waiting) = mpsc::channel(1);
            // The log may be long already.
            let _ = due.try_send(());
            drop(env::spawn(compact(collection.clone(), options.clone(), compactions.clone(), waiting)));
            due
        });
        let segments = options.policy.fold_segments.saturating_sub(1);
        Ok(Self {
            tenant: tenant.to_owned(),
            database: database.to_owned(),
            id,
            latest: Latest::new(collection.clone(), options.max_staleness),
            collection,
            writer,
            appends: RwLock::default(),
            limit: BacklogLimit { segments, ops: u64::MAX, bytes: options.policy.fold_bytes },
            due,
            grown,
        })
    }

    /// Length of its embeddings.
    pub(super) fn dimension(&self) -> u32 {
        self.collection.config().dimension
    }

    /// Appends ops, and returns when they are durable.
    pub(super) async fn append(&self, ops: Vec<Op>) -> Result<()> {
        let _share = self.appends.read().await;
        self.writer.append(ops).await?;
        self.wake();
        Ok(())
    }

    /// Appends ops of one shard directly behind a slot, or not at all: a conflict. Returns the slot
    /// that they got.
    pub(super) async fn append_behind(&self, shard: ShardId, behind: Sequence, ops: Vec<Op>) -> Result<Sequence> {
        let ack = self.writer.append_behind(shard, behind, ops).await?;
        self.wake();
        Ok(ack.segments().first().map_or(behind, |(_, slot)| *slot))
    }

    /// Keeps appends of this server back as long as the guard lives.
    pub(super) async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.appends.write().await
    }

    /// Wakes the compaction if the log is long.
    fn wake(&self) {
        if let Some(due) = &self.due
            && self.writer.lags().iter().any(|lag| self.limit.is_passed(lag))
        {
            // A full channel means that the compaction knows already.
            let _ = due.try_send(());
        }
        if let Some(grown) = &self.grown
            && let Some(segments) = self.writer.lags().iter().map(|lag| lag.segments).max()
        {
            // The receiver is gone once the server is dropped.
            let _ = grown.send((self.collection.name().clone(), segments));
        }
    }

    /// Reads the latest state. Where a sweep takes its objects away meanwhile, it reads again.
    pub(super) async fn read<T, F: Future<Output = Result<T>>>(&self, read: impl Fn(Reader) -> F) -> Result<T> {
        for _ in 1..ATTEMPTS {
            match read(self.latest.reader().await?).await {
                Err(error) if error.kind() == ErrorKind::Superseded => self.latest.give_up().await,
                answer => return answer,
            }
        }
        read(self.latest.reader().await?).await
    }

    /// Waits until every accepted write is decided.
    pub(super) async fn flush(&self) -> Result<()> {
        self.writer.flush().await
    }
}

/// Folds, merges and sweeps a collection whenever it is woken, until it is closed.
async fn compact(
    collection: Collection,
    options: ServeOptions,
    compactions: Arc<Semaphore>,
    mut waiting: mpsc::Receiver<()>,
) {
    let mut compactor = collection.compactor(CompactorOptions { policy: options.policy.clone() });
    let mut swept = Stopwatch::start();
    while waiting.recv().await.is_some() {
        let Ok(_permit) = compactions.acquire().await else { return };
        let report = match compactor.tick().await {
            Ok(report) => report,
            // The collection was dropped: nothing is left to do.
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => {
                tracing::warn!(%error, collection = %collection.name(), "compaction failed; the next write tries again");
                continue;
            }
        };
        if report.published(EditKind::Fold) > 0 && swept.elapsed() >= options.sweep.min_age {
            swept = Stopwatch::start();
            if let Err(error) = collection.sweep(&options.sweep).await {
                tracing::warn!(%error, collection = %collection.name(), "a sweep failed; a later one tries again");
            }
        }
    }
}
