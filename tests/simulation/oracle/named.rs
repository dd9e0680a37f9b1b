//! The objects of a collection by their keys.

use std::collections::BTreeSet;

use deltafold::format::{Manifest, ObjectName, PartObject, Sequence, ShardId};
use deltafold::store::Key;

/// The kind of object under a key.
pub(super) enum Named {
    Collection,
    Head(ShardId),
    Segment(ShardId, Sequence),
    Manifest(ShardId, ObjectName),
    Part(ShardId, PartObject),
    /// The note of a reset or a drop under way.
    Note,
    Other,
}

pub(super) fn named(key: &Key) -> Named {
    if key.as_str().starts_with("RESET/") || key.as_str().starts_with("DROP/") {
        return Named::Note;
    }
    let parts: Vec<&str> = key.as_str().split('/').skip(1).collect();
    let parsed = || -> Option<Named> {
        match parts[..] {
            ["collection"] => Some(Named::Collection),
            [shard, "head"] => Some(Named::Head(shard.parse().ok()?)),
            [shard, "log", name] => Some(Named::Segment(shard.parse().ok()?, name.parse().ok()?)),
            [shard, "manifest", name] => Some(Named::Manifest(shard.parse().ok()?, name.parse().ok()?)),
            [shard, "part", name] => {
                let (name, kind) = name.rsplit_once('.')?;
                let name = name.parse().ok()?;
                let object = if kind == "meta" { PartObject::Meta(name) } else { PartObject::Embeddings(name) };
                Some(Named::Part(shard.parse().ok()?, object))
            }
            _ => None,
        }
    };
    parsed().unwrap_or(Named::Other)
}

/// The objects that a version refers to.
pub(super) fn objects(manifest: &Manifest) -> BTreeSet<PartObject> {
    let parts = manifest.runs.iter().flat_map(|run| &run.parts).map(|part| PartObject::Meta(part.name));
    parts.chain(manifest.embeddings.iter().map(|entry| PartObject::Embeddings(entry.name))).collect()
}

pub(super) fn object_name(object: PartObject) -> ObjectName {
    match object {
        PartObject::Meta(name) | PartObject::Embeddings(name) => name,
    }
}

pub(super) fn part_key(shard: &str, object: PartObject) -> Key {
    let key = match object {
        PartObject::Meta(name) => format!("{shard}/part/{name}.meta"),
        PartObject::Embeddings(name) => format!("{shard}/part/{name}.emb"),
    };
    Key::new(key).unwrap()
}
