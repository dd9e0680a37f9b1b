//! For the model and for simulations: rules that a test switches off, to prove that it notices.
//!
//! The machine itself does not know them, and no normal build has this module. If a rule is off, it
//! replaces the observation.

use deltafold_format::Sequence;

use super::{Content, Created, Observation, Phase, SlotRead, State};

/// The rules that are switched off.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Without {
    /// An append is acknowledged only if a head read after it does not sweep its slot.
    pub(crate) head_check: bool,
    /// A batch recognizes its own segment by its number.
    pub(crate) batch_id: bool,
    /// A writer tries a slot again if the answer was lost.
    pub(crate) same_slot: bool,
    /// A lost answer does not count as success.
    pub(crate) unknown_is_not_done: bool,
    /// The manifest tells whether a batch was folded.
    pub(crate) own_mark: bool,
    /// A segment in a slot counts only if a later head does not sweep the slot.
    pub(crate) slot_counts: bool,
    /// Marks that were read count only if a later head sweeps none of their segments.
    pub(crate) marks_recheck: bool,
}

/// The observation that another's segment is in the slot.
pub(crate) const TAKEN: Created = Created::RefusedBy(SlotRead { content: Content::Other, log_start: None });

impl Without {
    /// The observation without the rules.
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
