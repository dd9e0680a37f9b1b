//! Verification of the registers beside the head: the collection's own, and the claims of
//! compactors.

use deltafold_format::{Claim, ShardId};

use super::{Finding, Verifier, VerifyReport};
use crate::collection::Collection;
use crate::error::{ErrorKind, RESTORE, Result};
use crate::layout::Layout;
use crate::retry;

impl Collection {
    /// Checks that the collection register still says what it said when the collection was opened.
    pub(super) async fn verify_register(&self, report: &mut VerifyReport) -> Result<()> {
        let key = Layout::new(self.name().clone()).collection();
        let problem = match Self::read_config(&**self.store(), self.name()).await {
            Ok(config) if config == *self.config() => return Ok(()),
            // Another creation of the name; the head shows it, too.
            Ok(config) if config.uid != self.config().uid => return Ok(()),
            Ok(_) => format!("it differs from the register that the collection was opened with; {RESTORE}"),
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NewerFormat) => error.problem(),
            Err(error) => return Err(error),
        };
        let shard = ShardId::all(1).next().unwrap_or_default();
        report.findings.push(Finding { shard, key: key.to_string(), problem });
        Ok(())
    }
}

impl<F: FnMut(&VerifyReport)> Verifier<'_, F> {
    /// Checks that the claim is readable and belongs to this collection. One GET.
    pub(super) async fn claim(&mut self) -> Result<()> {
        let key = self.shard.layout().claim();
        let Some(object) = retry::transient(|| self.shard.store().get(&key)).await? else { return Ok(()) };
        let bytes = object.bytes.len() as u64;
        match Claim::decode(object.bytes) {
            Ok(claim) if claim.collection == self.shard.config().uid => {}
            Ok(_) => {
                self.note(
                    &key,
                    "a compactor of a dropped collection left it; no harm, the next compaction replaces it",
                );
            }
            Err(error) => {
                let (what, reason) = (error.what(), error.reason());
                let remedy = "no harm beyond that, `compact` writes it anew";
                self.report_problem(&key, format!("it cannot be used: {what}: {reason}; {remedy}"));
            }
        }
        self.looked_at(bytes);
        Ok(())
    }
}
