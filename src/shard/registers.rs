//! Registers that are lost, or were put back from a copy: the proof from the other objects.

use deltafold_format::{Claim, CollectionConfig, Head, Manifest, Nonce, ObjectName, Version};

use super::objects::objects;
use super::{LIST_PAGE, Shard};
use crate::drop_note;
use crate::error::{Error, Repr, Result};
use crate::layout::ShardLayout;
use crate::retry;
use crate::store::Key;

/// The reason why a head is missing, or belongs to another collection: the collection was dropped,
/// or the register is lost. Called only for such a head. Up to three GETs, a LIST of the manifests
/// and one of the parts.
///
/// A drop deletes the collection register before the heads. So a head is lost if it is missing
/// while that register is there, with the uid of this handle.
pub(crate) async fn explain(shard: &Shard, foreign: Option<&Head>) -> Error {
    match is_lost(shard).await {
        Err(error) => error,
        Ok(false) => Repr::Dropped(shard.name().clone()).into(),
        Ok(true) => {
            let why = match foreign {
                None => "is missing, though the collection was not dropped".to_owned(),
                Some(head) => format!("belongs to another collection, {}", head.collection),
            };
            lost(shard, &shard.layout().head(), why)
        }
    }
}

/// The error of a register that is missing, foreign or outdated.
pub(crate) fn lost(shard: &Shard, key: &Key, why: String) -> Error {
    Repr::LostRegister { key: key.clone(), name: shard.name().clone(), why }.into()
}

async fn is_lost(shard: &Shard) -> Result<bool> {
    let uid = shard.config().uid;
    let key = shard.collection_register();
    if let Some(register) = retry::transient(|| shard.store().get(&key)).await? {
        // No drop has deleted a register that cannot be read.
        return Ok(CollectionConfig::decode(register.bytes).map_or(true, |config| config.uid == uid));
    }
    if drop_note::is_dropping(&**shard.store(), shard.name(), Some(uid)).await? {
        return Ok(false);
    }
    proves_itself(shard).await
}

/// Whether the newest manifest of this collection is there with all the objects that it needs. A
/// compactor that slept through a drop may leave one alone.
async fn proves_itself(shard: &Shard) -> Result<bool> {
    let manifests = shard.list(&shard.layout().manifest_prefix(), None, |_| false).await?;
    for listed in manifests.iter().rev() {
        let Some(object) = retry::transient(|| shard.store().get(&listed.key)).await? else { continue };
        let Ok(manifest) = Manifest::decode(object.bytes) else { continue };
        if manifest.collection != shard.config().uid {
            continue;
        }
        let needed = objects(&manifest);
        let parts = shard.list(&shard.layout().part_prefix(), None, |_| false).await?;
        let there = |object| parts.iter().any(|listed| listed.key == shard.layout().part(object));
        return Ok(!needed.is_empty() && needed.into_iter().all(there));
    }
    Ok(false)
}

/// A manifest that proves `head` outdated: a register that was put back from a copy. `None` where
/// no manifest proves it. One LIST as a rule, and a GET for each manifest found.
///
/// The parent of a manifest of version `n` is version `n - 1`, so that was published. A manifest of
/// the version behind the head's proves nothing: its maker may have lost the race.
pub(crate) async fn newer(shard: &Shard, head: &Head) -> Result<Option<ObjectName>> {
    let layout = shard.layout();
    let from = ObjectName { version: head.version.next().next(), nonce: Nonce::new(0) };
    let mut after = layout.manifest(from);
    loop {
        let prefix = layout.manifest_prefix();
        let page = retry::transient(|| shard.store().list_after(&prefix, Some(&after), LIST_PAGE)).await?;
        for listed in page.iter().rev() {
            if let Some(name) = layout.parse_manifest(&listed.key)
                && is_own(shard, layout, name).await?
            {
                return Ok(Some(name));
            }
        }
        match page.last() {
            Some(last) if page.len() == LIST_PAGE => after = last.key.clone(),
            _ => return Ok(None),
        }
    }
}

/// Whether a manifest belongs to this collection. Another one of the same name may have left it.
async fn is_own(shard: &Shard, layout: &ShardLayout, name: ObjectName) -> Result<bool> {
    let key = layout.manifest(name);
    let Some(object) = retry::transient(|| shard.store().get(&key)).await? else { return Ok(false) };
    let manifest = Manifest::decode(object.bytes);
    Ok(manifest.is_ok_and(|manifest| manifest.collection == shard.config().uid && manifest.name() == name))
}

/// The version that a claim of this collection names. The claimant had seen it. One GET.
pub(crate) async fn claimed(shard: &Shard) -> Result<Version> {
    let key = shard.layout().claim();
    let claim = retry::transient(|| shard.store().get(&key)).await?;
    let claim = claim.and_then(|object| Claim::decode(object.bytes).ok());
    let claim = claim.filter(|claim| claim.collection == shard.config().uid);
    Ok(claim.map_or(Version::ZERO, |claim| claim.version))
}

/// The proof that a head was put back from an old copy: a manifest, or a claim of a later version.
/// `None` without a proof, or where the head has moved since. A LIST and a GET as a rule.
pub(crate) async fn put_back(shard: &Shard, head: &Head) -> Result<Option<String>> {
    let newer = newer(shard, head).await?.map(|name| format!("`{}`", shard.layout().manifest(name)));
    let claim = || format!("`{}`", shard.layout().claim());
    let shows = match newer {
        Some(newer) => Some(newer),
        None => (claimed(shard).await? > head.version).then(claim),
    };
    let Some(shows) = shows else { return Ok(None) };
    let now = shard.head().await?.head;
    Ok((now == *head).then(|| format!("{}; run `repair {}`", old(head, &shows), shard.name())))
}

/// Refuses a head for which [`newer`] has found a manifest, if it is still the same.
pub(crate) async fn refuse_old(shard: &Shard, head: &Head, newer: ObjectName) -> Result<()> {
    // Others may have published since the head was read.
    if shard.head().await?.head != *head {
        return Ok(());
    }
    let manifest = format!("`{}`", shard.layout().manifest(newer));
    Err(lost(shard, &shard.layout().head(), old(head, &manifest)))
}

/// States that a head is older than `newer` proves.
fn old(head: &Head, newer: &str) -> String {
    format!("names version {}, and {newer} shows that a later one was published: it is an old copy", head.version.get())
}
