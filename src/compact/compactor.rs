//! The compactor of a collection. Any number of them may run at once.

use std::time::Duration;

use deltafold_format::ShardId;

use super::policy::Policy;
use super::report::{CompactEvent, CompactReport};
use super::round::{Effort, ShardCompactor};
use crate::env;
use crate::error::{ErrorKind, Result};
use crate::setters::setters;
use crate::shard::Shard;

/// The options of a compactor.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CompactorOptions {
    /// The thresholds for folds and merges.
    pub policy: Policy,
}

setters!(CompactorOptions { policy: Policy });

/// Folds and merges the shards of a collection. Any number may run at once, anywhere, and stop at
/// any moment.
///
/// ```
/// use deltafold::CompactorOptions;
/// use deltafold::format::EditKind;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # use deltafold::{Collection, CreateOptions};
/// # use deltafold::store::Memory;
/// # let store = Arc::new(Memory::new());
/// # let collection = Collection::create(store, &"articles".parse()?, &CreateOptions::new(2)).await?;
/// # let writer = collection.writer(deltafold::WriterOptions::default())?;
/// # let record = |x| deltafold::format::Record { embedding: Some(vec![x, 1.0]), ..Default::default() };
/// # let put = |id: &str, x| deltafold::format::Op::put(id, record(x));
/// # writer.append(vec![put("a", 0.1), put("b", 0.2)]).await?;
/// let mut compactor = collection.compactor(CompactorOptions::default());
/// let report = compactor.run_once().await?;
/// assert_eq!(report.published(EditKind::Fold), 1, "the log became a run");
/// assert_eq!(report.events[0].rows_out, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Compactor {
    shards: Vec<ShardCompactor>,
}

impl Compactor {
    pub(crate) fn new(shards: Vec<Shard>, options: CompactorOptions) -> Self {
        let shards = shards.into_iter().map(|shard| ShardCompactor::new(shard, options.policy.clone())).collect();
        Self { shards }
    }

    /// Folds the whole log and does the merges that are then due. A fold of n segments costs n + 4
    /// GETs (and a LIST), one PUT for each object written and three more.
    pub async fn run_once(&mut self) -> Result<CompactReport> {
        self.rounds(Effort::FoldAll, &mut |_| ()).await
    }

    /// Does [`run_once`](Self::run_once) for some of the shards.
    pub(super) async fn catch_up(&mut self, shards: &[ShardId]) -> Result<CompactReport> {
        let mut report = CompactReport::default();
        for shard in self.shards.iter_mut().filter(|shard| shards.contains(&shard.shard.id())) {
            shard.round(Effort::FoldAll, &mut |event| report.events.push(event)).await?;
        }
        Ok(report)
    }

    /// Folds the whole log and merges everything into the base.
    pub async fn merge_all(&mut self) -> Result<CompactReport> {
        self.rounds(Effort::MergeAll, &mut |_| ()).await
    }

    /// One round of the work that the policy's thresholds call for. Without news since the last
    /// round it costs two GETs a shard; in one of 64 such rounds a LIST replaces one of them.
    pub async fn tick(&mut self) -> Result<CompactReport> {
        self.rounds(Effort::Due, &mut |_| ()).await
    }

    /// As [`tick`](Self::tick). Tells of each edit as soon as it is published, or made needless.
    #[cfg(feature = "serve")]
    pub(crate) async fn tick_telling(&mut self, mut each: impl FnMut(&CompactEvent)) -> Result<CompactReport> {
        self.rounds(Effort::Due, &mut each).await
    }

    /// Does [`tick`](Self::tick) every `interval` until `stop` is ready, and reports every edit to
    /// `each`. After a transient failure of the store it logs the error and tries again at the next
    /// tick. Damage and defects end the watch with their error.
    pub async fn watch(
        &mut self,
        interval: Duration,
        stop: impl Future<Output = ()>,
        mut each: impl FnMut(&CompactEvent),
    ) -> Result<()> {
        let mut stop = std::pin::pin!(stop);
        loop {
            let round = std::pin::pin!(self.rounds(Effort::Due, &mut each));
            // A stop in the middle of a round loses work, never data: an unpublished object does
            // not count.
            match futures::future::select(&mut stop, round).await {
                futures::future::Either::Left(_) => return Ok(()),
                futures::future::Either::Right((Err(error), _)) if goes_by(error.kind()) => {
                    tracing::warn!(%error, "compaction will try again");
                }
                futures::future::Either::Right((result, _)) => drop(result?),
            }
            let pause = std::pin::pin!(env::sleep(interval));
            if let futures::future::Either::Left(_) = futures::future::select(&mut stop, pause).await {
                return Ok(());
            }
        }
    }

    async fn rounds(&mut self, effort: Effort, each: &mut impl FnMut(&CompactEvent)) -> Result<CompactReport> {
        let mut report = CompactReport::default();
        for shard in &mut self.shards {
            shard
                .round(effort, &mut |event| {
                    each(&event);
                    report.events.push(event);
                })
                .await?;
        }
        Ok(report)
    }
}

/// Whether the next round may succeed. A new look also decides an unknown outcome.
fn goes_by(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Conflict)
}
