//! Reads one shard: finds the snapshot, and keeps up with the log.

use std::mem;
use std::sync::Arc;

use deltafold_format::{Head, Manifest, ObjectName, Sequence, Version};

use super::objects::Objects;
use super::opening::Opening;
use super::overlay::Overlay;
use super::pools::{Budget, Pools};
use super::snapshot::Snapshot;
use super::{Ahead, At};
use crate::env;
use crate::error::{Error, ErrorKind, Repr, Result};
use crate::head::HeadState;
use crate::log::{POLLS_A_LIST, ScanMode, TailRead, WithObject, read_tail_with_objects};
use crate::shard::{Shard, Slot};
use crate::simulation::Guard;

/// Overlays with more ops than this are extended off the async tasks.
const OPS_INLINE: u64 = 8_192;

/// The latest snapshot read of a shard. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ShardReader {
    shard: Shard,
    /// The head that names the snapshot; `None` for a fixed version.
    state: Option<HeadState>,
    snapshot: Arc<Snapshot>,
    /// Number of refreshes in a row that found nothing new.
    polls: u32,
}

impl ShardReader {
    /// Reads the current manifest and the log behind it: a LIST and two GETs. If the log is not
    /// empty, also a GET for each segment and a conditional GET. The objects that `ahead` selects
    /// are read beside the segments and the last check of the head.
    pub(super) async fn open_latest(shard: Shard, pools: &Arc<Pools>, ahead: Ahead) -> Result<Self> {
        loop {
            match Self::look(shard.clone(), pools, ahead).await {
                // The snapshot is not the latest any more.
                Err(error) if ahead != Ahead::Nothing && error.kind() == ErrorKind::Superseded => {}
                opened => return opened,
            }
        }
    }

    async fn look(shard: Shard, pools: &Arc<Pools>, ahead: Ahead) -> Result<Self> {
        let Opening { state, manifest, log, ended } = Opening::of(&shard).await?;
        let looked = Looked { overlay: Overlay::empty(manifest.folded), state, manifest: Arc::new(manifest) };
        let mut objects = Objects::new(shard.clone(), looked.manifest.clone(), pools.clone(), None);
        let looked = if ended {
            objects.read_ahead(ahead).await?;
            looked
        } else {
            let catching_up = catch_up(&shard, pools, looked, log, ScanMode::Listed);
            let (looked, warmed) = futures::future::join(catching_up, objects.read_ahead(ahead)).await;
            let looked = looked?;
            if looked.manifest.name() == objects.manifest().name() {
                warmed?;
            } else {
                // Objects read for the older snapshot are kept. Absent ones were swept with it.
                objects = Objects::new(shard.clone(), looked.manifest.clone(), pools.clone(), Some(&objects));
                objects.read_ahead(ahead).await?;
            }
            looked
        };
        let snapshot = Snapshot::new(shard.clone(), Arc::new(objects), looked.overlay);
        Ok(Self { shard, state: Some(looked.state), snapshot: Arc::new(snapshot), polls: 0 })
    }

    /// Reads the manifest of a version or of a pin, without the log behind it. Three GETs, two if
    /// it is the current one.
    pub(super) async fn open_fixed(shard: Shard, pools: &Arc<Pools>, at: &Fixed) -> Result<Self> {
        let (_, current) = shard.current().await?;
        let name = at.name(&shard, &current)?;
        let manifest = if name == current.name() {
            current
        } else {
            let head = Head { version: name.version, manifest: name.nonce, ..current.head() };
            match shard.manifest(&head).await? {
                Some(manifest) => manifest,
                None => return Err(absent(&shard, name).await),
            }
        };
        let overlay = Overlay::empty(manifest.folded);
        let objects = Objects::new(shard.clone(), Arc::new(manifest), pools.clone(), None);
        let snapshot = Snapshot::new(shard.clone(), Arc::new(objects), overlay);
        Ok(Self { shard, state: None, snapshot: Arc::new(snapshot), polls: 0 })
    }

