//! Fallible allocation: where memory is short, the caller gets an error.
//!
//! A program may have a global allocator that exits in an orderly way when the system refuses
//! memory. Such an allocator asks [`is_reserving`], and lets requests made here fail instead.

use std::cell::Cell;
use std::collections::TryReserveError;

thread_local! {
    static RESERVING: Cell<bool> = const { Cell::new(false) };
}

/// Reserves room for exactly this many more items.
///
/// # Errors
///
/// There is no memory for them.
pub fn reserve_exact<T>(items: &mut Vec<T>, additional: usize) -> Result<(), TryReserveError> {
    RESERVING.set(true);
    let reserved = items.try_reserve_exact(additional);
    RESERVING.set(false);
    reserved
}

/// Whether this thread is in [`reserve_exact`]. Allocates nothing.
pub fn is_reserving() -> bool {
    RESERVING.try_with(Cell::get).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_refused_is_an_error_and_leaves_no_trace() {
        let mut items: Vec<u128> = Vec::new();
        assert!(reserve_exact(&mut items, usize::MAX / 64).is_err());
        assert!(!is_reserving());
        reserve_exact(&mut items, 3).unwrap();
        assert!(items.capacity() >= 3 && !is_reserving());
    }
}
