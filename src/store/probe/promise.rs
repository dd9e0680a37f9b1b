//! The promises that a probe tries.

use std::fmt;

/// One promise of the [contract](crate::store).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Promise {
    /// An object can be created.
    Creates,
    /// A created object is there for the next read.
    ReadsCreated,
    /// A range can be read.
    ReadsRanges,
    /// A list shows all created objects, in the order of the keys.
    Lists,
    /// A name is created once.
    CreatesOnce,
    /// Of many concurrent creates of one name, one wins.
    CreatesForOne,
    /// An upload in parts does not write over an object.
    UploadsOnce,
    /// A deleted object is gone for the next read and list.
    Deletes,
    /// A conditional read leaves out an unchanged object.
    ReadsUnless,
    /// A conditional read sends a changed object.
    ReadsChanged,
    /// A register can be replaced.
    Replaces,
    /// A changed register is not replaced.
    ReplacesUnchanged,
    /// An absent register is not replaced.
    ReplacesPresent,
    /// Of many concurrent replaces of one state, one wins.
    ReplacesForOne,
    /// The store tells the time.
    TellsTime,
    /// The objects of the probe can be removed.
    Removes,
}

impl Promise {
    /// The promises with a check of their own, in order.
    pub(super) const TRIED: [Self; 15] = [
        Self::Creates,
        Self::ReadsCreated,
        Self::ReadsRanges,
        Self::Lists,
        Self::CreatesOnce,
        Self::CreatesForOne,
        Self::UploadsOnce,
        Self::Deletes,
        Self::ReadsUnless,
        Self::ReadsChanged,
        Self::Replaces,
        Self::ReplacesUnchanged,
        Self::ReplacesPresent,
        Self::ReplacesForOne,
        Self::TellsTime,
    ];

    /// Whether only registers need it. A collection with its heads in another place can do without
    /// it.
    pub fn is_of_registers(self) -> bool {
        matches!(
            self,
            Self::ReadsUnless
                | Self::ReadsChanged
                | Self::Replaces
                | Self::ReplacesUnchanged
                | Self::ReplacesPresent
                | Self::ReplacesForOne
        )
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creates => "an object can be created",
            Self::ReadsCreated => "a created object is there for the next read",
            Self::ReadsRanges => "a range can be read",
            Self::Lists => "the next list shows every created object, in order",
            Self::CreatesOnce => "a name is created once (If-None-Match: *)",
            Self::CreatesForOne => "of many concurrent creates, one wins",
            Self::UploadsOnce => "an upload in parts does not write over an object (If-None-Match: *)",
            Self::Deletes => "a deleted object is gone for the next read and list",
            Self::ReadsUnless => "a read leaves out what has not changed (If-None-Match on GET)",
            Self::ReadsChanged => "a conditional read sends what has changed",
            Self::Replaces => "a register can be replaced (If-Match)",
            Self::ReplacesUnchanged => "a register that has changed is not replaced (If-Match)",
            Self::ReplacesPresent => "a register that is not there is not replaced (If-Match)",
            Self::ReplacesForOne => "of many concurrent replaces, one wins",
            Self::TellsTime => "the store tells the time",
            Self::Removes => "the objects of the probe can be removed",
        })
    }
}
