//! The collection register: its remains, and the copies in manifests.

use std::collections::BTreeSet;

use deltafold_format::limits::{MAX_DIMENSION, MAX_SHARDS};
use deltafold_format::{
    CollectionConfig, EmbeddingsFront, Head, HeadPlace, Manifest, Segment, Sequence, ShardId, Timestamp, Uid,
};

use super::{RepairOptions, RepairStep, describe};
use crate::env::Env;
use crate::error::{Error, Repr, Result};
use crate::layout::Layout;
use crate::retry;
use crate::store::{Key, Listed, Object, Store, StoreErrorKind, Tag};

/// The collection register as repair found it.
#[derive(Debug)]
pub(super) enum Register {
    Intact(CollectionConfig),
    Missing,
    /// `tag` is `None` where the store does not hand out the object.
    Damaged {
        tag: Option<Tag>,
        why: String,
    },
}

impl Register {
    /// The step for a register that is not intact.
    pub(super) fn step(&self, layout: &Layout, config: &CollectionConfig) -> RepairStep {
        let (problem, tag, replaces) = match self {
            Self::Intact(_) | Self::Missing => ("it is missing".to_owned(), true, false),
            Self::Damaged { tag, why } => (why.clone(), tag.is_some(), true),
        };
        let remedy = tag.then(|| describe(config));
        let mut notes = Vec::new();
        if remedy.is_none() {
            notes.push(
                "the store does not hand it out, so it cannot be replaced; delete it and run `repair` again".into(),
            );
        }
        let key = layout.collection().to_string();
        RepairStep { key, problem, remedy, notes, losses: Vec::new(), replaces, done: false }
    }
}

/// An object as repair finds it.
pub(super) enum Found {
    Absent,
    There(Object),
    /// The store says that it is damaged.
    Damaged(String),
}

