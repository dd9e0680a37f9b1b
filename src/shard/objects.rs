//! The objects that a manifest refers to.

use std::collections::BTreeSet;

use deltafold_format::{Manifest, ObjectName, PartObject, Run};

/// Every part and embedding object of a snapshot.
pub(crate) fn objects(manifest: &Manifest) -> BTreeSet<PartObject> {
    let parts = manifest.runs.iter().flat_map(|run| &run.parts).map(|part| PartObject::Meta(part.name));
    parts.chain(manifest.embeddings.iter().map(|entry| PartObject::Embeddings(entry.name))).collect()
}

/// The embedding objects that a run's parts refer to.
pub(crate) fn run_embeddings(run: &Run) -> BTreeSet<ObjectName> {
    run.parts.iter().flat_map(|part| part.embeddings.iter().copied()).collect()
}

/// The name in an object's key.
pub(crate) fn name(object: PartObject) -> ObjectName {
    match object {
        PartObject::Meta(name) | PartObject::Embeddings(name) => name,
    }
}
