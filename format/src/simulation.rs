//! For tests alone: leaves checksums unchecked, to prove that the tests notice.

use std::cell::Cell;

thread_local! {
    static UNCHECKED: Cell<bool> = const { Cell::new(false) };
}

/// Turns the checks of checksums on this thread off or on again. Returns the old setting.
pub fn leave_checksums_unchecked(unchecked: bool) -> bool {
    UNCHECKED.replace(unchecked)
}

pub(crate) fn unchecked() -> bool {
    UNCHECKED.get()
}
