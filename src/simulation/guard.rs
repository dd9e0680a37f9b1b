//! The guards that the design names. In every normal build they hold, and a check of one costs
//! nothing.

/// One rule on which a guarantee rests. `docs/correctness.md` lists the checks that notice when it
/// is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[cfg_attr(not(feature = "simulation"), expect(dead_code, reason = "modules for tests check the others"))]
pub enum Guard {
    /// An append is acknowledged only after a look at the head: R1.
    HeadCheck,
    /// A refused batch recognizes an earlier attempt of its own by the id in the segment: R3.
    BatchId,
    /// A slot whose answer was lost is tried again. The next one is not touched before it is
    /// decided: R3.
    UnknownIsNotRefused,
    /// A lost answer is not success.
    UnknownIsNotDone,
    /// "Try again" does not mean "taken": R4.
    TryAgainIsNotTaken,
    /// Before a batch whose slot was swept is appended anew, the writer looks up its own mark: R12.
    WriterMark,
    /// Ops of a source that the log holds are not appended again: R11.
    SourceMarks,
    /// The manifest keeps the marks of what it folds: R12.
    MarksSurviveFold,
    /// The marks read count only if a later head shows that nothing was swept from under the read.
    MarksRecheck,
    /// The content of a slot that another has taken counts only if a later head shows that the slot
    /// was not swept: R1, R11.
    PassedIsRead,
    /// Ops behind a failed position of their source fail too: R11.
    FailedHoldsBack,
    /// A change behind a later one of its records is refused.
    PassedIsRefused,
    /// A publish whose answer was lost looks for its nonce in the history: R3.
    ManifestNonces,
    /// A fold of segments that another compactor has folded is a conflict: R10.
    FoldConflict,
    /// No edit adds objects born below the sweep floor: R5.
    SweepFloor,
    /// The invariants are checked before every publish.
    Invariants,
    /// A fold is refused unless it accounts for every op by number and digest.
    Accounting,
    /// Sweep keeps the last segment folded: no appender appends behind a slot that it does not know
    /// to be swept.
    LastSegmentKept,
    /// Floors are published before anything below them is deleted: R6.
    PublishBeforeDelete,
    /// Sweep keeps the objects that a pin needs: R6.
    PinsKept,
    /// An edit names a pin to remove by its id, as a name can be made anew: R6.
    PinsById,
    /// Sweep keeps the objects that versions from the floor on need: R6.
    VersionsKept,
    /// A slot found empty is the log's end only if a head read afterwards truncates nothing above
    /// it: R7.
    TailRecheck,
    /// Segments that a new snapshot has folded leave the reader's overlay: R7.
    OverlayCut,
    /// A handle of a collection that was dropped and made again is refused.
    Identity,
    /// Bytes are used only if their checksums are right. The switch is the format's own; without
    /// simulation there is none.
    Checksums,
    /// A file is flushed before it gets its name: R15.
    FileSync,
    /// The folder is flushed before a write in it counts as done: R15.
    FolderSync,
    /// An object that was read is made durable before anything rests on it: R15.
    SettledFirst,
}

#[cfg(not(feature = "simulation"))]
impl Guard {
    /// Whether the guard is in force: always.
    #[inline(always)]
    pub(crate) const fn holds(self) -> bool {
        let _ = self;
        true
    }
}

#[cfg(feature = "simulation")]
mod switch {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};

    use deltafold_format::simulation::leave_checksums_unchecked;

    use super::Guard;

    thread_local! {
        static OFF_HERE: Cell<u64> = const { Cell::new(0) };
    }
    static OFF_EVERYWHERE: AtomicU64 = AtomicU64::new(0);

    impl Guard {
        const fn bit(self) -> u64 {
            1 << self as u64
        }

        /// Whether the guard is in force: always, unless a test switched it off.
        pub(crate) fn holds(self) -> bool {
            (OFF_HERE.get() | OFF_EVERYWHERE.load(Ordering::Relaxed)) & self.bit() == 0
        }

        /// Runs `work` with these guards switched off on this thread.
        pub fn without<R>(guards: &[Self], work: impl FnOnce() -> R) -> R {
            struct Restore(u64, bool);
            impl Drop for Restore {
                fn drop(&mut self) {
                    OFF_HERE.set(self.0);
                    leave_checksums_unchecked(self.1);
                }
            }
            let before = OFF_HERE.get();
            let off = guards.iter().fold(before, |off, guard| off | guard.bit());
            let _restore = Restore(before, leave_checksums_unchecked(off & Guard::Checksums.bit() != 0));
            OFF_HERE.set(off);
            work()
        }

        /// Switches the guard off, or on again, for every thread of the process. For stores that
        /// work on threads of their own. Such a test needs a process for itself.
        pub fn switch_everywhere(self, on: bool) {
            if on {
                OFF_EVERYWHERE.fetch_and(!self.bit(), Ordering::Relaxed);
            } else {
                OFF_EVERYWHERE.fetch_or(self.bit(), Ordering::Relaxed);
            }
        }
    }
}
