//! The evidence about a head: the other objects of its shard.

use std::collections::{BTreeMap, BTreeSet};

use deltafold_format::{EditKind, Head, Manifest, Nonce, ObjectName, PartObject, Sequence, Timestamp, Uid, Version};

use super::config::{Found, get, is_newer};
use crate::error::{Error, ErrorKind, Result};
use crate::shard::objects::{name, objects};
use crate::shard::registers::claimed;
use crate::shard::{Shard, Slot};
use crate::snapshot::OpSum;
use crate::store::Tag;

/// Attempts to read a shard while others publish.
const ATTEMPTS: u32 = 8;

/// The head as repair found it.
#[derive(Debug, Clone)]
pub(super) enum HeadFound {
    Missing,
    /// `tag` is `None` where the store does not hand out the object.
    Damaged {
        tag: Option<Tag>,
        why: String,
    },
    Foreign {
        tag: Tag,
        uid: Uid,
    },
    /// A head of this collection, and its manifest or the problem with it.
    Own {
        head: Head,
        tag: Tag,
        manifest: Result<(), String>,
    },
}

/// A manifest, or the reason why it is unusable.
#[derive(Debug, Clone)]
pub(super) struct Looked {
    pub(super) name: ObjectName,
    pub(super) manifest: Result<Box<Manifest>, String>,
}

/// The intact manifests of the highest version.
pub(super) fn candidates(manifests: &[Looked]) -> Vec<&Manifest> {
    let proven = || manifests.iter().filter_map(|looked| looked.manifest.as_deref().ok());
    let highest = proven().map(|manifest| manifest.version).max();
    proven().filter(|manifest| Some(manifest.version) == highest).collect()
}

/// The manifest to continue from. Of several manifests of one version, the objects do not tell
/// which was published. All have the same parent, so each holds the log up to its last fold. The
/// one with the highest floors wins: it needs no object that a sweep under those floors deletes or
/// is still deleting.
pub(super) fn base(manifests: &[Looked]) -> Option<&Manifest> {
    let key = |manifest: &&Manifest| (manifest.sweep_floor, manifest.truncated, manifest.folded, manifest.nonce);
    candidates(manifests).into_iter().max_by_key(key)
}

/// All evidence about a shard.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    pub(super) uid: Uid,
    pub(super) head: HeadFound,
    /// The newest manifests, down to the first version with one that proves itself.
    pub(super) manifests: Vec<Looked>,
    /// The version that a claim names.
    pub(super) claimed: Version,
    /// The highest version that an edit which wrote a part started from.
    pub(super) born: Version,
    /// The taken slots.
    pub(super) log: BTreeSet<Sequence>,
    /// Missing slots behind the last fold of the chosen manifest, in front of a segment of this
    /// collection.
    pub(super) gap: Option<(Sequence, Sequence)>,
    /// For a manifest and a run that repair may have to make.
    pub(super) nonces: [Nonce; 2],
    pub(super) now: Timestamp,
}

/// Reads the evidence. If the head changes meanwhile, it reads everything anew.
pub(super) async fn gather(shard: &Shard) -> Result<Evidence> {
    for _ in 1..ATTEMPTS {
        let evidence = once(shard).await?;
        let HeadFound::Own { tag, .. } = &evidence.head else { return Ok(evidence) };
        let found = get(&**shard.store(), &shard.layout().head()).await?;
        if matches!(found, Found::There(object) if object.tag == *tag) {
            return Ok(evidence);
        }
    }
    once(shard).await
}

/// Reads the head first, and the parts after the manifests that need them. So nothing that is
/// published meanwhile looks lost.
async fn once(shard: &Shard) -> Result<Evidence> {
    let layout = shard.layout();
    let head = head(shard).await?;
    let claimed = claimed(shard).await.or_else(unless_damaged)?;
    let manifests = shard.list(&layout.manifest_prefix(), None, |_| false).await?;
    let parts = shard.list(&layout.part_prefix(), None, |_| false).await?;
    let parts: BTreeMap<PartObject, u64> =
        parts.iter().filter_map(|listed| Some((layout.parse_part(&listed.key)?, listed.bytes))).collect();
    let log = shard.list(&layout.log_prefix(), None, |_| false).await?;
    let log: BTreeSet<Sequence> = log.iter().filter_map(|listed| layout.parse_segment(&listed.key)).collect();
    let head = match head {
        HeadFound::Own { head, tag, manifest } => {
            let manifest = match manifest {
                Ok(()) if head.version > Version::ZERO => named(shard, &head, &parts).await?,
                manifest => manifest,
            };
            HeadFound::Own { head, tag, manifest }
        }
        head => head,
    };
    let names = manifests.iter().rev().filter_map(|listed| layout.parse_manifest(&listed.key)).collect();
    let manifests = looked(shard, names, &parts, &log).await?;
    let mut evidence = Evidence {
        uid: shard.config().uid,
        head,
        manifests,
        claimed,
        born: parts.keys().map(|part| name(*part).version).max().unwrap_or_default(),
        log,
        gap: None,
        nonces: [shard.env().nonce(), shard.env().nonce()],
        now: shard.env().now(),
    };
    evidence.gap = gap(shard, &evidence).await?;
    Ok(evidence)
}

fn unless_damaged(error: Error) -> Result<Version> {
    if error.kind() == ErrorKind::Corrupt { Ok(Version::ZERO) } else { Err(error) }
}

