//! What orders ops: the place in the log, or the revision that each carries.

use std::fmt;
use std::str::FromStr;

use crate::digest::OpHash;
use crate::name::{NameError, Position};
use crate::op::Action;

/// Where a change stands among all changes of its record, in whatever order they arrive: a number
/// that its producer gives, such as the sequence number of a stream. 128 bits, since those have
/// more than twenty digits.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u128);

impl Revision {
    /// A revision of this number.
    pub const fn new(number: u128) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u128 {
        self.0
    }
}

/// Decimal digits.
impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Revision {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let digits = (1..=39).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten();
        number.map(Self).ok_or_else(|| NameError::new("revision", text, "1 to 39 decimal digits, below 2^128"))
    }
}

/// What decides between two ops on one record in a collection ordered by revision: the higher
/// revision; where two ops bear the same one, what they do (a delete beats a patch or an upsert,
/// which goes on top of a put), and then a hash of their bytes.
///
/// Two ops have one stamp if they are the same op. Two *different* ops have one only where their
/// revision, their id and 62 bits of their hash are the same.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The revision.
    pub revision: Revision,
    /// What decides where the revisions are the same: two bits for what the op does, and the
    /// highest 62 of its hash.
    pub tie: u64,
}

impl Stamp {
    /// The stamp of an op that does this at this revision, and has this hash.
    pub(crate) fn of<E>(action: &Action<E>, revision: Revision, hash: OpHash) -> Self {
        let rank: u64 = match action {
            Action::Put(_) | Action::Add(_) => 0,
            Action::Patch(_) | Action::Upsert(_) => 1,
            Action::Delete => 2,
        };
        Self { revision, tie: rank << 62 | hash.highest_62() }
    }
}

/// The place of an op among those of its record, in the ordering of its collection. Places of one
/// collection are of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Where it stands in the log of its shard.
    Log(Position),
    /// The revision that it bears.
    Revision(Stamp),
}

impl Place {
    /// The position in the log, of a collection that is ordered by it.
    pub fn position(self) -> Option<Position> {
        if let Self::Log(position) = self { Some(position) } else { None }
    }

    /// The revision, of a collection that is ordered by it.
    pub fn revision(self) -> Option<Revision> {
        if let Self::Revision(stamp) = self { Some(stamp.revision) } else { None }
    }
}

impl From<Position> for Place {
    fn from(position: Position) -> Self {
        Self::Log(position)
    }
}

/// The position, or the revision.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(position) => position.fmt(f),
            Self::Revision(stamp) => stamp.revision.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Op;
    use crate::record::{Patch, Record};

    #[test]
    fn a_revision_is_up_to_39_digits() {
        for number in [0, 1, u128::from(u64::MAX) + 1, u128::MAX] {
            let revision = Revision::new(number);
            assert_eq!(revision.to_string().parse::<Revision>().unwrap(), revision);
        }
        assert_eq!("000000000000000000007".parse::<Revision>().unwrap(), Revision::new(7));
        for text in ["", "+1", "-1", " 1", "1.0", "1e3", "340282366920938463463374607431768211456", &"0".repeat(40)] {
            assert!(text.parse::<Revision>().is_err(), "{text}");
        }
    }

    #[test]
    fn at_one_revision_a_delete_beats_a_patch_and_a_patch_a_put() {
        let stamp = |op: Op<()>, hash: u8| Stamp::of(&op.action, op.revision.unwrap(), OpHash::of(&[hash], &[]));
        for hashes in [[1, 2, 3], [3, 2, 1], [9, 200, 77]] {
            let put = stamp(Op::put("a", Record::default()).at(Revision::new(7)), hashes[0]);
            let patch = stamp(Op::patch("a", Patch::default()).at(Revision::new(7)), hashes[1]);
            let delete = stamp(Op::delete("a").at(Revision::new(7)), hashes[2]);
            assert!(put < patch && patch < delete);
            assert!(delete < stamp(Op::put("a", Record::default()).at(Revision::new(8)), hashes[1]));
        }
    }
}
