//! Verification of a shard's log: it has no hole, every segment is sound, and the folded ops add
//! up.

use std::collections::BTreeMap;

use deltafold_format::{Manifest, Sequence};

use super::{Depth, Verifier, VerifyReport};
use crate::error::{RESTORE, Result};
use crate::log::{Foreign, Look, folded_is_foreign, judge};
use crate::shard::Slot;
use crate::snapshot::OpSum;
use crate::store::Listed;

impl<F: FnMut(&VerifyReport)> Verifier<'_, F> {
    /// Looks for holes, and at full depth reads every segment. One LIST for each 1,000 segments; a
    /// hole costs some requests more.
    pub(super) async fn log(&mut self, manifest: &Manifest, depth: Depth) -> Result<()> {
        let listed = self.shard.list(&self.shard.layout().log_prefix(), None, |_| false).await?;
        let mut kept: BTreeMap<Sequence, Listed> = BTreeMap::new();
        for listed in listed {
            match self.shard.layout().parse_segment(&listed.key) {
                // Stale writers left these, and got no acknowledgement.
                Some(sequence) if sequence < manifest.truncated => self.report.unreferenced += 1,
                Some(sequence) => drop(kept.insert(sequence, listed)),
                None => {}
            }
        }
        self.holes(manifest, &kept).await?;
        if depth == Depth::Deep {
            self.segments(manifest, &kept).await?;
        }
        Ok(())
    }

    /// Judges the first slot of each hole.
    async fn holes(&mut self, manifest: &Manifest, kept: &BTreeMap<Sequence, Listed>) -> Result<()> {
        let mut expected = manifest.truncated;
        let behind_folded = manifest.folded.next();
        let ends = kept.keys().copied().chain(kept.keys().all(|last| *last < behind_folded).then_some(behind_folded));
        for taken in ends.collect::<Vec<_>>() {
            if expected < taken {
                let key = self.shard.layout().segment(expected);
                let judged = judge(self.shard, expected, &manifest.head(), Look::Log).await.map(drop);
                let before = self.report.findings.len();
                self.damage(&key, judged)?;
                let more = taken.get() - expected.get() - 1;
                if more > 0
                    && let Some(finding) = self.report.findings.get_mut(before)
                {
                    let fault = finding.problem.strip_suffix(RESTORE).unwrap_or(&finding.problem);
                    finding.problem = format!("{fault}so are the {more} slots behind it; restore them from a copy");
                }
            }
            expected = taken.next();
        }
        Ok(())
    }

    /// Reads every retained segment.
    async fn segments(&mut self, manifest: &Manifest, kept: &BTreeMap<Sequence, Listed>) -> Result<()> {
        let mut held = OpSum::default();
        // While nothing was truncated, the log itself proves that folding lost nothing.
        let mut complete = manifest.truncated == Sequence::FIRST;
        let (mut next, mut foreign) = (manifest.truncated, Foreign::from_slot(manifest.truncated));
        let mut left: Vec<Sequence> = Vec::new();
        for (sequence, listed) in kept {
            let slot = self.shard.slot(*sequence).await;
            let slot = self.damage(&listed.key, slot)?;
            if *sequence != next {
                (foreign, complete) = (Foreign::from_slot(*sequence), complete && next > manifest.folded);
            }
            next = sequence.next();
            let Some(slot) = slot else {
                (foreign, complete) = (Foreign::from_slot(next), complete && *sequence > manifest.folded);
                continue;
            };
            let own = if let Slot::Segment(segment) = &slot { Some(segment.header()) } else { None };
            if let Err(misfit) = foreign.step(*sequence, own) {
                left.retain(|slot| *slot != misfit.slot);
                // A misfit of the last folded segment was reported before.
                if misfit.slot != manifest.folded || misfit.slot == *sequence {
                    self.damage(&listed.key, Err::<(), _>(misfit.error(self.shard)))?;
                }
                (foreign, complete) = (Foreign::BEHIND_OWN, complete && misfit.slot > manifest.folded);
            }
            match &slot {
                Slot::Segment(segment) => {
                    if *sequence <= manifest.folded {
                        held.add(segment.len() as u64, segment.header().digest);
                    }
                    self.report.ops += segment.len() as u64;
                }
                Slot::Void if *sequence == manifest.folded => {
                    let error = folded_is_foreign(self.shard, *sequence);
                    self.damage(&listed.key, Err::<(), _>(error))?;
                    complete = false;
                }
                _ => left.push(*sequence),
            }
            self.looked_at(listed.bytes);
        }
        for slot in left {
            let key = self.shard.layout().segment(slot);
            self.note(&key, "a writer of a dropped collection of this name left it; it counts as an empty segment");
        }
        if complete && next > manifest.folded && (held.ops, held.digest) != (manifest.ops, manifest.digest) {
            let key = self.shard.layout().manifest(manifest.name());
            let problem = if held.ops == manifest.ops {
                format!("the digest of the {} ops in its segments is not the one that it states", held.ops)
            } else {
                format!("its segments hold {} ops, and it says that {} were folded", held.ops, manifest.ops)
            };
            self.find(&key, problem);
        }
        Ok(())
    }
}