async fn head(shard: &Shard) -> Result<HeadFound> {
    let key = shard.layout().head();
    let object = match get(&**shard.store(), &key).await? {
        Found::Absent => return Ok(HeadFound::Missing),
        Found::Damaged(why) => return Ok(HeadFound::Damaged { tag: None, why }),
        Found::There(object) => object,
    };
    let tag = object.tag;
    match Head::decode(object.bytes) {
        Ok(head) if head.collection == shard.config().uid => Ok(HeadFound::Own { head, tag, manifest: Ok(()) }),
        Ok(head) => Ok(HeadFound::Foreign { tag, uid: head.collection }),
        Err(error) if is_newer(&error) => Err(Error::register(&key, error)),
        Err(error) => Ok(HeadFound::Damaged { tag: Some(tag), why: error.to_string() }),
    }
}

/// The problem with the manifest that a head names.
async fn named(shard: &Shard, head: &Head, parts: &BTreeMap<PartObject, u64>) -> Result<Result<(), String>> {
    let name = ObjectName { version: head.version, nonce: head.manifest };
    Ok(match look(shard, name).await? {
        Some(Ok(manifest)) => proven(&manifest, parts),
        Some(Err(why)) => Err(why),
        None => Err("it is another collection's".to_owned()),
    })
}

/// A manifest; `None` where it belongs to another collection.
async fn look(shard: &Shard, name: ObjectName) -> Result<Option<Result<Manifest, String>>> {
    let key = shard.layout().manifest(name);
    let object = match get(&**shard.store(), &key).await? {
        Found::Absent => return Ok(Some(Err("it is missing".to_owned()))),
        Found::Damaged(why) => return Ok(Some(Err(why))),
        Found::There(object) => object,
    };
    Ok(match Manifest::decode(object.bytes) {
        Err(error) if is_newer(&error) => return Err(Error::format(&key, error)),
        Err(error) => Some(Err(error.to_string())),
        Ok(manifest) if manifest.collection != shard.config().uid => None,
        Ok(manifest) if manifest.name() != name => Some(Err("its content belongs under another name".to_owned())),
        Ok(manifest) => Some(Ok(manifest)),
    })
}

/// Whether all objects of a manifest are there, with the lengths that it lists.
fn proven(manifest: &Manifest, parts: &BTreeMap<PartObject, u64>) -> Result<(), String> {
    let mut sizes: BTreeMap<PartObject, u64> = BTreeMap::new();
    sizes.extend(manifest.runs.iter().flat_map(|run| &run.parts).map(|part| (PartObject::Meta(part.name), part.bytes)));
    sizes.extend(manifest.embeddings.iter().map(|entry| (PartObject::Embeddings(entry.name), entry.bytes)));
    for object in objects(manifest) {
        if parts.get(&object) != sizes.get(&object) {
            return Err(format!("an object that it needs is missing or cut, of name {}", name(object)));
        }
    }
    Ok(())
}

/// The newest manifests of this collection, down to the first version with one that proves itself.
/// It reads no older ones.
async fn looked(
    shard: &Shard,
    names: Vec<ObjectName>,
    parts: &BTreeMap<PartObject, u64>,
    log: &BTreeSet<Sequence>,
) -> Result<Vec<Looked>> {
    let mut looked: Vec<Looked> = Vec::new();
    for name in names {
        let found = looked.iter().find(|looked| looked.manifest.is_ok());
        if found.is_some_and(|found| found.name.version > name.version) {
            break;
        }
        let Some(manifest) = look(shard, name).await? else { continue };
        let manifest = match manifest {
            Err(why) => Err(why),
            Ok(manifest) => match proven(&manifest, parts) {
                Err(why) => Err(why),
                Ok(()) => recounted(shard, &manifest, log).await?.map(|()| Box::new(manifest)),
            },
        };
        looked.push(Looked { name, manifest });
    }
    Ok(looked)
}

/// Checks that a fold added exactly the ops of its segments, where these and the manifest before
/// are still there.
async fn recounted(shard: &Shard, manifest: &Manifest, log: &BTreeSet<Sequence>) -> Result<Result<(), String>> {
    let (Some(run), Some(before)) = (manifest.runs.last(), manifest.ancestors.last()) else { return Ok(Ok(())) };
    let slots: Vec<Sequence> = log.range(run.first..=run.last).copied().collect();
    let whole = slots.len() as u64 == run.last.get() - run.first.get() + 1;
    if manifest.edit.kind != EditKind::Fold || !whole {
        return Ok(Ok(()));
    }
    let before = look(shard, ObjectName { version: before.version, nonce: before.nonce }).await?;
    let Some(Ok(before)) = before else { return Ok(Ok(())) };
    let mut sum = OpSum { ops: before.ops, digest: before.digest };
    for slot in slots {
        match shard.slot(slot).await {
            Ok(Slot::Segment(segment)) => sum.add(segment.header().ops.into(), segment.header().digest),
            Ok(_) => {}
            // `verify` reports damage elsewhere.
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(Ok(())),
            Err(error) => return Err(error),
        }
    }
    let same = (sum.ops, sum.digest) == (manifest.ops, manifest.digest);
    Ok(if same { Ok(()) } else { Err("its count of ops, or their digest, is not that of its segments".to_owned()) })
}

/// The missing slots behind the last fold of the chosen manifest. A segment of a dropped
/// collection, behind the end of the log, proves no gap.
async fn gap(shard: &Shard, evidence: &Evidence) -> Result<Option<(Sequence, Sequence)>> {
    let folded = base(&evidence.manifests).map_or(Sequence::ZERO, |base| base.folded);
    let first = folded.next();
    if evidence.log.contains(&first) {
        return Ok(None);
    }
    for slot in evidence.log.range(first..) {
        match shard.slot(*slot).await {
            Ok(Slot::Void | Slot::Absent) => {}
            Ok(Slot::Segment(_)) => return Ok(Some((first, slot.prev()))),
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(Some((first, slot.prev()))),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
