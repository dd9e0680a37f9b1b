//! Dropping a collection, in an order that can be broken off and taken up again.

use deltafold_format::limits::MAX_SHARDS;
use deltafold_format::{CollectionConfig, CollectionName, Head, ShardId, Timestamp, Uid};

use super::Collection;
use crate::drop_note::{self, Note};
use crate::error::{Error, Repr, Result};
use crate::layout::Layout;
use crate::retry;
use crate::store::{Key, Store};

/// What dropping removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DropReport {
    /// Objects deleted.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Collection {
    /// Deletes a collection and all its objects; finishes a drop that was broken off. A note says
    /// from the beginning to the end that this is a drop and no damage. The register goes first, so
    /// that nobody opens the collection any more. The heads go next, so that writers and compactors
    /// with an open handle are refused; then the rest.
    ///
    /// No collection can be created under the name while the note is there, and each delete looks
    /// for it first. A drop that slept while another one ended deletes nothing of a collection made
    /// since.
    ///
    /// `each` hears of the progress. One LIST, one GET and one delete for each 1,000 objects, and
    /// ten requests more.
    ///
    /// # Errors
    ///
    /// `NotFound` where nothing of this name is there; `Conflict` where another drop ended first
    /// and the collection was made anew.
    pub async fn drop(
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
        // The collection may have been dropped and made anew before the note was there.
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
        // Somebody else may have removed it, and not have come so far that it stays so.
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

    /// Deletes objects that were seen while the note stood, if it still stands; false where it does
    /// not.
    async fn delete(&self, keys: &[Key]) -> Result<bool> {
        if !self.note.stands(self.store).await? {
            return Ok(false);
        }
        retry::transient(|| self.store.delete(keys)).await?;
        Ok(true)
    }

    /// Makes sure that removals stay, also those that a sweep or another drop made a moment ago.
    ///
    /// Where the heads were among these, nobody knows the number of shards any more. A power loss
    /// may then bring back objects of the other shards, and the next `create` tells of them.
    async fn settle(&self, heads: usize) -> Result<()> {
        let shards = ShardId::all(MAX_SHARDS).take(heads.max(1));
        for key in shards.flat_map(|shard| self.layout.shard(shard).one_of_each()) {
            retry::transient(|| self.store.settle(&key)).await?;
        }
        let (prefix, all) = (self.layout.prefix(), Timestamp::from_millis(i64::MAX));
        retry::transient(|| self.store.abort_uploads(&prefix, all, false)).await?;
        Ok(())
    }

    /// Another drop has ended: this one has nothing left to do, unless there is a new collection.
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

/// The uid of what is dropped, if a register tells it.
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
