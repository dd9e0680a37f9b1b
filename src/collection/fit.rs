//! Whether a store can hold a collection.

use deltafold_format::HeadPlace;

use super::Collection;
use crate::error::{Repr, Result};
use crate::store::{Probe, Store, Verdict};

impl Collection {
    /// Judges a probe of `store`. It accepts a store that keeps a promise at a higher cost.
    ///
    /// # Errors
    ///
    /// `Unfit` where the store breaks a promise or does not know a request; `Storage` where it
    /// refused one; `Unavailable` where it did not answer.
    pub fn fits(store: &dyn Store, probe: &Probe) -> Result<()> {
        let Some(worst) = probe.worst() else { return Ok(()) };
        let (location, promise) = (store.location(), worst.promise.to_string());
        let detail = worst.verdict.detail().to_owned();
        let advice = if probe.lacks_only_registers() && store.heads() == HeadPlace::Store {
            "Keep the heads in DynamoDB: `create --heads dynamodb:TABLE`; `doctor --heads dynamodb:TABLE` tries that"
        } else {
            "`docs/s3.md` lists services that can"
        };
        Err(match worst.verdict {
            Verdict::Broken(_) => Repr::Unfit { location, promise, detail, advice },
            Verdict::Unsupported(_) => Repr::Unsupported { location, promise, detail, advice },
            Verdict::Unanswered(_) => Repr::Untried { location, promise, detail, transient: true },
            _ => Repr::Untried { location, promise, detail, transient: false },
        }
        .into())
    }
}
