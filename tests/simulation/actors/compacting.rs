//! Compactors and sweepers.

use std::time::Duration;

use deltafold::format::{EditKind, Version};
use deltafold::{CompactReport, CompactorOptions, ErrorKind, Policy, SweepOptions};

use super::Context;
use crate::checks::EDIT_ONCE;
use crate::oracle::Sent;

impl Context {
    fn policy(&self) -> Policy {
        let small = |most| usize::try_from(1 + self.below(most)).unwrap_or(1);
        Policy::default()
            .fold_segments(1 + self.below(5))
            .fold_bytes(if self.once_in(4) { 1_000 + self.below(3_000) } else { 64 << 20 })
            .fan_in(if self.once_in(3) { usize::MAX } else { 1 + small(2) })
            .absorb_one_in([0, 1, 8][usize::try_from(self.below(3)).unwrap_or(0)])
            .rewrites(small(3) - 1)
    }

    /// The number of edits of these kinds that this process sent at or after `since` and that were
    /// published. A lost edit of an earlier round may still be published meanwhile.
    fn published(&self, since: Duration, kinds: &[EditKind]) -> usize {
        let state = self.world.state();
        let ours = |sent: &Sent| sent.process == self.process && sent.at >= since;
        state.oracle.published.iter().filter(|(sent, kind)| ours(sent) && kinds.contains(kind)).count()
    }

    fn said(&self, since: Duration, kinds: &[EditKind], said: usize) {
        let really = self.published(since, kinds);
        if really != said {
            self.world.fail(EDIT_ONCE, format!("{said} edits are said to be published, and {really} were"));
        }
    }
}

fn words(report: &CompactReport) -> String {
    let events = report.events.iter().map(|event| {
        let version =
            event.version.map_or("lost to another".to_owned(), |version| format!("version {}", version.get()));
        format!("{:?} of shard {}: {version}", event.kind, event.shard)
    });
    events.collect::<Vec<_>>().join(", ")
}

/// Folds and merges until the history stops.
pub(crate) async fn compacts(context: Context) {
    const KINDS: &[EditKind] = &[EditKind::Fold, EditKind::Merge];
    let collection = context.open().await;
    let mut compactor = collection.compactor(CompactorOptions::default().policy(context.policy()));
    while !context.world.is_stopped() {
        let begun = context.world.executor.now();
        let round = match context.below(4) {
            0 => compactor.run_once().await,
            1 => compactor.merge_all().await,
            _ => compactor.tick().await,
        };
        match round {
            Ok(report) => {
                context.said(begun, KINDS, report.published(EditKind::Fold) + report.published(EditKind::Merge));
                if !report.events.is_empty() {
                    context.note(|| words(&report));
                }
            }
            Err(error) => context.explained("compacting", &error, &[]),
        }
        context.sleep_up_to(if context.once_in(5) { 20_000 } else { 2_000 }).await;
        if context.once_in(8) {
            compactor = collection.compactor(CompactorOptions::default().policy(context.policy()));
        }
    }
}

/// Sweeps, and pins and unpins versions, until the history stops.
pub(crate) async fn sweeps(context: Context) {
    let collection = context.open().await;
    while !context.world.is_stopped() {
        match context.below(8) {
            0 => {
                let begun = context.world.state().oracle.shards.values().all(|shard| shard.version() > Version::ZERO);
                if begun {
                    // Few names, so that a name is soon pinned anew.
                    let pin = format!("p{}", context.below(3));
                    let ttl = context.once_in(2).then(|| Duration::from_millis(1 + context.below(20_000)));
                    let asked = context.world.executor.now();
                    match collection.pin(&pin, ttl).await {
                        Ok(pinned) => {
                            context.said(asked, &[EditKind::Pin], pinned.len());
                            context.note(|| format!("pins `{pin}`"));
                        }
                        // The version to pin was swept before it was pinned, or the name is taken.
                        Err(error) => {
                            context.explained("pinning", &error, &[ErrorKind::NotFound, ErrorKind::AlreadyExists]);
                        }
                    }
                }
            }
            1 => {
                let pin = format!("p{}", context.below(3));
                match collection.unpin(&pin).await {
                    Ok(()) => context.note(|| format!("unpins `{pin}`")),
                    // Others pin and unpin under the same name.
                    Err(error) => context.explained("unpinning", &error, &[ErrorKind::NotFound, ErrorKind::Conflict]),
                }
            }
            _ => {
                let options = SweepOptions::default()
                    .keep_versions([0, 0, 1, 3][usize::try_from(context.below(4)).unwrap_or(0)])
                    .min_age(Duration::from_millis(if context.once_in(4) { context.below(20_000) } else { 0 }))
                    .dry_run(context.once_in(12));
                match collection.sweep(&options).await {
                    Ok(reports) => context.note(|| {
                        let words = reports.iter().map(|(shard, report)| {
                            format!("shard {shard} swept to version {}", report.sweep_floor.get())
                        });
                        words.collect::<Vec<_>>().join(", ")
                    }),
                    Err(error) => context.explained("sweeping", &error, &[]),
                }
            }
        }
        context.sleep_up_to(if context.once_in(4) { 20_000 } else { 3_000 }).await;
    }
}
