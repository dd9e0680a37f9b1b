//! The commit protocol: a pure machine that decides where a batch lands.
//!
//! [`next`] takes a state and an observation, and gives the next state and the action to do there.
//! It reads no store and no clock. The driver does the actions for the engine, and the model does
//! them for every interleaving (`src/model_tests/writer.rs`).
//!
//! A state holds the appender's view of the log's end, the status of the batch, and a phase.
//! `slot` is the first one that may be free. "Refused" is a slot whose refusal may be a
//! self-conflict, that is, caused by an earlier attempt of the same batch. A head *sweeps* a slot
//! that lies below its log start.
//!
//! | phase | action | observation | next phase |
//! |---|---|---|---|
//! | `ReadHead` | read the head | head | `FindEnd` |
//! | `FindEnd` | list the log | end | `ReadSnapshot` if producers need marks, else `Ready` |
//! | | | swept | `ReadHead` |
//! | `ReadSnapshot` | read head and manifest | snapshot | `LearnMarks` |
//! | `LearnMarks` | read the headers behind it | end | `RecheckMarks` |
//! | | | swept | `ReadSnapshot` |
//! | `RecheckMarks` | check the head | sweeps what was read | `ReadSnapshot` |
//! | | | else | `Deduplicate` |
//! | `Deduplicate` | compare with the marks | some ops left | `Ready` |
//! | | | none left | `Settle` |
//! | `Ready` | ask the fairness policy | try | `Create`; `DecideRefusal` if refused and not adjacent |
//! | | | look | `Look` |
//! | | | catch up, not in doubt | `CatchUp`, or `CatchUpMarks` if the marks are known |
//! | `Create` | create the slot | done | `Confirm` |
//! | | | refused | `ReadTaken`; with a speculative read of the taker, as behind it |
//! | | | unknown | in doubt: `Pause` |
//! | | | failed | `Pause` |
//! | `Pause` | back off | | `Ready` |
//! | `ReadTaken` | read the slot, check the head if refused | the head sweeps refused | `LookUp` |
//! | | | own batch | `Confirm` |
//! | | | absent | `CheckVanished` |
//! | | | another, in doubt or marks known | `CheckTaker` |
//! | | | another | refused: `Absorb` |
//! | `Look` | as `ReadTaken` | as `ReadTaken`, but no refusal | absent: `Ready` |
//! | `CheckVanished` | check the head | sweeps it | `LookUp` |
//! | | | else | `Pause` |
//! | `CheckTaker` | check the head | sweeps it, after an attempt | `LookUp` |
//! | | | sweeps it, after a look | `ReadHead` |
//! | | | else | out of doubt: `Absorb` |
//! | `Absorb` | learn its marks, deduplicate | some ops left | `Ready` at the next slot |
//! | | | none left | `Settle` |
//! | `DecideRefusal` | check the head | sweeps refused | `LookUp` |
//! | | | else | `Create`, or the answer of a failure |
//! | `CatchUp` | list, check the head if refused | end | `Ready` |
//! | `CatchUpMarks` | read headers slot by slot | end | `RecheckCaughtUp` |
//! | `RecheckCaughtUp` | check the head | sweeps what was read | `ReadHead` |
//! | | | else | `Deduplicate` |
//! | `Confirm` | check the head | sweeps the slot | `LookUp` |
//! | | | else | answer: at the slot |
//! | `LookUp` | read head and manifest | our batch was folded | `SettleFolded` |
//! | | | it was not | place anew, read the taken slot again, or answer a failure |
//! | | | not known | answer: unknown |
//! | `SettleFolded` | make the head durable | | answer: at the slot |
//! | `Settle` | make log and head durable | | answer: known |
//!
//! Any request may fail. An undecided refusal is then decided first (`DecideRefusal`). The answer
//! is "not appended" if no attempt can be in the log, and "unknown" everywhere else.
//!
//! A conditional batch names a slot that it must follow directly. Once the tail shows a later
//! segment of the collection, the batch does not become `Ready`. After the decision of a refusal
//! the answer is "moved", or "unknown" if an attempt can be in the log.

mod fate;
mod step;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "simulation"))]
mod without;

use deltafold_format::Sequence;

pub(crate) use super::super::read::{End, Search};
pub(crate) use fate::{OwnMark, Snapshot};
pub(crate) use step::next;
#[cfg(feature = "simulation")]
pub(crate) use without::TAKEN;
#[cfg(any(test, feature = "simulation"))]
pub(crate) use without::Without;

/// An appender's view of the end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tail {
    /// The first slot that may be free.
    pub(crate) slot: Sequence,
    /// Number of slots directly in front of it that hold segments of other collections.
    pub(crate) foreign: u32,
    /// The marks of everything in front of it are known.
    pub(crate) marks: bool,
}

/// A batch as its commit begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewBatch {
    /// Its number among the batches of the writer.
    pub(crate) number: u64,
    /// Some of its ops come from producers, so that it is deduplicated.
    pub(crate) sourced: bool,
    /// It has ops to write.
    pub(crate) left: bool,
    /// The slot that it must follow directly. Only segments of other collections may lie between.
    pub(crate) behind: Option<Sequence>,
}

/// Everything that decides where a batch lands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// `None` until the end is found, and again when a sweep passes it.
    pub(crate) tail: Option<Tail>,
    batch: Status,
    phase: Phase,
}

