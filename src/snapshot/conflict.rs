//! The reasons why an edit does not fit a manifest.

use deltafold_format::{Sequence, ShardId, Version};

use crate::error::{Error, Repr};

/// The reason why an edit does not fit a manifest. All but the last are ordinary results of another
/// publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// Another compactor folded the segments.
    FoldedMeanwhile {
        first: Sequence,
        folded: Sequence,
    },
    /// Another compactor merged an input.
    InputsVanished,
    /// A sweep has passed the version this work started from. Its objects may be gone.
    Fenced {
        born: Version,
        sweep_floor: Version,
    },
    /// Another sweep raised the floors higher.
    SweptMeanwhile,
    /// The version to pin is not readable any more.
    NoVersion(Version),
    PinExists(String),
    NoPin(String),
    /// The pin to remove is gone, and another one has its name.
    PinMadeAnew(String),
    /// The edit itself is wrong: a defect of Deltafold.
    Defect(&'static str),
}

impl Conflict {
    /// The error of `shard` at `version`.
    pub(crate) fn into_error(self, shard: ShardId, version: Version) -> Error {
        let shard_number = shard.get();
        match self {
            Self::FoldedMeanwhile { first, folded } => Repr::Conflict(format!(
                "another compactor folded the segments of shard {shard_number} from {} up to {}; nothing is lost, and there is nothing to do",
                first.get(),
                folded.get()
            )),
            Self::InputsVanished => Repr::Conflict(format!(
                "another compactor merged the runs of shard {shard_number} first; nothing is lost, and there is nothing to do"
            )),
            Self::Fenced { born, sweep_floor } => Repr::Conflict(format!(
                "work on shard {shard_number} began at version {}, below the floor {} of a sweep; nothing is lost, and the next round does it anew",
                born.get(),
                sweep_floor.get()
            )),
            Self::SweptMeanwhile => {
                Repr::Conflict(format!("another process swept shard {shard_number} further; there is nothing to do"))
            }
            Self::NoVersion(version) => Repr::NoVersion { shard, version },
            Self::PinExists(name) => Repr::PinExists(name),
            Self::NoPin(name) => Repr::NoPin(name),
            Self::PinMadeAnew(name) => Repr::Conflict(format!(
                "another process removed pin `{name}` of shard {shard_number} and made it anew; the new pin stays. Run \
                 `unpin` again to remove it, too"
            )),
            Self::Defect(invariant) => Repr::Invariant { shard, version, invariant: invariant.to_owned() },
        }
        .into()
    }
}
