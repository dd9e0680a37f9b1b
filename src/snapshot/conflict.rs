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
                "segments from {} of shard {shard_number} were folded by someone else, up to {}; nothing is lost, nothing to do",
                first.get(),
                folded.get()
            )),
            Self::InputsVanished => Repr::Conflict(format!(
                "runs of shard {shard_number} that were being merged were merged by someone else; nothing is lost, nothing to do"
            )),
            Self::Fenced { born, sweep_floor } => Repr::Conflict(format!(
                "work on shard {shard_number} began at version {}, and a sweep has passed it (floor {}); nothing is lost, it will be done anew",
                born.get(),
                sweep_floor.get()
            )),
            Self::SweptMeanwhile => {
                Repr::Conflict(format!("shard {shard_number} was swept further by someone else; nothing to do"))
            }
            Self::NoVersion(version) => Repr::NoVersion { shard, version },
            Self::PinExists(name) => Repr::PinExists(name),
            Self::NoPin(name) => Repr::NoPin(name),
            Self::PinMadeAnew(name) => Repr::Conflict(format!(
                "someone else removed pin `{name}` of shard {shard_number} and made it anew; the new one stays. Run \
                 `unpin` again if it is to go too"
            )),
            Self::Defect(invariant) => Repr::Invariant { shard, version, invariant: invariant.to_owned() },
        }
        .into()
    }
}