    pub(super) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The shard as it is now: one conditional GET, and a GET for each new segment and the slot
    /// behind. A new manifest costs one more. In one of 64 refreshes that find nothing new, a LIST
    /// replaces the last GET.
    pub(super) async fn refreshed(&self) -> Result<Self> {
        let Some(state) = self.state.clone() else { return Ok(self.clone()) };
        let old = &self.snapshot;
        let looked = Looked { state, manifest: old.objects.manifest().clone(), overlay: old.overlay.clone() };
        let polls = self.polls.saturating_add(1);
        let how = if polls >= POLLS_A_LIST { ScanMode::Listed } else { ScanMode::Probe };
        let pools = old.objects.pools();
        let looked = catch_up(&self.shard, pools, looked, None, how).await?;
        let same = looked.manifest.name() == old.objects.manifest().name();
        if same && looked.overlay.tail() == old.overlay.tail() {
            let polls = if how == ScanMode::Listed { 0 } else { polls };
            return Ok(Self { state: Some(looked.state), polls, ..self.clone() });
        }
        let objects = if same {
            old.objects.clone()
        } else {
            Arc::new(Objects::new(self.shard.clone(), looked.manifest, pools.clone(), Some(&old.objects)))
        };
        let snapshot = old.followed_by(objects, looked.overlay);
        let (shard, state) = (self.shard.clone(), Some(looked.state));
        Ok(Self { shard, state, snapshot: Arc::new(snapshot), polls: 0 })
    }
}

/// The view of a shard: the overlay covers the log behind the manifest's folded sequence.
struct Looked {
    state: HeadState,
    manifest: Arc<Manifest>,
    overlay: Overlay,
}

/// Reads the log from the end of the overlay, unless `read` holds it already. Then checks whether
/// the head moved meanwhile.
///
/// The order matters, because an empty slot is the end of the log only if it was not swept. Suppose
/// a reader saw slot `n` empty, and *afterwards* sees a head that truncates nothing above `n`. Then
/// `n` had not been written when the reader saw it. Whenever the manifest changes, the overlay is
/// cut to the ops that the manifest has not folded, so that every op counts exactly once.
async fn catch_up(
    shard: &Shard,
    pools: &Pools,
    mut looked: Looked,
    mut read: Option<Result<TailRead<WithObject>>>,
    mut how: ScanMode,
) -> Result<Looked> {
    loop {
        let (end, failure) = match read_log(shard, pools, &mut looked.overlay, read.take(), how).await {
            Ok(LogEnd::Free) => (looked.overlay.tail().next(), None),
            Ok(LogEnd::Swept) => (Sequence::ZERO, None),
            // During a sweep the log may look as if segments were lost.
            Err(error) if error.kind() == ErrorKind::Corrupt => (Sequence::ZERO, Some(error)),
            Err(error) => return Err(error),
        };
        let moved = if Guard::TailRecheck.holds() { shard.head_unless(&looked.state).await? } else { None };
        let Some(state) = moved else {
            return match failure {
                None if end > Sequence::ZERO => Ok(looked),
                Some(error) => Err(error),
                None => Err(Repr::Missing(shard.layout().segment(looked.overlay.tail().next())).into()),
            };
        };
        let (state, manifest) = match shard.manifest(&state.head).await? {
            Some(manifest) => (state, manifest),
            None => shard.current().await?,
        };
        let covered = looked.overlay.tail();
        if Guard::OverlayCut.holds() {
            looked.overlay = looked.overlay.behind(manifest.folded);
        }
        // Segments that must be read again still exist: the manifest has not folded them.
        let whole = looked.overlay.tail() >= covered;
        looked.state = state;
        looked.manifest = Arc::new(manifest);
        if looked.manifest.truncated > end || !whole {
            how = ScanMode::Listed;
        } else if looked.manifest.folded < end {
            return Ok(looked);
        } else {
            // The slot seen empty was folded since, or is lost. Neither keeps this reader from the
            // slots that follow.
            how = ScanMode::Probe;
        }
    }
}

/// The end of a log that was read.
enum LogEnd {
    /// With a free slot.
    Free,
    /// With a slot that was swept.
    Swept,
}

