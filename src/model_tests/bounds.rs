//! What is explored, and the guards that can be left out to see that the model notices.

use crate::log::commit::Without;

/// Where the ops that writers append come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sources {
    /// From callers: a writer that crashed does not come again.
    None,
    /// Each writer has a source of its own, from which everything comes again after a crash.
    Own,
    /// One source delivers the same positions to all writers.
    Shared,
}

/// How much happens at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) writers: u8,
    /// Ops each writer appends, one after the other.
    pub(super) ops: u8,
    pub(super) sources: Sources,
    pub(super) compactors: u8,
    /// Rounds of each compactor: a fold, and the merges that are due then.
    pub(super) rounds: u8,
    pub(super) sweepers: u8,
    /// Sweeps of each sweeper.
    pub(super) sweeps: u8,
    /// Versions that a sweep keeps beside the current one.
    pub(super) keep_versions: u64,
    /// Processes that pin a version shortly, unpin it, and pin it for good, all under one name.
    pub(super) pinners: u8,
    /// Processes that remove the pin which has the name.
    pub(super) unpinners: u8,
    pub(super) readers: u8,
    /// Readers that list the log before they read the head: their LIST looks at one slot after the
    /// other, from the first or from the last.
    pub(super) listers_up: u8,
    pub(super) listers_down: u8,
    pub(super) followers: u8,
    /// Writes whose answer is lost: they land then, or at any later moment, or never.
    pub(super) lost: u8,
    /// Writes that succeed and are answered as refused.
    pub(super) echoes: u8,
    /// Times that the fairness policy of a writer answers something else than to try.
    pub(super) turns: u8,
    /// Processes that die and come again with nothing but what the store holds.
    pub(super) crashes: u8,
}

impl Bounds {
    pub(super) const NONE: Self = Self {
        writers: 0,
        ops: 1,
        sources: Sources::None,
        compactors: 0,
        rounds: 1,
        sweepers: 0,
        sweeps: 1,
        keep_versions: 0,
        pinners: 0,
        unpinners: 0,
        readers: 0,
        listers_up: 0,
        listers_down: 0,
        followers: 0,
        lost: 0,
        echoes: 0,
        turns: 0,
        crashes: 0,
    };
}

/// What the protocol does to be safe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guards {
    /// A writer looks at the head before it acknowledges.
    pub(super) head_check: bool,
    /// A writer that finds its slot taken looks whether it took it itself.
    pub(super) batch_id: bool,
    /// A writer that does not know tries the same slot again.
    pub(super) same_slot: bool,
    /// A writer whose slot was swept asks the manifest whether its batch was folded.
    pub(super) own_mark: bool,
    /// A writer that finds its slot taken by somebody else looks whether that slot still counts.
    pub(super) slot_counts: bool,
    /// A publisher whose swap was refused or lost looks for itself in the history.
    pub(super) history: bool,
    /// An edit that starts below the sweep floor is refused.
    pub(super) fence: bool,
    /// A fold of what is folded is a conflict.
    pub(super) conflict: bool,
    /// A sweep keeps the last segment folded.
    pub(super) last_kept: bool,
    /// A sweep publishes the floors before it deletes.
    pub(super) publish_first: bool,
    /// An edit names the pins that it removes by id.
    pub(super) pins_by_id: bool,
    /// A sweep keeps what a pin needs.
    pub(super) pins_kept: bool,
    /// A reader looks at the head after it has read the log.
    pub(super) look_again: bool,
    /// A reader that looks at the head once lists the log before.
    pub(super) log_first: bool,
}

impl Guards {
    /// The rules that a writer's commit leaves out.
    pub(super) fn without(&self) -> Without {
        Without {
            head_check: !self.head_check,
            batch_id: !self.batch_id,
            same_slot: !self.same_slot,
            own_mark: !self.own_mark,
            slot_counts: !self.slot_counts,
            ..Without::default()
        }
    }

    pub(super) const ALL: Self = Self {
        head_check: true,
        batch_id: true,
        same_slot: true,
        own_mark: true,
        slot_counts: true,
        history: true,
        fence: true,
        conflict: true,
        last_kept: true,
        publish_first: true,
        pins_by_id: true,
        pins_kept: true,
        look_again: true,
        log_first: true,
    };
}