/// The status of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Status {
    number: u64,
    sourced: bool,
    left: bool,
    /// An attempt at the tail may have landed, or may still land.
    in_doubt: bool,
    /// The slot that was refused last, with another's segment in it. The refusal may be a
    /// self-conflict until a later head shows that the slot is not swept. Until then the batch
    /// tries no slot except the one behind it.
    refused: Option<Sequence>,
    /// The batch was written to a slot that had been swept.
    written: bool,
    /// The slot that it must follow directly.
    behind: Option<Sequence>,
}

/// The step of the protocol that the batch waits in. The module has the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    ReadHead,
    FindEnd { after: Sequence },
    ReadSnapshot,
    LearnMarks { after: Sequence },
    RecheckMarks { after: Sequence, end: End },
    Deduplicate,
    Ready { slot: Sequence },
    Create { slot: Sequence },
    Pause,
    ReadTaken { slot: Sequence },
    Look { slot: Sequence },
    CheckVanished { slot: Sequence },
    CheckTaker { slot: Sequence, taker: Taker, attempt: Attempt },
    Absorb { slot: Sequence, taker: Taker },
    DecideRefusal { then: AfterRefusal },
    CatchUp { after: Sequence },
    CatchUpMarks { after: Sequence, first: Sequence },
    RecheckCaughtUp { end: End, first: Sequence },
    Confirm { slot: Sequence },
    LookUp { slot: Sequence, then: AfterLookUp },
    SettleFolded { slot: Sequence },
    Settle,
    Answered(Answer),
}

/// The owner of a segment that is not this batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Taker {
    /// A batch of this collection.
    Other,
    /// A writer of a dropped collection of the same name.
    Foreign,
}

/// Whether the batch was refused the slot, or only read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Attempt {
    Refused,
    Looked,
}

/// The next step after a refusal that is not a self-conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum AfterRefusal {
    Create,
    Fail,
    /// Answers that the log has moved on.
    Move,
}

/// The next step if the manifest shows that no attempt counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum AfterLookUp {
    /// Reads the slot refused last again.
    Reread,
    /// Finds the end of the log again.
    Retry,
    /// Answers the failure that led here.
    Fail,
    /// Places a batch that landed in a swept slot again.
    PlaceAnew,
}

/// The content of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    Absent,
    /// This batch.
    Own,
    /// Another batch of this collection.
    Other,
    /// A segment of a dropped collection of the same name.
    Foreign,
}

/// The content of a slot, and the log start if the head was checked beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SlotRead {
    pub(crate) content: Content,
    pub(crate) log_start: Option<Sequence>,
}

/// The answer to the creation of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Created {
    Done,
    Refused,
    /// Refused, with the slot read meanwhile.
    RefusedBy(SlotRead),
    /// The answer was lost.
    Unknown,
    /// Nothing landed, and nothing will.
    Failed,
}

/// The answers of the fairness policy. All of them are safe in every state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Turn {
    /// Try the slot.
    Try,
    /// Look at the slot first.
    Look,
    /// Move on to the end of the log first.
    CatchUp,
}

/// The failure of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Failure {
    /// The collection was dropped.
    Dropped,
    Other,
}

/// The result of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Observation {
    Head {
        applied: Sequence,
        log_start: Sequence,
    },
    Found {
        search: Search,
        log_start: Option<Sequence>,
    },
    Snapshot(Snapshot),
    Learned(Search),
    /// Whether ops are left to write.
    Left(bool),
    Turn(Turn),
    Created(Created),
    Slot(SlotRead),
    Paused,
    Settled,
    Failed(Failure),
}

/// The next thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Read the head, and make the registers durable.
    ReadHead,
    /// Read the head, unless the head read last is current.
    CheckHead,
    /// Find the end of the log behind `after`, and check the head beside it.
    FindEnd {
        after: Sequence,
        check_head: bool,
    },
    /// Read the head and its manifest.
    ReadSnapshot,
    /// Learn the marks behind `after` by a LIST, or slot by slot.
    LearnMarks {
        after: Sequence,
        mode: LearnMode,
    },
    /// Drop the ops that the marks hold.
    Deduplicate,
    /// Ask the fairness policy about this slot.
    AwaitTurn {
        slot: Sequence,
    },
    /// Read the header in the slot, and check the head beside it.
    ReadSlot {
        slot: Sequence,
        check_head: bool,
    },
    /// Create the slot, behind `foreign` slots of other collections.
    Create {
        slot: Sequence,
        foreign: u32,
    },
    /// Learn the marks of the header read in the slot, and drop the ops that it holds.
    Absorb {
        slot: Sequence,
    },
    /// Back off, or fail.
    Pause,
    /// Make the log and the head durable as far as they were read.
    Settle,
    /// Make the head durable.
    SettleHead,
    /// The batch is in the slot. Check the head before the acknowledgement.
    Confirm {
        slot: Sequence,
    },
    Answer(Answer),
}

/// The way to find headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LearnMode {
    /// From a snapshot on, by a LIST.
    FromSnapshot,
    /// From the known tail on, slot by slot.
    FromTail,
}

/// The end of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// The batch is in this slot, and the slot counts.
    At(Sequence),
    /// Nothing was left to write.
    Known,
    /// No attempt is in the log, and none will come.
    NotAppended,
    /// The same, because another segment follows the slot that the batch must follow.
    Moved,
    /// An attempt may be in the log.
    Unknown(Reason),
}

/// The cause of an unknown outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// A request failed.
    Failed,
    /// The batch was folded from one of two slots.
    TwoSlots,
    /// A later batch of the writer was folded.
    LaterBatch,
    /// The manifest forgot the marks of this writer.
    Forgotten,
    /// Another segment follows the slot that the batch must follow.
    Moved,
}
