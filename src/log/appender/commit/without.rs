//! Rules of the protocol that a test leaves out, to prove that it notices.
//!
//! The machine itself knows nothing of them: with a rule left out it is told something else than
//! what was seen.

use deltafold_format::Sequence;

use super::{Content, Created, Observation, Phase, SlotRead, State};

/// The rules that are left out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Without {
    /// An append is acknowledged only if a head that is read behind it does not sweep its slot.
    pub(crate) head_check: bool,
    /// A batch knows its own segment by its number.
    pub(crate) batch_id: bool,
    /// A slot whose answer was lost is tried again.
    pub(crate) same_slot: bool,
    /// A lost answer is no success.
    pub(crate) unknown_is_not_done: bool,
    /// The manifest knows what was folded of a batch.
    pub(crate) own_mark: bool,
    /// A segment in a slot counts only if a later head does not sweep the slot.
    pub(crate) slot_counts: bool,
    /// Marks that were read count only if a later head sweeps none of their segments.
    pub(crate) marks_recheck: bool,
}

/// The observation that another's segment is in the slot.
pub(crate) const TAKEN: Created = Created::RefusedBy(SlotRead { content: Content::Other, log_start: None });

impl Without {
    /// The observation as it looks without the rules.
    pub(crate) fn distort(self, state: &State, observation: Observation) -> Observation {
        let Observation::Head { applied, .. } = observation else { return self.distort_other(state, observation) };
        let ignored = match state.phase {
            Phase::Confirm { .. } => self.head_check,
            Phase::RecheckMarks { .. } => self.marks_recheck,
            Phase::CheckTaker { .. } | Phase::DecideRefusal { .. } | Phase::RecheckCaughtUp { .. } => self.slot_counts,
            _ => false,
        };
        if ignored { Observation::Head { applied, log_start: Sequence::ZERO } } else { observation }
    }

    fn distort_other(self, state: &State, observation: Observation) -> Observation {
        match observation {
            Observation::Created(Created::Unknown) if self.unknown_is_not_done => Observation::Created(Created::Done),
            Observation::Created(Created::Unknown) if self.same_slot => Observation::Created(TAKEN),
            Observation::Created(Created::RefusedBy(read)) => {
                Observation::Created(Created::RefusedBy(self.distort_read(read)))
            }
            Observation::Slot(read) => Observation::Slot(self.distort_read(read)),
            Observation::Found { search, log_start } if self.slot_counts => {
                Observation::Found { search, log_start: log_start.map(|_| Sequence::ZERO) }
            }
            Observation::Snapshot(mut snapshot) if self.own_mark && matches!(state.phase, Phase::LookUp { .. }) => {
                snapshot.own = None;
                Observation::Snapshot(snapshot)
            }
            _ => observation,
        }
    }

    fn distort_read(self, read: SlotRead) -> SlotRead {
        let SlotRead { content, log_start } = read;
        SlotRead {
            content: if content == Content::Own && self.batch_id { Content::Other } else { content },
            log_start: if self.slot_counts { log_start.map(|_| Sequence::ZERO) } else { log_start },
        }
    }
}
