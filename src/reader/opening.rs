//! Opens a shard: its head, the manifest that the head names, and the log behind.

use deltafold_format::{Manifest, ObjectName};
use futures::future::join;

use crate::error::Result;
use crate::head::HeadState;
use crate::log::{ScanMode, TailRead, WithObject, read_named_with_objects, read_tail_with_objects};
use crate::shard::{Names, ReadAhead, Shard};

/// A reader's first view of a shard.
pub(super) struct Opening {
    pub(super) state: HeadState,
    pub(super) manifest: Manifest,
    /// The log behind the manifest, if it was read.
    pub(super) log: Option<Result<TailRead<WithObject>>>,
    /// Whether the log is proved to hold nothing behind the manifest. Otherwise the head must be
    /// checked again.
    pub(super) ended: bool,
}

impl Opening {
    pub(super) async fn of(shard: &Shard) -> Result<Self> {
        match shard.take_ahead().await? {
            Some(ReadAhead::Head(state)) => Self::by_head(shard, state).await,
            Some(ReadAhead::Names(names)) => Self::by_names(shard, names).await,
            None => Self::by_names(shard, Names::list(&**shard.store(), shard.layout()).await?).await,
        }
    }

    /// Reads the head after the names of the log, and then everything that the names do not tell.
    async fn by_names(shard: &Shard, names: Names) -> Result<Self> {
        let BehindNames { state, manifest } = BehindNames::read(shard, &names).await?;
        let Some(behind) = names.behind(state.head.folded) else { return Self::by_head(shard, state).await };
        let manifest = async {
            match manifest {
                Some(manifest) => Ok(Some(manifest)),
                None => shard.manifest(&state.head).await,
            }
        };
        let (folded, ended) = (state.head.folded, behind.is_empty());
        let reading = read_named_with_objects(shard, folded, behind.to_vec(), shard.memory().log_read());
        let (manifest, log) = join(manifest, reading).await;
        Self::checked(shard, state, manifest?, log, ended).await
    }

    /// Reads the log behind the folded sequence of a head, and the manifest beside it: a GET, a
    /// LIST, and a GET for each segment.
    async fn by_head(shard: &Shard, state: HeadState) -> Result<Self> {
        let reading = read_tail_with_objects(shard, state.head.folded, shard.memory().log_read(), ScanMode::Listed);
        let (manifest, log) = join(shard.manifest(&state.head), reading).await;
        Self::checked(shard, state, manifest?, log, false).await
    }

    async fn checked(
        shard: &Shard,
        state: HeadState,
        manifest: Option<Manifest>,
        log: Result<TailRead<WithObject>>,
        ended: bool,
    ) -> Result<Self> {
        match manifest.filter(|manifest| manifest.folded == state.head.folded) {
            Some(manifest) => Ok(Self { state, manifest, log: Some(log), ended }),
            // The manifest was swept since its head was read, and perhaps some of the log with it.
            None => {
                let (state, manifest) = shard.current().await?;
                Ok(Self { state, manifest, log: None, ended: false })
            }
        }
    }
}

/// The head, read after the names of the log.
pub(super) struct BehindNames {
    pub(super) state: HeadState,
    /// The manifest of the head, if it is the one that the names suggested.
    pub(super) manifest: Option<Manifest>,
}

impl BehindNames {
    /// A GET of the head and one of the newest manifest at the same time.
    pub(super) async fn read(shard: &Shard, names: &Names) -> Result<Self> {
        let guess = async {
            let name = names.newest_manifest()?;
            Some((name, shard.manifest_named(name).await))
        };
        let (state, guessed) = join(shard.head(), guess).await;
        let state = state?;
        let named = ObjectName { version: state.head.version, nonce: state.head.manifest };
        let manifest = match guessed {
            Some((name, manifest)) if name == named => manifest?,
            _ => None,
        };
        Ok(Self { state, manifest })
    }
}
