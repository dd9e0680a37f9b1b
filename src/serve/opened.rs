//! A collection that the server has open: one writer and one reader for all requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deltafold_format::{CollectionName, EditKind, Op, Sequence, ShardId};
use tokio::sync::{RwLock, RwLockWriteGuard, Semaphore, mpsc, watch};
use uuid::Uuid;

use super::counted::Counted;
use super::gather::Gathering;
use super::incidents::{DatabasePath, Incidents};
use super::options::ServeOptions;
use super::samples::Samples;
use super::turns::Turns;
use crate::collection::{Collection, Latest};
use crate::compact::{CompactEvent, CompactReport, CompactorOptions, Policy, SweepOptions, SweepReport};
use crate::env::{self, Stopwatch};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{BacklogLimit, Writer, WriterOptions};
use crate::query::{Hit, Query};
use crate::reader::{At, Reader};

/// Attempts at a read whose snapshot is swept meanwhile.
const ATTEMPTS: usize = 3;

/// Writes wait for a fold while the log has this many times the bytes that make one due. Each query
/// compares the records of the log one by one, and all of them are resident.
const FAR: u64 = 2;

/// A write waits no longer than this for a fold, which may come behind a long merge.
const HELD: Duration = Duration::from_secs(2);

/// An open collection. Requests that write at once share segments, as they share the writer.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) tenant: String,
    pub(super) database: String,
    pub(super) id: Uuid,
    collection: Collection,
    writer: Writer,
    latest: Latest,
    searches: Gathering,
    turns: Turns,
    /// Every append holds a share of it. A delete by filter that lost to other writes takes all.
    appends: RwLock<()>,
    /// The backlog at which a fold is due.
    limit: BacklogLimit,
    /// The collection over time.
    samples: Samples,
    /// Work that this server did on it.
    upkeep: Arc<Upkeep>,
    shared: Shared,
    /// Wakes the compaction. When this is dropped it ends, after the fold or merge under way.
    /// `None` where the server does none.
    due: Option<watch::Sender<Due>>,
    /// Tells of each fold, and of each end of a compaction.
    folded: watch::Receiver<()>,
    grown: Option<Listener>,
}

/// Hears of each append: the collection, and the segments in its longest log.
pub(super) type Listener = mpsc::UnboundedSender<(CollectionName, u64)>;

impl Opened {
    pub(super) fn new(
        place: (&str, &str, Uuid),
        collection: Collection,
        options: &ServeOptions,
        shared: Shared,
        grown: Option<Listener>,
    ) -> Result<Self> {
        let (tenant, database, id) = place;
        let store = Arc::new(Counted::new(collection.store().clone()));
        let collection = collection.over(store).with_memory(options.memory);
        let writer = collection.writer(WriterOptions::default())?;
        let upkeep = Arc::<Upkeep>::default();
        let (tell, folded) = watch::channel(());
        let due = options.compact.then(|| {
            let (due, mut waiting) = watch::channel(Due::Now);
            // The log may be long already.
            waiting.mark_changed();
            let place = DatabasePath { tenant: Some(tenant.to_owned()), database: Some(database.to_owned()) };
            let (upkeep, shared, working) = (upkeep.clone(), shared.clone(), shared.working.subscribe());
            let work = Work { collection: collection.clone(), place, upkeep, shared, folded: tell, working };
            drop(env::spawn(work.run(options.clone(), waiting)));
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
            searches: Gathering::default(),
            turns: Turns::default(),
            appends: RwLock::default(),
            limit: BacklogLimit { segments, ops: u64::MAX, bytes: options.policy.fold_bytes },
            samples: Samples::default(),
            upkeep,
            shared,
            due,
            folded,
            grown,
        })
    }

    /// Length of its embeddings.
    pub(super) fn dimension(&self) -> u32 {
        self.collection.config().dimension
    }

    /// Refuses a write if the ops of the collection need revisions.
    pub(super) fn takes_writes(&self) -> Result<()> {
        if self.collection.config().ordering.is_revision() {
            return Err(Error::invalid(
                "the collection is ordered by revision, and this call carries none; write to it with `deltafold \
                 append` or the library, or `deltafold copy` it into a collection ordered by its log",
            ));
        }
        Ok(())
    }

    /// Appends ops, and returns when they are durable.
    pub(super) async fn append(&self, ops: Vec<Op>) -> Result<()> {
        self.turns.before_write(ops.len()).await;
        self.hold_back().await;
        let _share = self.appends.read().await;
        self.writer.append(ops).await?;
        self.wake();
        Ok(())
    }

