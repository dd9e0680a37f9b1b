//! For tests alone: checksums can be left unchecked, to prove that the tests notice.

use std::cell::Cell;

thread_local! {
    static UNCHECKED: Cell<bool> = const { Cell::new(false) };
}

/// From here on no checksum is looked at on this thread, or each is again. Answers how it was
/// before.
pub fn leave_checksums_unchecked(unchecked: bool) -> bool {
    UNCHECKED.replace(unchecked)
}

pub(crate) fn unchecked() -> bool {
    UNCHECKED.get()
}
