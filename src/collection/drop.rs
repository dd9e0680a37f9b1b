//! Drops a collection, in an order that a later drop can resume.

use deltafold_format::limits::MAX_SHARDS;
use deltafold_format::{CollectionConfig, CollectionName, Head, ShardId, Timestamp, Uid};

use super::Collection;
use crate::drop_note::{self, Note};
use crate::error::{Error, Repr, Result};
use crate::layout::Layout;
use crate::retry;
use crate::store::{Key, Store};

/// The totals of a drop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DropReport {
    /// Objects deleted.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Collection {
    /// Deletes a collection and all its objects, and finishes an interrupted drop. From beginning
    /// to end a note says that this is a drop and not damage. The register goes first, so that no
    /// process opens the collection any more. The heads go next, so that the store refuses writers
    /// and compactors with an open handle. Then the rest goes.
    ///
    /// While the note is there, no collection can be created under the name, and each delete checks
    /// the note first. So a drop that slept while another one ended deletes nothing of a newer
    /// collection.
    ///
    /// Reports the progress to `each`. One LIST, one GET and one delete for each 1,000 objects, and
    /// ten requests more.
    ///
    /// # Errors
    ///
    /// `NotFound` where no object of this name is there; `Conflict` where another drop ended first
    /// and a new collection has the name.
    pub async fn drop_collection(
        store: &dyn Store,
        name: &CollectionName,
        mut each: impl FnMut(DropReport),
    ) -> Result<DropReport> {
        let layout = Layout::new(name.clone());
        let uid = uid(store, &layout).await?;
        let prefix = layout.prefix();
        let anything = retry::transient(|| store.list_after(&prefix, None, 1)).await?;
        let was_broken_off = drop_note::is_dropping(store, name, uid).await?;
        if anything.is_empty() && !was_broken_off {
            return Err(Repr::NoCollection(name.clone()).into());
        }
        let note = Note::write(store, name, uid).await?;
        let now = self::uid(store, &layout).await?;
        let mut drop = Drop { store, name, layout, note, report: DropReport::default() };
        // Another process may have dropped and recreated the collection before the note was there.
        if now.is_some() && now != uid {
            drop.note.withdraw(store).await?;
            return Err(made_anew(name));
        }
        if !drop.objects(&mut each).await? {
            return drop.overtaken().await;
        }
        drop.note.remove(store).await?;
        Ok(drop.report)
    }
}

/// A drop under way.
struct Drop<'a> {
    store: &'a dyn Store,
    name: &'a CollectionName,
    layout: Layout,
    note: Note,
    report: DropReport,
}

impl Drop<'_> {
    /// Deletes all objects; false where another drop has ended meanwhile.
    async fn objects(&mut self, each: &mut impl FnMut(DropReport)) -> Result<bool> {
        let store = self.store;
        let register = self.layout.collection();
        let bytes: Vec<u64> = retry::transient(|| store.list_after(register.as_str(), None, 1))
            .await?
            .iter()
            .filter_map(|listed| (listed.key == register).then_some(listed.bytes))
            .collect();
        if !self.delete(std::slice::from_ref(&register)).await? {
            return Ok(false);
        }
        self.report.objects += bytes.len() as u64;
        self.report.bytes += bytes.iter().sum::<u64>();
        // Another drop may have removed it without making the removal durable.
        retry::transient(|| store.settle(&register)).await?;
        let heads = self.heads().await?;
        for batch in heads.chunks(1_000) {
            if !self.delete(batch).await? {
                return Ok(false);
            }
        }
        self.report.objects += heads.len() as u64;
        let prefix = self.layout.prefix();
        loop {
            let page = retry::transient(|| store.list_after(&prefix, None, 1_000)).await?;
            if page.is_empty() {
                break;
            }
            let keys: Vec<Key> = page.iter().map(|listed| listed.key.clone()).collect();
            if !self.delete(&keys).await? {
                return Ok(false);
            }
            self.report.objects += page.len() as u64;
            self.report.bytes += page.iter().map(|listed| listed.bytes).sum::<u64>();
            each(self.report);
        }
        self.settle(heads.len()).await?;
        self.note.stands(store).await
    }

    async fn heads(&self) -> Result<Vec<Key>> {
        let mut heads = Vec::new();
        for shard in ShardId::all(MAX_SHARDS) {
            let key = self.layout.shard(shard).head();
            if retry::transient(|| self.store.list_after(key.as_str(), None, 1)).await?.is_empty() {
                break;
            }
            heads.push(key);
        }
        Ok(heads)
    }

    /// Deletes objects that were listed while the note stood. False, without a delete, where the
    /// note is gone.
    async fn delete(&self, keys: &[Key]) -> Result<bool> {
        if !self.note.stands(self.store).await? {
            return Ok(false);
        }
        retry::transient(|| self.store.delete(keys)).await?;
        Ok(true)
    }

    /// Makes removals durable, also those that a sweep or another drop made a moment ago.
    ///
    /// If that other one removed the heads, the number of shards is unknown. A power loss may then
    /// bring back objects of other shards. The next `create` reports them.
    async fn settle(&self, heads: usize) -> Result<()> {
        let shards = ShardId::all(MAX_SHARDS).take(heads.max(1));
        for key in shards.flat_map(|shard| self.layout.shard(shard).one_of_each()) {
            retry::transient(|| self.store.settle(&key)).await?;
        }
        let (prefix, all) = (self.layout.prefix(), Timestamp::from_millis(i64::MAX));
        retry::transient(|| self.store.abort_uploads(&prefix, all, false)).await?;
        Ok(())
    }

    /// Another drop has ended. This one has nothing left to do, unless a new collection has the
    /// name.
    async fn overtaken(self) -> Result<DropReport> {
        let prefix = self.layout.prefix();
        let left = retry::transient(|| self.store.list_after(&prefix, None, 1)).await?;
        if left.is_empty() {
            return Ok(self.report);
        }
        Err(made_anew(self.name))
    }
}

fn made_anew(name: &CollectionName) -> Error {
    let problem = format!(
        "another drop of `{name}` ended first, and a collection was made anew under the name; this drop \
         left it alone. To delete that one too, run `drop {name}` again"
    );
    Repr::Conflict(problem).into()
}

/// The uid of the dropped collection, if a register tells it.
async fn uid(store: &dyn Store, layout: &Layout) -> Result<Option<Uid>> {
    let (register, head) = (layout.collection(), layout.shard(ShardId::default()).head());
    let register = retry::transient(|| store.get(&register)).await;
    if let Ok(Some(register)) = register
        && let Ok(config) = CollectionConfig::decode(register.bytes)
    {
        return Ok(Some(config.uid));
    }
    let head = retry::transient(|| store.get(&head)).await;
    Ok(head.ok().flatten().and_then(|head| Head::decode(head.bytes).ok()).map(|head| head.collection))
}
