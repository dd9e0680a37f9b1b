//! Sweep publishes an edit first and deletes second. Versions alone decide what may be deleted;
//! ages only retain more. The last segment folded stays in any case.

use std::collections::BTreeSet;
use std::time::Duration;

use deltafold_format::{Manifest, ObjectName, PartObject, Pin, Sequence, Timestamp, Version};

use crate::error::{Error, Repr, Result};
use crate::retry;
use crate::setters::setters;
use crate::shard::objects::{name, objects};
use crate::shard::{Shard, registers};
use crate::simulation::Guard;
use crate::snapshot::{Current, Edit, Floors, highest_truncated, is_seen, keeps_last, publish};
use crate::store::{Key, Listed};

/// The most keys that one call of the store removes.
const DELETE_BATCH: usize = 1_000;

/// The retention of a sweep, beyond the needs of the current version. It keeps pins in any case.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SweepOptions {
    /// Versions before the current one that stay readable.
    pub keep_versions: u64,
    /// The least time, by the store's clock, for which an outdated version stays readable.
    pub min_age: Duration,
    /// The age at which an unfinished upload of a large object is given up.
    pub upload_age: Duration,
    /// Only reports what it would delete.
    pub dry_run: bool,
}

impl SweepOptions {
    /// Keeps the current version and pins alone. Readers of older versions get `Superseded`.
    pub const KEEP_NOTHING: Self =
        Self { keep_versions: 0, min_age: Duration::ZERO, upload_age: Duration::from_secs(86_400), dry_run: false };
}

setters!(SweepOptions { keep_versions: u64, min_age: Duration, upload_age: Duration, dry_run: bool });

impl Default for SweepOptions {
    fn default() -> Self {
        Self {
            keep_versions: 8,
            min_age: Duration::from_secs(600),
            upload_age: Duration::from_secs(86_400),
            dry_run: false,
        }
    }
}

/// The totals of one shard's sweep, real or dry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweepReport {
    /// Versions below this one are not readable any more, unless pinned.
    pub sweep_floor: Version,
    /// No reader and no writer reads slots below this one again.
    pub truncated: Sequence,
    /// Log segments deleted.
    pub segments: u64,
    /// Manifests deleted.
    pub manifests: u64,
    /// Parts and embedding objects deleted.
    pub parts: u64,
    /// Bytes deleted.
    pub bytes: u64,
    /// Unfinished uploads given up.
    pub uploads: u64,
    /// Pins that had expired.
    pub expired_pins: Vec<String>,
}

/// Sweeps one shard. Costs three LISTs for each 1,000 objects, and two looks at the clock. A rising
/// floor costs a publish. Each pin and the version at the floor cost a GET. A store with uploads
/// lists them. Deletes are free on S3.
pub(crate) async fn sweep(shard: &Shard, options: &SweepOptions) -> Result<SweepReport> {
    let mut current = Current::load(shard).await?;
    let manifests = shard.list(&shard.layout().manifest_prefix(), None, |_| false).await?;
    refuse_old_head(shard, &mut current, &manifests).await?;
    let floors = floors(shard, &current.manifest, &manifests, options).await?;
    let manifest = &current.manifest;
    let raises = floors.truncated > manifest.truncated
        || floors.sweep_floor > manifest.sweep_floor
        || !floors.expired.is_empty();
    if raises && !options.dry_run && Guard::PublishBeforeDelete.holds() {
        publish(shard, &mut current, &Edit::Sweep(floors.clone())).await?;
    }
    // The deletions follow from a manifest that holds the floors: the one just published, or a
    // later one.
    let doomed = doomed(shard, &current.manifest, &floors, &manifests).await?;
    let mut report = SweepReport {
        sweep_floor: floors.sweep_floor,
        truncated: floors.truncated,
        expired_pins: floors.expired.into_iter().map(|pin| pin.name).collect(),
        ..SweepReport::default()
    };
    for listed in &doomed {
        report.bytes += listed.bytes;
        if shard.layout().parse_segment(&listed.key).is_some() {
            report.segments += 1;
        } else if shard.layout().parse_manifest(&listed.key).is_some() {
            report.manifests += 1;
        } else {
            report.parts += 1;
        }
    }
    let now = retry::transient(|| shard.store().now()).await?;
    let age = i64::try_from(options.upload_age.as_millis()).unwrap_or(i64::MAX);
    let before = Timestamp::from_millis(now.as_millis().saturating_sub(age));
    let prefix = shard.layout().prefix();
    report.uploads = retry::transient(|| shard.store().abort_uploads(&prefix, before, options.dry_run)).await?;
    if !options.dry_run {
        // The head may show another's publish that is not durable yet.
        shard.settle_head().await?;
        for batch in doomed.chunks(DELETE_BATCH) {
            let keys: Vec<Key> = batch.iter().map(|listed| listed.key.clone()).collect();
            retry::transient(|| shard.store().delete(&keys)).await?;
        }
    }
    Ok(report)
}

/// Refuses a head that was put back from an old copy, which a manifest two or more versions above
/// it proves. No request as a rule. It looks up what others have published since.
async fn refuse_old_head(shard: &Shard, current: &mut Current, manifests: &[Listed]) -> Result<()> {
    let highest = manifests.iter().filter_map(|listed| shard.layout().parse_manifest(&listed.key)).max();
    let is_above = |current: &Current| highest.is_some_and(|name| name.version > current.manifest.version.next());
    if is_above(current) && !current.refresh(shard).await? {
        let head = current.manifest.head();
        if let Some(newer) = registers::newer(shard, &head).await? {
            registers::refuse_old(shard, &head, newer).await?;
        }
    }
    Ok(())
}

