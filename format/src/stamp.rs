//! The order of ops: the place in the log, or the revision of each op.

use std::fmt;

use crate::digest::OpHash;
use crate::name::Position;
use crate::op::Action;
use crate::revision::Revision;

/// The order of ops on one record in a collection ordered by revision. The higher revision wins.
/// Between equal revisions, the action decides: a delete wins over a patch or an upsert, which
/// applies on top of a put. Then a hash of the ops' bytes decides.
///
/// The same op always has the same stamp. Two *different* ops share one only if their revision,
/// their id and 62 bits of their hash are the same.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The revision.
    pub revision: Revision,
    /// The tie-breaker between equal revisions: two bits for the action, and the highest 62 bits of
    /// the op's hash.
    pub tie: u64,
}

impl Stamp {
    /// The stamp of an op with this action, revision and hash.
    pub(crate) fn of<E>(action: &Action<E>, revision: Revision, hash: OpHash) -> Self {
        let rank: u64 = match action {
            Action::Put(_) | Action::Add(_) => 0,
            Action::Patch(_) | Action::Upsert(_) => 1,
            Action::Delete => 2,
        };
        Self { revision, tie: rank << 62 | hash.highest_62() }
    }
}

/// The place of an op among those of its record, in the ordering of its collection. All places of a
/// collection are of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The position in the log of its shard.
    Log(Position),
    /// Its revision.
    Revision(Stamp),
}

impl Place {
    /// The position in the log, in a collection ordered by its log.
    pub fn position(self) -> Option<Position> {
        if let Self::Log(position) = self { Some(position) } else { None }
    }

    /// The revision, in a collection ordered by revision.
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