    /// Waits for a fold if the log is far longer than one makes it.
    async fn hold_back(&self) {
        let Some(due) = &self.due else { return };
        let most = self.limit.bytes.saturating_mul(FAR);
        if self.writer.lags().iter().any(|lag| lag.bytes > most) {
            let mut folded = self.folded.clone();
            folded.mark_unchanged();
            due.send_replace(Due::Now);
            // The log is only known to be shorter by the next append, so this one waits once.
            env::timeout(HELD, folded.changed()).await;
        }
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

    /// Wakes the compaction if the log is long, or long enough to fold it when no write comes.
    fn wake(&self) {
        if let Some(due) = &self.due {
            let lags = self.writer.lags();
            if lags.iter().any(|lag| self.limit.is_passed(lag)) {
                due.send_replace(Due::Now);
            } else if lags.iter().any(|lag| lag.bytes >= self.limit.bytes / IDLE_ONE_IN) {
                due.send_replace(Due::Idle);
            }
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
        let _reading = self.turns.read();
        for _ in 1..ATTEMPTS {
            match read(self.reader().await?).await {
                Err(error) if error.kind() == ErrorKind::Superseded => self.latest.give_up().await,
                answer => return answer,
            }
        }
        read(self.reader().await?).await
    }

    async fn reader(&self) -> Result<Reader> {
        let reader = self.latest.reader().await?;
        self.samples.add(&reader.positions());
        Ok(reader)
    }

    /// Reads the state that `at` names: the latest, or an earlier one, which it opens anew.
    pub(super) async fn read_at<T, F: Future<Output = Result<T>>>(
        &self,
        at: &At,
        read: impl Fn(Reader) -> F,
    ) -> Result<T> {
        if *at == At::Latest {
            return self.read(read).await;
        }
        read(self.collection.reader_at(at.clone()).await?).await
    }

    /// The hits of each query in the latest state. Queries that wait together share a pass.
    pub(super) async fn search(&self, queries: Vec<Query>) -> Result<Vec<Vec<Hit>>> {
        let pass = |queries: Vec<Query>| async move {
            let queries = &queries;
            self.read(|reader| async move {
                let answers = reader.search(queries).await?;
                Ok(answers.into_iter().map(|answer| answer.hits).collect())
            })
            .await
        };
        self.searches.search(queries, pass).await
    }

    /// The collection itself.
    pub(super) fn collection(&self) -> &Collection {
        &self.collection
    }

    /// The collection over time.
    pub(super) fn samples(&self) -> &Samples {
        &self.samples
    }

    /// Work that this server did on the collection.
    pub(super) fn upkeep(&self) -> &Upkeep {
        &self.upkeep
    }

    /// Folds the whole log, and merges what is due, or everything. It takes its turn with the
    /// server's own compactions. It goes on where its caller is cut off.
    pub(super) async fn compact_now(&self, policy: Policy, merge_all: bool) -> Result<CompactReport> {
        let (collection, shared, upkeep) = (self.collection.clone(), self.shared.clone(), self.upkeep.clone());
        env::join(env::spawn(async move {
            let _permit = shared.compactions.acquire().await;
            let mut compactor = collection.compactor(CompactorOptions { policy });
            let report = if merge_all { compactor.merge_all().await? } else { compactor.run_once().await? };
            upkeep.add(&report);
            Ok(report)
        }))
        .await
    }

    /// Sweeps, or tells what a sweep would delete. It goes on where its caller is cut off.
    pub(super) async fn sweep_now(&self, options: SweepOptions) -> Result<Vec<(ShardId, SweepReport)>> {
        let collection = self.collection.clone();
        env::join(env::spawn(async move { collection.sweep(&options).await })).await
    }

    /// Waits until every accepted write is decided.
    pub(super) async fn flush(&self) -> Result<()> {
        self.writer.flush().await
    }
}

/// The state that all open collections share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    /// Permits of compactions.
    pub(super) compactions: Arc<Semaphore>,
    /// Each compaction holds a receiver until it ends.
    pub(super) working: watch::Sender<()>,
    pub(super) incidents: Arc<Incidents>,
}

/// The totals of the work that this server did on a collection.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    pub(super) folds: AtomicU64,
    pub(super) merges: AtomicU64,
    pub(super) bytes_folded: AtomicU64,
    pub(super) bytes_written: AtomicU64,
}

impl Upkeep {
    fn add(&self, report: &CompactReport) {
        for event in report.events.iter().filter(|event| event.version.is_some()) {
            if event.kind == EditKind::Fold {
                self.folds.fetch_add(1, Ordering::Relaxed);
                self.bytes_folded.fetch_add(event.bytes_in, Ordering::Relaxed);
            } else {
                self.merges.fetch_add(1, Ordering::Relaxed);
            }
            self.bytes_written.fetch_add(event.bytes_out, Ordering::Relaxed);
        }
    }
}

