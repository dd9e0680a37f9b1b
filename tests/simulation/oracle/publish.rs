//! A swapped head: its version follows the one before, accounts for the log, and is all there.

use bytes::Bytes;
use deltafold::format::{EditKind, Head, Manifest, ObjectName, ShardId, Version};
use deltafold::store::Key;

use super::named::{Named, named, objects, part_key};
use super::{Checked, Oracle, Sent, Shard, broken};
use crate::checks::*;

impl Oracle {
    /// Handles the replacement of a register.
    pub(crate) fn replaced(
        &mut self,
        sent: Sent,
        key: &Key,
        bytes: &Bytes,
        stored: &dyn Fn(&Key) -> Option<Bytes>,
    ) -> Checked {
        let Named::Head(id) = named(key) else { return Ok(()) };
        let Some(prefix) = key.as_str().strip_suffix("/head") else { return Ok(()) };
        let Some(shard) = self.shards.get_mut(&id) else { return Ok(()) };
        let Ok(head) = Head::decode(bytes.clone()) else { return broken(VERSIONS, format!("{key} is not a head")) };
        let old = shard.head.clone();
        if old.as_ref().is_some_and(|old| old.collection != head.collection) {
            return broken(VERSIONS, format!("the head of shard {id} is swapped by someone of another collection"));
        }
        let name = ObjectName { version: head.version, nonce: head.manifest };
        let manifest = stored(&Key::new(format!("{prefix}/manifest/{name}")).unwrap());
        let Some(manifest) = manifest.and_then(|bytes| Manifest::decode(bytes).ok()) else {
            return broken(PRESENT, format!("the head of shard {id} names manifest {name}, which is not there"));
        };
        let before = old.as_ref().map_or((Version::ZERO, 0), |old| (old.version, old.manifest.get()));
        let made_from = manifest.ancestors.last().map_or((Version::ZERO, 0), |last| (last.version, last.nonce.get()));
        if head.version != before.0.next() || made_from != before || manifest.head() != head {
            let (from, to) = (before.0.get(), head.version.get());
            return broken(
                VERSIONS,
                format!("shard {id} goes from version {from} to {to}, made from {}", made_from.0.get()),
            );
        }
        shard.check_floors(id, &head)?;
        shard.check_sums(id, &manifest)?;
        shard.check_pins(id, &manifest)?;
        for object in objects(&manifest) {
            let key = part_key(prefix, object);
            if stored(&key).is_none() {
                return broken(PRESENT, format!("version {} of shard {id} refers to {key}", head.version.get()));
            }
        }
        self.published.push((sent, manifest.edit.kind));
        shard.versions.insert(head.version, manifest);
        shard.head = Some(head);
        Ok(())
    }
}

impl Shard {
    /// Floors never fall, and never pass what they bound.
    fn check_floors(&self, id: ShardId, head: &Head) -> Checked {
        let is_lower = self.head.as_ref().is_some_and(|old| {
            head.folded < old.folded || head.truncated < old.truncated || head.sweep_floor < old.sweep_floor
        });
        let is_high =
            head.folded > self.last() || head.truncated > head.folded.next() || head.sweep_floor >= head.version;
        if is_lower || is_high {
            let version = head.version.get();
            return broken(VERSIONS, format!("version {version} of shard {id} has floors that fell or rose too far"));
        }
        Ok(())
    }

    /// A version counts exactly the ops of the slots that it has folded.
    fn check_sums(&self, id: ShardId, manifest: &Manifest) -> Checked {
        let (holds, says) = (self.sum(manifest.folded), (manifest.ops, manifest.digest));
        if holds == Some(says) {
            return Ok(());
        }
        let (version, folded) = (manifest.version.get(), manifest.folded.get());
        let (holds, says) = (holds.map_or(0, |sum| sum.0), says.0);
        let detail =
            format!("version {version} of shard {id} says {says} ops, and the log up to {folded} holds {holds}");
        broken(ACCOUNTS, detail)
    }

    /// A pin goes only by its own edit, or by a sweep if it had a time to live.
    fn check_pins(&self, id: ShardId, manifest: &Manifest) -> Checked {
        let before = self.current().map(|before| before.pins.as_slice()).unwrap_or_default();
        let gone: Vec<_> = before.iter().filter(|pin| !manifest.pins.iter().any(|kept| kept.id == pin.id)).collect();
        let may_go = match manifest.edit.kind {
            EditKind::Unpin => gone.len() <= 1,
            EditKind::Sweep => gone.iter().all(|pin| pin.ttl_millis.is_some()),
            _ => gone.is_empty(),
        };
        if may_go {
            return Ok(());
        }
        let (version, kind) = (manifest.version.get(), manifest.edit.kind);
        broken(PINNED, format!("version {version} of shard {id}, a {kind:?}, has lost {gone:?}"))
    }
}
