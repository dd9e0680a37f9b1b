//! Distinguishes the end of the log from a hole in it.
//!
//! A writer never creates slot `n + 1` before slot `n` is taken. A fold reads a slot before the
//! head declares it folded. A sweep deletes only slots below the log start, which it publishes
//! first.
//!
//! So a missing segment is lost, that is, another program deleted it, if both hold:
//!
//! - the log starts at or below its slot;
//! - the head declares it folded, or a later slot holds a segment of this collection.
//!
//! The loss of the last segment, if it was not folded, looks the same as a segment still to come.

use deltafold_format::{Head, Sequence};

use crate::error::{Error, Result};
use crate::retry;
use crate::shard::{LIST_PAGE, Shard, Slot};

/// A polling reader lists the log once in this many polls of an empty slot. A LIST costs as much as
/// 12 GETs, so this adds a tenth to the price of an idle poll.
pub(crate) const POLLS_A_LIST: u32 = 64;

/// The effort to prove that an empty slot was taken before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Only the head that was read anyway. Usually no request.
    Head,
    /// The head, and the names behind the slot in the log. Usually one LIST.
    Log,
}

impl Look {
    /// For a reader that has found the same slot empty `polls` times before.
    pub(crate) fn at_poll(polls: u32) -> Self {
        if polls.is_multiple_of(POLLS_A_LIST) { Self::Log } else { Self::Head }
    }
}

/// The verdict on an empty slot of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Empty {
    /// The log ended in front of the slot when the slot was seen empty.
    End,
    /// As `End`, and a segment has taken the slot since.
    Taken,
    /// A sweep deleted the segment in the slot.
    Swept,
}

/// The proof that a head and the log give about a slot that was seen empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// A sweep deleted the segment.
    Swept,
    /// The slot was taken before the head was read.
    Folded,
    /// The slot was taken before this later one was.
    Followed(Sequence),
    /// No proof that the slot was ever taken.
    None,
}

fn prove(slot: Sequence, head: &Head, later: Option<Sequence>) -> Proof {
    match later {
        _ if slot < head.truncated => Proof::Swept,
        _ if slot <= head.folded => Proof::Folded,
        Some(later) => Proof::Followed(later),
        None => Proof::None,
    }
}

/// Judges `slot`, which was seen empty before `head` was read. The slot must lie behind one that
/// was read or swept, or be the first.
///
/// # Errors
///
/// `Corrupt`, with the key of the slot, if its segment is lost.
pub(crate) async fn judge(shard: &Shard, slot: Sequence, head: &Head, look: Look) -> Result<Empty> {
    let mut proof = prove(slot, head, None);
    if proof == Proof::None && look == Look::Log {
        proof = prove(slot, head, first_behind(shard, slot).await?);
    }
    match proof {
        Proof::Swept => return Ok(Empty::Swept),
        Proof::None => return Ok(Empty::End),
        Proof::Folded | Proof::Followed(_) => {}
    }
    // The slot was seen empty before it was proved to be taken, so only a second read counts.
    if !matches!(shard.slot_header(slot).await?, Slot::Absent) {
        return Ok(Empty::Taken);
    }
    let now = shard.head().await?.head;
    if slot < now.truncated { Ok(Empty::Swept) } else { Err(lost(shard, slot, proof, &now)) }
}

/// The first slot behind `slot` that holds a segment of this collection. One LIST, and a GET for
/// each segment up to that one. Segments of a dropped collection prove nothing, because their
/// writers did not check.
async fn first_behind(shard: &Shard, slot: Sequence) -> Result<Option<Sequence>> {
    let prefix = shard.layout().log_prefix();
    let mut after = shard.layout().segment(slot);
    loop {
        let page = retry::transient(|| shard.store().list_after(&prefix, Some(&after), LIST_PAGE)).await?;
        for sequence in page.iter().filter_map(|listed| shard.layout().parse_segment(&listed.key)) {
            if let Slot::Segment(_) = shard.slot_header(sequence).await? {
                return Ok(Some(sequence));
            }
        }
        match page.last() {
            Some(last) if page.len() == LIST_PAGE => after = last.key.clone(),
            _ => return Ok(None),
        }
    }
}

fn lost(shard: &Shard, slot: Sequence, proof: Proof, head: &Head) -> Error {
    let reason = match proof {
        Proof::Followed(later) => format!("it is missing, though segment {} follows it", later.get()),
        _ => format!(
            "it is missing, though the log is kept from segment {} on and was folded up to segment {}",
            head.truncated.get(),
            head.folded.get()
        ),
    };
    Error::corrupt(&shard.layout().segment(slot), reason)
}

#[cfg(test)]
mod tests {
    use deltafold_format::Uid;

    use super::*;

    #[test]
    fn an_empty_slot_is_the_end_only_without_proof() {
        let slot = |number| Sequence::new(number).unwrap();
        let head = Head { truncated: slot(3), folded: slot(5), ..Head::empty(Uid::new(1)) };
        let cases = [
            (2, None, Proof::Swept),
            (2, Some(7), Proof::Swept),
            (3, None, Proof::Folded),
            (5, Some(7), Proof::Folded),
            (6, None, Proof::None),
            (6, Some(7), Proof::Followed(slot(7))),
        ];
        for (number, later, expected) in cases {
            assert_eq!(prove(slot(number), &head, later.map(slot)), expected, "{number} {later:?}");
        }
    }

    #[test]
    fn a_poller_lists_first_and_then_rarely() {
        let lists = (0..3 * POLLS_A_LIST).filter(|polls| Look::at_poll(*polls) == Look::Log);
        assert_eq!(lists.collect::<Vec<_>>(), [0, POLLS_A_LIST, 2 * POLLS_A_LIST]);
    }
}
