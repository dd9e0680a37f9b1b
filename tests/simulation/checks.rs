//! The checks by name: printed with a failure, and listed in `docs/correctness.md`.

pub(crate) const ACKED: &str = "what is acknowledged is in the log, where the acknowledgement says";
pub(crate) const ONCE: &str = "every op is in the log at most once";
pub(crate) const INVENTED: &str = "nothing is in the log but what was appended, whole and in order";
pub(crate) const GAPS: &str = "the log has no gap";
pub(crate) const REAL_TIME: &str = "what is appended after an acknowledgement stands behind it";
pub(crate) const REFUSED: &str = "what was refused is not in the log";
pub(crate) const SOURCE_ORDER: &str = "positions of a source stand in their order, and none is left out";
pub(crate) const CHANGE_ORDER: &str = "no change stands behind a later one of its records";
pub(crate) const VERSIONS: &str = "versions rise by one, each made from the one before";
pub(crate) const ACCOUNTS: &str = "a version holds exactly the ops that the log holds up to what it has folded";
pub(crate) const PRESENT: &str = "a version refers to nothing that is not there";
pub(crate) const DELETED: &str = "nothing is deleted that a reader, a writer or a pin may need";
pub(crate) const PINNED: &str = "a pin stays until it is removed or has expired";
pub(crate) const VISIBLE: &str = "a reader sees what was acknowledged before it was opened or refreshed";
pub(crate) const SNAPSHOT: &str = "a reader answers what the log says, up to one place of each shard";
pub(crate) const BACK: &str = "a reader never goes back";
pub(crate) const FOLLOWED: &str = "who follows the log gets every op once, in order";
pub(crate) const ERRORS: &str = "there is no error but those that the store's failures explain";
pub(crate) const EDIT_ONCE: &str = "an edit takes effect as often as it is said to";
pub(crate) const SOUND: &str = "verification finds nothing";
pub(crate) const ROT: &str = "damaged bytes are an error, never an answer";
pub(crate) const CLEAN: &str = "a sweep leaves what is needed and nothing else";
pub(crate) const PROGRESS: &str = "everything goes on once the faults stop";
pub(crate) const PANIC: &str = "nothing panics";
pub(crate) const RESET: &str = "a reset leaves nothing that was sent before";