/// Extends the overlay to the end of the log, a bounded piece at a time. `read` may hold the first
/// piece.
async fn read_log(
    shard: &Shard,
    pools: &Pools,
    overlay: &mut Overlay,
    mut read: Option<Result<TailRead<WithObject>>>,
    how: ScanMode,
) -> Result<LogEnd> {
    loop {
        let piece = match read.take() {
            Some(read) => read?,
            None => read_tail_with_objects(shard, overlay.tail(), shard.memory().log_read(), how).await?,
        };
        let before = mem::replace(overlay, Overlay::empty(overlay.tail()));
        *overlay = extended(before, piece.slots, &pools.overlay).await;
        if pools.must_spill(overlay.memory_bytes()) {
            // Rare, and a large future, so it goes on the heap.
            *overlay = Box::pin(overlay.clone().spill(shard, pools)).await?;
        }
        if piece.swept {
            return Ok(LogEnd::Swept);
        }
        if piece.end {
            return Ok(LogEnd::Free);
        }
    }
}

async fn extended(overlay: Overlay, slots: Vec<(Sequence, Slot<WithObject>)>, budget: &Arc<Budget>) -> Overlay {
    let new = |(_, slot): &(Sequence, Slot<WithObject>)| match slot {
        Slot::Segment(read) => read.segment.len() as u64,
        Slot::Void | Slot::Absent => 0,
    };
    if overlay.ops() + slots.iter().map(new).sum::<u64>() <= OPS_INLINE {
        overlay.extended(&slots, budget)
    } else {
        let budget = budget.clone();
        env::blocking(move || overlay.extended(&slots, &budget)).await
    }
}

/// A fixed version of one shard.
#[derive(Debug, Clone)]
pub(super) enum Fixed {
    Version(Version),
    Pin(String),
}

impl Fixed {
    /// The fixed version of each of `shards` shards; `None` if `At` asks for the latest.
    pub(super) fn of(at: &At, shards: usize) -> Result<Option<Vec<Self>>> {
        match at {
            At::Latest => Ok(None),
            At::Pin(name) => Ok(Some(vec![Self::Pin(name.clone()); shards])),
            At::Versions(versions) if versions.len() == shards => {
                Ok(Some(versions.iter().copied().map(Self::Version).collect()))
            }
            At::Versions(versions) => Err(Error::invalid(format!(
                "{} versions were given and the collection has {shards} shards: give one for each, in order",
                versions.len()
            ))),
        }
    }

    /// The manifest's name, found in the records of the current one.
    fn name(&self, shard: &Shard, current: &Manifest) -> Result<ObjectName> {
        match self {
            Self::Pin(name) => {
                let pin = current.pins.iter().find(|pin| pin.name == *name);
                let pin = pin.ok_or_else(|| Repr::NoPin(name.clone()))?;
                Ok(ObjectName { version: pin.version, nonce: pin.nonce })
            }
            Self::Version(Version::ZERO) => Ok(Manifest::empty(current.collection).name()),
            Self::Version(version) => {
                let ancestors = current.ancestors.iter().map(|known| (known.version, known.nonce));
                let pins = current.pins.iter().map(|pin| (pin.version, pin.nonce));
                let found =
                    ancestors.chain(pins).chain([(current.version, current.nonce)]).find(|known| known.0 == *version);
                let (version, nonce) = found.ok_or(Repr::NoVersion { shard: shard.id(), version: *version })?;
                Ok(ObjectName { version, nonce })
            }
        }
    }
}

/// The reason why the manifest of an older version is absent: swept, or lost.
async fn absent(shard: &Shard, name: ObjectName) -> Error {
    match shard.current().await {
        Err(error) => error,
        Ok((_, current)) => {
            let pinned = current.pins.iter().any(|pin| (pin.version, pin.nonce) == (name.version, name.nonce));
            if pinned || name.version >= current.sweep_floor {
                Repr::Missing(shard.layout().manifest(name)).into()
            } else {
                Repr::NoVersion { shard: shard.id(), version: name.version }.into()
            }
        }
    }
}
