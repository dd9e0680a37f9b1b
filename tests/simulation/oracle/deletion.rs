//! A deletion takes only objects that no version left and no edit under way can need.

use std::collections::{BTreeMap, BTreeSet};

use deltafold::format::{PartObject, Sequence, ShardId};
use deltafold::store::Key;

use super::named::{Named, named, object_name, objects};
use super::{Checked, Oracle, Shard, broken};
use crate::checks::*;

impl Oracle {
    /// Handles a delete before it happens.
    pub(crate) fn deleted(&mut self, keys: &[Key]) -> Checked {
        self.dropping |= keys.iter().any(|key| matches!(named(key), Named::Collection));
        if self.dropping {
            for key in keys {
                if let Named::Head(shard) = named(key) {
                    self.shards.remove(&shard);
                }
            }
            return Ok(());
        }
        let mut needed: BTreeMap<ShardId, BTreeSet<PartObject>> = BTreeMap::new();
        for key in keys {
            let why = match named(key) {
                Named::Note => None,
                Named::Collection | Named::Head(_) | Named::Other => Some("it is a register"),
                Named::Segment(id, sequence) => {
                    let truncated = self.shards.get(&id).map_or(Sequence::FIRST, Shard::truncated);
                    (sequence >= truncated).then_some("the log is not truncated so far")
                }
                Named::Manifest(id, name) => {
                    let Some(shard) = self.shards.get(&id) else { continue };
                    let retained = shard.retained().iter().any(|manifest| manifest.name() == name);
                    (retained || name.version >= shard.floor()).then_some("its version can still be read")
                }
                Named::Part(id, object) => {
                    let Some(shard) = self.shards.get(&id) else { continue };
                    let needed = needed
                        .entry(id)
                        .or_insert_with(|| shard.retained().iter().flat_map(|manifest| objects(manifest)).collect());
                    if needed.contains(&object) {
                        Some("a version that can still be read refers to it")
                    } else if object_name(object).version >= shard.floor() {
                        Some("an edit under way may add it")
                    } else {
                        None
                    }
                }
            };
            if let Some(why) = why {
                return broken(DELETED, format!("{key}: {why}"));
            }
        }
        Ok(())
    }
}
