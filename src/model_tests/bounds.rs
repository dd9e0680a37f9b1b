//! The bounds of an exploration, and the guards that a test can switch off to see that the model
//! notices.

use crate::log::commit::Without;

/// The source of the ops that writers append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sources {
    /// Callers: a crashed writer does not append its op again.
    None,
    /// One source for each writer, which delivers everything again after a crash.
    Own,
    /// One source, which delivers the same positions to all writers.
    Shared,
}

/// Upper bounds on the events of one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) writers: u8,
    /// Ops each writer appends, one after the other.
    pub(super) ops: u8,
    pub(super) sources: Sources,
    /// Number of the writers that append each op only directly behind what they have read. These
    /// come first.
    pub(super) conditional: u8,
    pub(super) compactors: u8,
    /// Rounds of each compactor: a fold, and the merges that are due then.
    pub(super) rounds: u8,
    pub(super) sweepers: u8,
    /// Sweeps of each sweeper.
    pub(super) sweeps: u8,
    /// Versions that a sweep keeps beside the current one.
    pub(super) keep_versions: u64,
    /// Processes that pin a version for a short time, unpin it, and pin it for good, all under one
    /// name.
    pub(super) pinners: u8,
    /// Processes that remove the pin which has the name.
    pub(super) unpinners: u8,
    pub(super) readers: u8,
    /// Readers that list the log before they read the head. Their LIST visits one slot after the
    /// other, from the first or from the last.
    pub(super) listers_up: u8,
    pub(super) listers_down: u8,
    pub(super) followers: u8,
    /// Writes whose answer is lost. They land at once, at any later moment, or never.
    pub(super) lost: u8,
    /// Writes that succeed and are answered as refused.
    pub(super) echoes: u8,
    /// Times that the fairness policy of a writer answers something other than "try".
    pub(super) turns: u8,
    /// Processes that die and restart with nothing but the content of the store.
    pub(super) crashes: u8,
}

impl Bounds {
    pub(super) const NONE: Self = Self {
        writers: 0,
        ops: 1,
        sources: Sources::None,
        conditional: 0,
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

/// The safety rules of the protocol.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guards {
    /// A writer checks the head before it acknowledges.
    pub(super) head_check: bool,
    /// A writer that finds its slot taken checks whether its own batch is in it.
    pub(super) batch_id: bool,
    /// A writer in doubt tries the same slot again.
    pub(super) same_slot: bool,
    /// A writer whose slot was swept asks the manifest whether its batch was folded.
    pub(super) own_mark: bool,
    /// A writer that finds another's segment in its slot checks whether that slot still counts.
    pub(super) slot_counts: bool,
    /// A conditional append takes no slot but the next one.
    pub(super) condition: bool,
    /// A publisher whose swap was refused or lost looks for its own edit in the history.
    pub(super) history: bool,
    /// An edit that starts below the sweep floor is refused.
    pub(super) fence: bool,
    /// A fold of segments already folded is a conflict.
    pub(super) conflict: bool,
    /// A sweep keeps the last segment folded.
    pub(super) last_kept: bool,
    /// A sweep publishes the floors before it deletes.
    pub(super) publish_first: bool,
    /// An edit names the pins that it removes by id.
    pub(super) pins_by_id: bool,
    /// A sweep keeps the objects that a pin needs.
    pub(super) pins_kept: bool,
    /// A reader checks the head after it has read the log.
    pub(super) look_again: bool,
    /// A reader that reads the head only once lists the log first.
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
        condition: true,
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