/// The highest floors that the retention allows.
async fn floors(shard: &Shard, manifest: &Manifest, manifests: &[Listed], options: &SweepOptions) -> Result<Floors> {
    let now = retry::transient(|| shard.store().now()).await?;
    let old = |since: Timestamp, age: u128| {
        // A store may tell its clock to the second and date its objects to the millisecond. An
        // object dated in the future has age 0.
        let passed = now.as_millis().saturating_sub(since.as_millis()).max(0);
        u128::try_from(passed).is_ok_and(|passed| passed >= age)
    };
    let expired = manifest.pins.iter().filter(|pin| pin.ttl_millis.is_some_and(|ttl| old(pin.created, ttl.into())));
    let highest = Version::new(manifest.version.get().saturating_sub(options.keep_versions));
    let parsed = |listed: &Listed| shard.layout().parse_manifest(&listed.key);
    // The version at the floor superseded those below it.
    let sweep_floor = manifests
        .iter()
        .filter(|listed| old(listed.modified, options.min_age.as_millis()))
        .filter_map(parsed)
        .map(|name| name.version)
        .filter(|version| *version <= highest)
        .max()
        .unwrap_or_default()
        .max(manifest.sweep_floor);
    let mut floors = Floors { truncated: manifest.truncated, sweep_floor, expired: expired.cloned().collect() };
    // Readers of the retained versions follow the log behind their last fold. Several manifests may
    // have one version. The losers have the same parent as the winner, so the least of them has
    // folded no more than it.
    let mut folded: Option<Sequence> = None;
    for listed in manifests {
        if parsed(listed).is_some_and(|name| name.version == sweep_floor)
            && let Some(object) = retry::transient(|| shard.store().get(&listed.key)).await?
        {
            let at_floor = Manifest::decode(object.bytes).map_err(|error| Error::format(&listed.key, error))?;
            folded = Some(folded.map_or(at_floor.folded, |folded| folded.min(at_floor.folded)));
        }
    }
    let mut behind = folded.map_or(floors.truncated, Sequence::next);
    if !keeps_last(behind, manifest.folded) {
        behind = highest_truncated(manifest.folded);
    }
    floors.truncated = floors.truncated.max(behind);
    Ok(floors)
}

/// All objects that no retained version, no pin and no edit under way can need.
async fn doomed(shard: &Shard, manifest: &Manifest, floors: &Floors, manifests: &[Listed]) -> Result<Vec<Listed>> {
    let layout = shard.layout();
    let mut needed: BTreeSet<PartObject> = objects(manifest);
    // Versions from the floor on need the objects that a later version dropped.
    let kept = |version| version > floors.sweep_floor && Guard::VersionsKept.holds();
    needed.extend(manifest.dropped.iter().filter(|d| kept(d.version)).map(|d| d.object));
    let is_expired = |pin: &Pin| floors.expired.iter().any(|seen| is_seen(pin, &seen.name, seen.id));
    let pins = manifest.pins.iter().filter(|pin| !is_expired(pin) && Guard::PinsKept.holds());
    let pinned: BTreeSet<ObjectName> = pins.map(|pin| ObjectName { version: pin.version, nonce: pin.nonce }).collect();
    for pin in &pinned {
        let key = layout.manifest(*pin);
        match retry::transient(|| shard.store().get(&key)).await? {
            Some(object) => {
                needed.extend(objects(&Manifest::decode(object.bytes).map_err(|error| Error::format(&key, error))?));
            }
            // The pin was removed, or expired, and another sweep has deleted its version.
            None if !is_pinned(shard, *pin).await? => {}
            None => return Err(Repr::Missing(key).into()),
        }
    }
    let mut doomed: Vec<Listed> = Vec::new();
    doomed.extend(
        manifests
            .iter()
            .filter(|listed| {
                let name = layout.parse_manifest(&listed.key);
                name.is_some_and(|name| name.version < floors.sweep_floor && !pinned.contains(&name))
            })
            .cloned(),
    );
    let kept = |listed: &Listed| layout.parse_segment(&listed.key).is_some_and(|sequence| sequence >= floors.truncated);
    let segments = shard.list(&layout.log_prefix(), None, kept).await?;
    doomed.extend(
        segments
            .into_iter()
            .filter(|listed| layout.parse_segment(&listed.key).is_some_and(|sequence| sequence < floors.truncated)),
    );
    let parts = shard.list(&layout.part_prefix(), None, |_| false).await?;
    doomed.extend(parts.into_iter().filter(|listed| {
        let object = layout.parse_part(&listed.key);
        object.is_some_and(|object| name(object).version < floors.sweep_floor && !needed.contains(&object))
    }));
    Ok(doomed)
}

/// Whether a version is pinned now.
async fn is_pinned(shard: &Shard, version: ObjectName) -> Result<bool> {
    let (_, manifest) = shard.current().await?;
    Ok(manifest.pins.iter().any(|pin| (pin.version, pin.nonce) == (version.version, version.nonce)))
}
