//! Dropping a collection, in an order that can be broken off and taken up again.

use deltafold_format::{CollectionConfig, CollectionName, Head, ShardId, Timestamp, Uid};

use super::Collection;
use crate::drop_note;
use crate::error::{Repr, Result};
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
    /// Deletes a collection and all its objects; finishes a drop that was broken off. A note says from the beginning to
    /// the end that this is a drop and no damage. The register goes first, so that nobody opens the collection any more.
    /// The heads go next, so that writers and compactors with an open handle are refused; then the rest.
    ///
    /// `each` hears of the progress. One LIST and one delete for each 1,000 objects, and six requests more.
    ///
    /// # Errors
    ///
    /// `NotFound` where nothing of this name is there.
    pub async fn drop(
        store: &dyn Store,
        name: &CollectionName,
        mut each: impl FnMut(DropReport),
    ) -> Result<DropReport> {
        let layout = Layout::new(name.clone());
        let mut report = DropReport::default();
        let prefix = layout.prefix();
        let uid = uid(store, &layout).await?;
        let anything = retry::transient(|| store.list_after(&prefix, None, 1)).await?;
        let was_broken_off = drop_note::is_dropping(store, name, uid).await?;
        if anything.is_empty() && !was_broken_off {
            return Err(Repr::NoCollection(name.clone()).into());
        }
        drop_note::write(store, name, uid).await?;
        let register = layout.collection();
        for listed in retry::transient(|| store.list_after(register.as_str(), None, 1)).await? {
            if listed.key == register {
                report.objects += 1;
                report.bytes += listed.bytes;
            }
        }
        retry::transient(|| store.delete(std::slice::from_ref(&register))).await?;
        // Somebody else may have removed it, and not have come so far that it stays so.
        retry::transient(|| store.settle(&register)).await?;
        let mut heads: Vec<Key> = Vec::new();
        for shard in deltafold_format::ShardId::all(deltafold_format::limits::MAX_SHARDS) {
            let key = layout.shard(shard).head();
            let found = retry::transient(|| store.list_after(key.as_str(), None, 1)).await?;
            if found.is_empty() {
                break;
            }
            heads.push(key);
        }
        for batch in heads.chunks(1_000) {
            retry::transient(|| store.delete(batch)).await?;
        }
        report.objects += heads.len() as u64;
        loop {
            let page = retry::transient(|| store.list_after(&prefix, None, 1_000)).await?;
            if page.is_empty() {
                break;
            }
            let keys: Vec<Key> = page.iter().map(|listed| listed.key.clone()).collect();
            retry::transient(|| store.delete(&keys)).await?;
            report.objects += page.len() as u64;
            report.bytes += page.iter().map(|listed| listed.bytes).sum::<u64>();
            each(report);
        }
        // What was gone already, as somebody swept or dropped it a moment ago, stays so. How many shards there were is not known any more where the heads were among that: then
        // a failure of the power may bring back objects of the others, and whoever makes the collection again is told.
        let shards = deltafold_format::ShardId::all(deltafold_format::limits::MAX_SHARDS).take(heads.len().max(1));
        for key in shards.flat_map(|shard| layout.shard(shard).one_of_each()) {
            retry::transient(|| store.settle(&key)).await?;
        }
        let all = Timestamp::from_millis(i64::MAX);
        retry::transient(|| store.abort_uploads(&prefix, all, false)).await?;
        drop_note::remove(store, name).await?;
        Ok(report)
    }
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
