//! For simulations: observations as an engine without some rules would make them.

use super::super::commit::{Created, Observation, State, TAKEN, Without};
use crate::simulation::Guard;
use crate::store::StoreError;

/// The observation without the rules that a test switched off.
pub(super) fn distorted(state: &State, observation: Observation, failure: Option<&StoreError>) -> Observation {
    let conflicted = failure.is_some_and(StoreError::is_conflict) && !Guard::TryAgainIsNotTaken.holds();
    match observation {
        Observation::Created(Created::Failed) if conflicted => Observation::Created(TAKEN),
        observation => rules().distort(state, observation),
    }
}

fn rules() -> Without {
    Without {
        head_check: !Guard::HeadCheck.holds(),
        batch_id: !Guard::BatchId.holds(),
        same_slot: !Guard::UnknownIsNotRefused.holds(),
        unknown_is_not_done: !Guard::UnknownIsNotDone.holds(),
        own_mark: !Guard::WriterMark.holds(),
        slot_counts: !Guard::PassedIsRead.holds(),
        marks_recheck: !Guard::MarksRecheck.holds(),
    }
}