/// The time of a fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// At once: the log is long.
    Now,
    /// When no write came for a time. Searches compare records of the log one by one, so after a
    /// load they are quicker once it is folded.
    Idle,
}

/// A log of one part in this many of the bytes that make a fold due is folded in an idle moment.
const IDLE_ONE_IN: u64 = 8;

/// The compaction of an open collection.
struct Work {
    collection: Collection,
    place: DatabasePath,
    upkeep: Arc<Upkeep>,
    shared: Shared,
    folded: watch::Sender<()>,
    /// Tells that this compaction goes on.
    working: watch::Receiver<()>,
}

impl Work {
    /// Folds, merges and sweeps whenever it is woken, until the collection is closed.
    async fn run(self, options: ServeOptions, mut waiting: watch::Receiver<Due>) {
        let Self { collection, place, upkeep, shared, folded, working: _working } = self;
        let name = collection.name();
        let mut compactor = collection.compactor(CompactorOptions { policy: options.policy.clone() });
        let mut swept = Stopwatch::start();
        while waiting.changed().await.is_ok() {
            let due = *waiting.borrow_and_update();
            if due == Due::Idle {
                match env::timeout(options.idle, waiting.changed()).await {
                    None => {}
                    // Another write came.
                    Some(Ok(())) => {
                        waiting.mark_changed();
                        continue;
                    }
                    Some(Err(_)) => return,
                }
            }
            let Ok(_permit) = shared.compactions.acquire().await else { return };
            // The collection was closed meanwhile.
            if waiting.has_changed().is_err() {
                return;
            }
            let report = match due {
                Due::Now => {
                    let tell = |event: &CompactEvent| {
                        if event.kind == EditKind::Fold {
                            folded.send_replace(());
                        }
                    };
                    compactor.tick_telling(tell).await
                }
                Due::Idle => compactor.run_once().await,
            };
            folded.send_replace(());
            let report = match report {
                Ok(report) => report,
                // The collection was dropped: nothing is left to do.
                Err(error) if error.kind() == ErrorKind::NotFound => return,
                Err(error) => {
                    tracing::warn!(%error, collection = %name, "compaction failed; the next write tries again");
                    shared.incidents.work(&format!("compaction of {name}"), place.clone());
                    continue;
                }
            };
            upkeep.add(&report);
            if report.published(EditKind::Fold) > 0 && swept.elapsed() >= options.sweep.min_age {
                swept = Stopwatch::start();
                if let Err(error) = collection.sweep(&options.sweep).await {
                    tracing::warn!(%error, collection = %name, "a sweep failed; a later one tries again");
                    shared.incidents.work(&format!("sweep of {name}"), place.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use deltafold_format::Record;
    use tokio::time::Instant;

    use super::*;
    use crate::collection::CreateOptions;

    /// Story: writers were faster than folds. The log grew to four times the bytes of one fold, all
    /// of it resident, and queries beside them fell to one a second. Virtual time alone passes.
    #[tokio::test(start_paused = true)]
    async fn a_write_waits_for_a_fold_where_the_log_is_long() {
        let options = CreateOptions::new(64);
        let store: Arc<dyn crate::store::Store> = Arc::new(crate::store::Memory::new());
        let collection = Collection::create(store, &"c".parse().unwrap(), &options).await.unwrap();
        // No compaction begins before there is a permit.
        let compactions = Arc::new(Semaphore::new(0));
        let shared =
            Shared { compactions: compactions.clone(), working: watch::Sender::default(), incidents: Arc::default() };
        let policy = Policy::default().fold_bytes(64 << 10);
        let options = ServeOptions::default().policy(policy);
        let opened = Opened::new(("t", "d", Uuid::nil()), collection, &options, shared, None).unwrap();
        let ops = |call: usize| -> Vec<Op> {
            let record = || Record { embedding: Some(vec![1.0; 64]), ..Record::default() };
            (0..200).map(|number| Op::put(format!("{call}-{number}"), record())).collect()
        };
        let held = async |call| {
            let began = Instant::now();
            opened.append(ops(call)).await.unwrap();
            began.elapsed()
        };
        let bytes = |opened: &Opened| opened.writer.lags().iter().map(|lag| lag.bytes).sum::<u64>();
        let mut call = 0;
        while bytes(&opened) <= FAR * (64 << 10) {
            assert_eq!(held(call).await, Duration::ZERO, "the log has {} bytes", bytes(&opened));
            call += 1;
        }
        assert!(call > 1, "a single call is no long log");
        assert_eq!(held(call).await, HELD, "no fold comes");
        let before = bytes(&opened);
        compactions.add_permits(1);
        assert_eq!(held(call + 1).await, Duration::ZERO, "a fold comes");
        assert!(bytes(&opened) <= before, "{} bytes after {before}", bytes(&opened));
    }
}
