//! The advisory claim saves two compactors from doing the same work twice. Safety never rests on
//! it.

use deltafold_format::{Claim, Uid, Version};

use crate::error::Result;
use crate::retry;
use crate::shard::Shard;
use crate::store::Outcome;

/// Rounds for which another's claim must stand unchanged before it counts as abandoned. The waiting
/// compactor counts the rounds, so no two clocks are compared.
const PATIENCE: u32 = 3;

/// A compactor's view of the claim of one shard.
#[derive(Debug)]
pub(crate) struct Claims {
    claimant: Uid,
    beat: u64,
    /// Another's claim, and the number of rounds that saw it unchanged.
    seen: Option<(Claim, u32)>,
}

impl Claims {
    pub(crate) fn new(claimant: Uid) -> Self {
        Self { claimant, beat: 0, seen: None }
    }

    /// Claims the work on `version`. False while another compactor does it. One GET and one small
    /// write; `patient: false` takes it over at once. A claim that cannot be read or written does
    /// not stop the work, which is safe without it.
    pub(crate) async fn acquire(&mut self, shard: &Shard, version: Version, patient: bool) -> Result<bool> {
        let key = shard.layout().claim();
        let found = retry::transient(|| shard.store().get(&key)).await?;
        let (claim, tag) = match found {
            Some(object) => (Claim::decode(object.bytes).ok(), Some(object.tag)),
            None => (None, None),
        };
        if let Some(claim) = &claim
            && patient
            && claim.claimant != self.claimant
            && claim.version == version
        {
            let rounds = match &self.seen {
                Some((seen, rounds)) if seen == claim => rounds + 1,
                _ => 1,
            };
            self.seen = Some((claim.clone(), rounds));
            if rounds < PATIENCE {
                return Ok(false);
            }
        }
        self.beat += 1;
        let collection = shard.config().uid;
        let claim = Claim { collection, claimant: self.claimant, version, beat: self.beat };
        let chunks = vec![claim.encode()];
        let outcome = match &tag {
            Some(tag) => shard.store().replace(&key, tag, chunks).await,
            None => shard.store().create(&key, chunks).await,
        };
        if let Err(error) = &outcome {
            tracing::debug!(%error, "working without a claim");
        }
        // Refused: another compactor was faster.
        Ok(!patient || !matches!(outcome, Ok(Outcome::Refused)))
    }
}
