//! The fate of a batch whose slot was swept, by the manifest's mark of its writer.

use deltafold_format::Sequence;

use super::Reason;

/// The fields of a head and its manifest that a commit needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Snapshot {
    /// The last slot that the manifest holds.
    pub(crate) applied: Sequence,
    /// The mark of the writer itself.
    pub(crate) own: Option<OwnMark>,
    /// Marks of slots up to here may have been evicted.
    pub(crate) eviction_watermark: Sequence,
}

/// The last batch of the writer that was folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct OwnMark {
    pub(crate) number: u64,
    pub(crate) slot: Sequence,
}

/// The fate of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was folded from this slot.
    Folded(Sequence),
    /// No attempt counts, and none will.
    Nowhere,
    Unknown(Reason),
}

/// The fate of batch `number`, which may have been in `slot`, or in `refused` before it. Both slots
/// are swept.
pub(super) fn fate(snapshot: &Snapshot, number: u64, slot: Sequence, refused: Option<Sequence>) -> Fate {
    let refused = refused.filter(|refused| *refused != slot);
    match snapshot.own {
        Some(mark) if mark.number == number => match refused {
            None => Fate::Folded(slot),
            // The mark may name a later slot: that of an earlier batch, placed again behind this
            // one.
            Some(refused) if mark.slot == refused => Fate::Folded(refused),
            Some(_) if mark.slot == slot => Fate::Folded(slot),
            Some(_) => Fate::Unknown(Reason::TwoSlots),
        },
        // The later batch was already in flight. It may have landed alone.
        Some(mark) if mark.number > number => Fate::Unknown(Reason::LaterBatch),
        _ if snapshot.eviction_watermark >= refused.unwrap_or(slot).min(slot) => Fate::Unknown(Reason::Forgotten),
        _ => Fate::Nowhere,
    }
}
