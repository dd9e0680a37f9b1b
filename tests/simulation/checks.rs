//! The checks by name: printed with a failure, and listed in `docs/correctness.md`.

pub(crate) const ACKED: &str = "an acknowledged op is in the log, at its acknowledged position";
pub(crate) const ONCE: &str = "every op is in the log at most once";
pub(crate) const INVENTED: &str = "the log holds only appended ops, whole and in order";
pub(crate) const GAPS: &str = "the log has no gap";
pub(crate) const REAL_TIME: &str = "an append that starts after an acknowledgement lands behind it";
pub(crate) const REFUSED: &str = "a refused op is not in the log";
pub(crate) const SOURCE_ORDER: &str = "positions of a source stand in their order, without a gap";
pub(crate) const CHANGE_ORDER: &str = "no change stands behind a later one of its records";
pub(crate) const VERSIONS: &str = "versions rise by one, each made from the one before";
pub(crate) const ACCOUNTS: &str = "a version holds exactly the ops of the log that it has folded";
pub(crate) const PRESENT: &str = "a version refers only to objects that exist";
pub(crate) const DELETED: &str = "no object is deleted that a reader, a writer or a pin may need";
pub(crate) const PINNED: &str = "a pin stays until it is removed or has expired";
pub(crate) const VISIBLE: &str = "a reader sees every op acknowledged before its opening or refresh";
pub(crate) const SNAPSHOT: &str = "a reader answers as the log says, up to one position of each shard";
pub(crate) const BACK: &str = "a reader never goes back";
pub(crate) const FOLLOWED: &str = "a follower of the log gets every op once, in order";
pub(crate) const ERRORS: &str = "every error follows from a failure of the store";
pub(crate) const EDIT_ONCE: &str = "an edit takes effect as often as its report says";
pub(crate) const SOUND: &str = "verification finds nothing";
pub(crate) const ROT: &str = "damaged bytes are an error, never an answer";
pub(crate) const CLEAN: &str = "a sweep leaves the needed objects and no others";
pub(crate) const PROGRESS: &str = "every actor goes on once the faults stop";
pub(crate) const PANIC: &str = "nothing panics";
pub(crate) const RESET: &str = "a reset leaves no message that was sent before it";
