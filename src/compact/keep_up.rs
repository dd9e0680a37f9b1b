//! Folds beside a writer, in a process that has no compactor of its own.

use std::collections::HashMap;

use deltafold_format::{ShardId, Version};

use super::compactor::Compactor;
use super::report::CompactReport;
use crate::error::Result;
use crate::log::{BacklogLimit, Lag};

/// Keeps the logs of a writer below a limit: folds the shards whose backlog exceeds it.
///
/// Any number may work on one collection, also beside compactors. Two that fold the same segments
/// do that work twice, and one result counts.
#[derive(Debug)]
pub struct KeepUp {
    compactor: Compactor,
    limit: BacklogLimit,
    /// The last version of each shard that this one made. A backlog that a writer saw before that
    /// is outdated.
    folded: HashMap<ShardId, Version>,
}

impl KeepUp {
    pub(crate) fn new(compactor: Compactor, limit: BacklogLimit) -> Self {
        Self { compactor, limit, folded: HashMap::new() }
    }

    /// Whether [`fold`](Self::fold) has anything to do. Costs nothing.
    pub fn is_due(&self, lags: &[Lag]) -> bool {
        lags.iter().any(|lag| self.is_long(lag))
    }

    /// Folds the shards whose backlog exceeds the limit, and does the merges that are then due.
    /// Costs the requests of [`Compactor::run_once`] for each of them; nothing where there is none.
    ///
    /// # Errors
    ///
    /// The errors of [`Compactor::run_once`].
    pub async fn fold(&mut self, lags: &[Lag]) -> Result<CompactReport> {
        let due: Vec<Lag> = lags.iter().filter(|lag| self.is_long(lag)).copied().collect();
        let shards: Vec<ShardId> = due.iter().map(|lag| lag.shard).collect();
        let report = self.compactor.catch_up(&shards).await?;
        for Lag { shard, version, .. } in due {
            let made = report.events.iter().filter(|event| event.shard == shard).filter_map(|event| event.version);
            // Where another compactor was faster, its version is the next one.
            self.folded.insert(shard, made.max().unwrap_or(version.next()));
        }
        Ok(report)
    }

    fn is_long(&self, lag: &Lag) -> bool {
        self.limit.is_passed(lag) && self.folded.get(&lag.shard).is_none_or(|folded| lag.version >= *folded)
    }
}
