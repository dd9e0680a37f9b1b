//! Numbers in the columns of a part.

use rkyv::rend::{u32_le, u64_le};

/// Element `i`; 0 out of range.
pub(super) fn u32_at(column: &[u32_le], i: usize) -> u32 {
    column.get(i).map_or(0, |value| value.to_native())
}

/// Element `i`; 0 out of range.
pub(super) fn u64_at(column: &[u64_le], i: usize) -> u64 {
    column.get(i).map_or(0, |value| value.to_native())
}

/// A length or a number of a payload. A length above `u32` exceeds every limit, so a saturated one
/// is refused, too.
pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