pub(super) async fn get(store: &dyn Store, key: &Key) -> Result<Found> {
    match retry::transient(|| store.get(key)).await {
        Ok(None) => Ok(Found::Absent),
        Ok(Some(object)) => Ok(Found::There(object)),
        Err(error) if error.kind() == StoreErrorKind::Damaged => Ok(Found::Damaged(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn read(store: &dyn Store, layout: &Layout) -> Result<Register> {
    let key = layout.collection();
    Ok(match get(store, &key).await? {
        Found::Absent => Register::Missing,
        Found::Damaged(why) => Register::Damaged { tag: None, why },
        Found::There(object) => match CollectionConfig::decode(object.bytes) {
            Ok(config) => Register::Intact(config),
            Err(error) if is_newer(&error) => return Err(Error::register(&key, error)),
            Err(error) => Register::Damaged { tag: Some(object.tag), why: error.to_string() },
        },
    })
}

/// Whether a newer program wrote it. Such an object is not damaged.
pub(super) fn is_newer(error: &deltafold_format::FormatError) -> bool {
    matches!(error.kind(), deltafold_format::FormatErrorKind::NewerFormat { .. })
}

/// The shards that have objects. One LIST for each, and one more.
async fn shards(store: &dyn Store, layout: &Layout) -> Result<Vec<ShardId>> {
    let (prefix, mut found) = (layout.prefix(), Vec::new());
    let mut after: Option<Key> = None;
    loop {
        let next = retry::transient(|| store.list_after(&prefix, after.as_ref(), 1)).await?;
        let Some(first) = next.first() else { return Ok(found) };
        let part = first.key.as_str().strip_prefix(&prefix).and_then(|rest| rest.split('/').next());
        if let Some(shard) = part.and_then(|part| part.parse().ok()) {
            found.push(shard);
            // All objects of a shard sort before this.
            after = Key::new(format!("{prefix}{shard}/z"));
        } else {
            after = Some(first.key.clone());
        }
    }
}

async fn list(store: &dyn Store, prefix: &str) -> Result<Vec<Listed>> {
    let mut all: Vec<Listed> = Vec::new();
    loop {
        let after = all.last().map(|listed| listed.key.clone());
        let page = retry::transient(|| store.list_after(prefix, after.as_ref(), 1_000)).await?;
        let ends = page.len() < 1_000;
        all.extend(page);
        if ends {
            return Ok(all);
        }
    }
}

/// The newest copies of the register, at most one a shard.
async fn copies(store: &dyn Store, layout: &Layout, shards: &[ShardId]) -> Result<Vec<CollectionConfig>> {
    let mut copies = Vec::new();
    for shard in shards {
        for listed in list(store, &layout.shard(*shard).manifest_prefix()).await?.iter().rev() {
            let Found::There(object) = get(store, &listed.key).await? else { continue };
            if let Ok(Manifest { config: Some(config), .. }) = Manifest::decode(object.bytes) {
                copies.push(config);
                break;
            }
        }
    }
    Ok(copies)
}

/// A copy of the register.
pub(super) async fn copy(store: &dyn Store, layout: &Layout) -> Result<Option<CollectionConfig>> {
    let shards = shards(store, layout).await?;
    Ok(copies(store, layout, &shards).await?.pop())
}

/// Takes the register from the copies in manifests. Where there is none, it takes what the options
/// give and segments confirm.
pub(super) async fn rebuild(
    store: &dyn Store,
    layout: &Layout,
    options: &RepairOptions,
    env: &dyn Env,
) -> Result<CollectionConfig> {
    let shards = shards(store, layout).await?;
    if shards.is_empty() {
        return Err(Repr::NoCollection(layout.name().clone()).into());
    }
    let mut copies = copies(store, layout, &shards).await?;
    let mut uids: BTreeSet<Uid> = BTreeSet::new();
    for shard in &shards {
        if let Found::There(head) = get(store, &layout.shard(*shard).head()).await?
            && let Ok(head) = Head::decode(head.bytes)
        {
            uids.insert(head.collection);
        }
    }
    match uids.first() {
        // A compactor that slept through a drop left the manifest of another collection.
        Some(uid) if uids.len() == 1 => copies.retain(|copy| copy.uid == *uid),
        _ => uids.extend(copies.iter().map(|copy| copy.uid)),
    }
    let segment = match copies.is_empty() {
        true => first_segment(store, layout, &shards).await?,
        false => None,
    };
    if uids.is_empty() {
        uids.extend(segment.as_ref().map(|segment| segment.header().collection));
    }
    let mut uids = uids.into_iter();
    let uid = match (uids.next(), uids.next()) {
        (Some(uid), None) => uid,
        (None, _) => {
            return Err(not_repaired(layout, "no head, no manifest and no segment tells which collection it was"));
        }
        (Some(one), Some(two)) => {
            let reason = format!("objects of two collections lie under the name, {one} and {two}");
            return Err(not_repaired(layout, &reason));
        }
    };
    match copies.into_iter().next_back() {
        Some(config) => Ok(config),
        None => {
            let rotation = match written_rotation(store, layout, &shards).await? {
                Some(rotation) => rotation,
                None => env.random(),
            };
            let config = told(layout, options, segment, uid)?;
            Ok(CollectionConfig { created: env.now(), heads: store.heads(), rotation, ..config })
        }
    }
}

fn not_repaired(layout: &Layout, reason: &str) -> Error {
    let (name, register) = (layout.name(), layout.collection());
    Repr::NotRepaired(format!("register `{register}` of `{name}` cannot be rebuilt: {reason}; restore it from a copy"))
        .into()
}

async fn first_segment(store: &dyn Store, layout: &Layout, shards: &[ShardId]) -> Result<Option<Segment>> {
    for shard in shards {
        let log = layout.shard(*shard).log_prefix();
        for listed in retry::transient(|| store.list_after(&log, None, 1)).await? {
            if let Found::There(object) = get(store, &listed.key).await?
                && let Ok(segment) = Segment::decode(object.bytes)
            {
                return Ok(Some(segment));
            }
        }
    }
    Ok(None)
}

/// The rotation of an embedding object that an unpublished fold left, or whose manifest is lost.
async fn written_rotation(store: &dyn Store, layout: &Layout, shards: &[ShardId]) -> Result<Option<u64>> {
    for shard in shards {
        for listed in list(store, &layout.shard(*shard).part_prefix()).await? {
            if listed.key.as_str().ends_with(".emb")
                && let Found::There(object) = get(store, &listed.key).await?
                && let Ok(front) = EmbeddingsFront::open(object.bytes)
            {
                return Ok(Some(front.rotation()));
            }
        }
    }
    Ok(None)
}

/// A register without a copy, from the options, which a segment confirms. Only the fields that they
/// give count.
fn told(layout: &Layout, options: &RepairOptions, segment: Option<Segment>, uid: Uid) -> Result<CollectionConfig> {
    let found = segment.as_ref().map(|segment| segment.header().dimension);
    let by_revision = segment.as_ref().map(Segment::has_revisions);
    let dimension = options.dimension.or(found);
    let (Some(metric), Some(shards), Some(ordering), Some(dimension)) =
        (options.metric, options.shards, options.ordering, dimension)
    else {
        return Err(Error::invalid(format!(
            "register `{}` is lost, and no manifest holds a copy, as nothing was folded yet; say what was chosen at \
             `create`: metric, number of shards, ordering{}",
            layout.collection(),
            if dimension.is_none() { ", dimension" } else { "" }
        )));
    };
    let differs = found.is_some_and(|found| found != dimension)
        || by_revision.is_some_and(|by_revision| by_revision != ordering.is_revision());
    if differs {
        return Err(Error::invalid(format!(
            "segment {} was written with dimension {} and ordered by {}; say so, or leave the dimension out",
            Sequence::FIRST.get().max(segment.as_ref().map_or(1, |segment| segment.header().sequence.get())),
            found.unwrap_or_default(),
            if by_revision == Some(true) { "revision" } else { "the log" },
        )));
    }
    if !(1..=MAX_DIMENSION).contains(&(dimension as usize)) || !(1..=MAX_SHARDS).contains(&shards) {
        return Err(Error::invalid(format!("dimension {dimension} or {shards} shards are out of range")));
    }
    let (created, heads, rotation) = (Timestamp::default(), HeadPlace::Store, 0);
    Ok(CollectionConfig { uid, dimension, metric, shards, ordering, created, heads, rotation })
}
