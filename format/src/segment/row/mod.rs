//! One op as a row of bytes. A segment stores the row, and the op's hash covers it.
//! `format/SPEC.md`, section "Segment".

mod read;
mod value;
mod view;
mod walk;
mod write;

pub use view::OpRow;
pub(super) use write::write;

/// The shortest row: an action, an id of one byte.
pub(super) const MIN_ROW_BYTES: usize = 6;

/// The numbers in a row.
mod tag {
    /// Actions.
    pub(super) const PUT: u8 = 1;
    pub(super) const UPSERT: u8 = 2;
    pub(super) const ADD: u8 = 3;
    pub(super) const PATCH: u8 = 4;
    pub(super) const DELETE: u8 = 5;
    /// Added to the action of an op with a revision.
    pub(super) const REVISED: u8 = 0x80;

    /// States of a field: kept (or absent), removed, set.
    pub(super) const KEEP: u8 = 0;
    pub(super) const CLEAR: u8 = 1;
    pub(super) const SET: u8 = 2;

    /// Types of values; 0 removes the key.
    pub(super) const REMOVED: u8 = 0;
    pub(super) const STRING: u8 = 1;
    pub(super) const I64: u8 = 2;
    pub(super) const F64: u8 = 3;
    pub(super) const BOOL: u8 = 4;
    pub(super) const STRINGS: u8 = 5;
    pub(super) const I64S: u8 = 6;
    pub(super) const F64S: u8 = 7;
    pub(super) const BOOLS: u8 = 8;
}

#[cfg(test)]
mod tests;
