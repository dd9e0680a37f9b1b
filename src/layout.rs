//! The keys of a collection's objects. `format/SPEC.md`, section "Keys", is the norm.

use deltafold_format::{CollectionName, ObjectName, PartObject, Sequence, ShardId};

use crate::store::Key;

/// The keys of one collection.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    name: CollectionName,
}

/// The keys of one shard.
#[derive(Debug, Clone)]
pub(crate) struct ShardLayout {
    prefix: String,
}

fn key(text: String) -> Key {
    Key::new(text).expect("collection names, shards, sequence numbers and object names hold only characters of keys")
}

impl Layout {
    pub(crate) fn new(name: CollectionName) -> Self {
        Self { name }
    }

    pub(crate) fn name(&self) -> &CollectionName {
        &self.name
    }

    /// The prefix of all keys of the collection.
    pub(crate) fn prefix(&self) -> String {
        format!("{}/", self.name)
    }

    pub(crate) fn collection(&self) -> Key {
        key(format!("{}/collection", self.name))
    }

    pub(crate) fn shard(&self, shard: ShardId) -> ShardLayout {
        ShardLayout { prefix: format!("{}/{shard}", self.name) }
    }
}

impl ShardLayout {
    /// The prefix of all keys of the shard.
    pub(crate) fn prefix(&self) -> String {
        format!("{}/", self.prefix)
    }

    pub(crate) fn head(&self) -> Key {
        key(format!("{}/head", self.prefix))
    }

    pub(crate) fn claim(&self) -> Key {
        key(format!("{}/claim", self.prefix))
    }

    pub(crate) fn segment(&self, sequence: Sequence) -> Key {
        key(format!("{}/log/{sequence}", self.prefix))
    }

    pub(crate) fn log_prefix(&self) -> String {
        format!("{}/log/", self.prefix)
    }

    /// The segment that a listed key names; `None` where it names none.
    pub(crate) fn parse_segment(&self, key: &Key) -> Option<Sequence> {
        key.as_str().strip_prefix(&self.log_prefix())?.parse().ok()
    }

    pub(crate) fn manifest(&self, name: ObjectName) -> Key {
        key(format!("{}/manifest/{name}", self.prefix))
    }

    /// A key in each folder of the shard's objects, for settling them.
    pub(crate) fn one_of_each(&self) -> [Key; 4] {
        let none = ObjectName::default();
        [self.head(), self.segment(Sequence::FIRST), self.manifest(none), self.part(PartObject::Meta(none))]
    }

    pub(crate) fn manifest_prefix(&self) -> String {
        format!("{}/manifest/", self.prefix)
    }

    pub(crate) fn parse_manifest(&self, key: &Key) -> Option<ObjectName> {
        key.as_str().strip_prefix(&self.manifest_prefix())?.parse().ok()
    }

    pub(crate) fn part(&self, object: PartObject) -> Key {
        match object {
            PartObject::Meta(name) => key(format!("{}/part/{name}.meta", self.prefix)),
            PartObject::Embeddings(name) => key(format!("{}/part/{name}.emb", self.prefix)),
        }
    }

    pub(crate) fn part_prefix(&self) -> String {
        format!("{}/part/", self.prefix)
    }

    pub(crate) fn parse_part(&self, key: &Key) -> Option<PartObject> {
        let name = key.as_str().strip_prefix(&self.part_prefix())?;
        match name.rsplit_once('.')? {
            (name, "meta") => Some(PartObject::Meta(name.parse().ok()?)),
            (name, "emb") => Some(PartObject::Embeddings(name.parse().ok()?)),
            _ => None,
        }
    }
}
