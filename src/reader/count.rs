//! Counts records.

use std::sync::Arc;

use deltafold_format::{Effect, PartMeta};

use super::compose::under;
use super::part_pieces::Need;
use super::range::IdRange;
use super::rows::{Content, Rows, Step};
use super::snapshot::Snapshot;
use crate::error::Result;

/// Ids after which other tasks get a turn.
pub(super) const IDS_A_TURN: u32 = 4_096;

/// Number of records: the base's rows, corrected by the effects of newer runs and the log on their
/// ids. Makes no record. Of the base it reads only the parts that contain these ids.
pub(super) async fn count(snapshot: &Arc<Snapshot>) -> Result<u64> {
    let base = snapshot.objects.manifest().runs.first().filter(|run| run.resolved);
    let mut count = base.map_or(0, |run| run.rows - run.absent().min(run.rows));
    let mut probe = base.map(|_| BaseProbe { snapshot, at: 0, part: None });
    let mut rows = Rows::new(snapshot.clone(), IdRange::ALL, usize::from(base.is_some()), Content::Outline);
    let mut turn = 0;
    loop {
        turn += 1;
        if turn % IDS_A_TURN == 0 {
            tokio::task::yield_now().await;
        }
        match rows.step() {
            Step::End => return Ok(count),
            Step::Fill => rows.fill().await?,
            Step::Group => {
                // Some rows neither insert nor remove a record.
                let Some(outline) = rows.outline().filter(Effect::touches_presence) else { continue };
                let before = match &mut probe {
                    Some(probe) => probe.outline(rows.id()).await?,
                    None => None,
                };
                let after = under(Some(outline), before.clone());
                let [before, after] = [before, after].map(|effect| effect.and_then(Effect::resolve).is_some());
                match (before, after) {
                    (true, false) => count = count.saturating_sub(1),
                    (false, true) => count += 1,
                    (true, true) | (false, false) => {}
                }
            }
        }
    }
}

/// Looks ascending ids up in the base, one part in memory at a time.
struct BaseProbe<'a> {
    snapshot: &'a Snapshot,
    at: usize,
    part: Option<(usize, Arc<PartMeta>)>,
}

impl BaseProbe<'_> {
    /// The effect of the base on an id.
    async fn outline(&mut self, id: &str) -> Result<Option<Effect<()>>> {
        let entries = self.snapshot.objects.entries(0);
        while entries.get(self.at).is_some_and(|entry| entry.max_id.as_str() < id) {
            self.at += 1;
        }
        if entries.get(self.at).is_none_or(|entry| id < entry.min_id.as_str()) {
            return Ok(None);
        }
        if self.part.as_ref().is_none_or(|(number, _)| *number != self.at) {
            self.part = None;
            self.part = Some((self.at, self.snapshot.objects.part(0, self.at, Need::Front, true).await?));
        }
        Ok(self.part.as_ref().and_then(|(_, part)| part.find(id).ok().map(|row| part.outline(row))))
    }
}
