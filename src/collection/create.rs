//! Creates a collection. Each head claims the name; the collection register decides.

use std::sync::Arc;
use std::time::Duration;

use deltafold_format::limits::{MAX_DIMENSION, MAX_SHARDS};
use deltafold_format::{CollectionConfig, CollectionName, Head, Metric, Ordering, ShardId, Uid};

use super::remains::{Remains, remains};
use super::{Collection, CollectionBuilder};
use crate::env::Env;
use crate::error::{Error, Repr, Result};
use crate::layout::Layout;
use crate::retry;
use crate::setters::setters;
use crate::store::{Key, Object, Outcome, Store, probe};

/// The settings of a new collection. They never change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreateOptions {
    /// Length of every embedding, 1 to 65,536.
    pub dimension: u32,
    /// The distance metric.
    pub metric: Metric,
    /// Number of shards, 1 to 4,096. Each is a log of its own; one holds a million records well.
    pub shards: u16,
    /// The rule that decides between several ops on one record. The later one in the log wins, or
    /// the one of the higher [revision](deltafold_format::Revision) in any order of arrival.
    pub ordering: Ordering,
}

setters!(CreateOptions { metric: Metric, shards: u16, ordering: Ordering } new: dimension);

impl CreateOptions {
    /// One shard, squared Euclidean distance, ordered by the log.
    pub fn new(dimension: u32) -> Self {
        Self { dimension, metric: Metric::default(), shards: 1, ordering: Ordering::Log }
    }

    /// Those of another collection.
    pub fn like(config: &CollectionConfig) -> Self {
        let CollectionConfig { dimension, metric, shards, ordering, .. } = *config;
        Self { dimension, metric, shards, ordering }
    }

    /// The same, ordered by revision, with this retention of tombstones. For that long no op of a
    /// lower revision brings back a deleted record. [`KEEP_TOMBSTONES`] is a good choice: SQS keeps
    /// no message longer.
    #[must_use]
    pub fn by_revision(self, keep_tombstones: Duration) -> Self {
        let keep_tombstones_millis = u64::try_from(keep_tombstones.as_millis()).unwrap_or(u64::MAX);
        Self { ordering: Ordering::Revision { keep_tombstones_millis }, ..self }
    }
}

/// The default retention of tombstones in a collection ordered by revision: 14 days.
pub const KEEP_TOMBSTONES: Duration = Duration::from_secs(14 * 24 * 60 * 60);

impl Collection {
    /// Creates a collection. Of several callers with one name exactly one succeeds. Costs one LIST,
    /// one PUT for each shard and one more.
    ///
    /// In S3 and services like it, `create` probes the bucket first (about 80 requests) and refuses
    /// one that ignores the conditions of writes. A crash on the way does not block a later
    /// `create` of the same name.
    ///
    /// # Errors
    ///
    /// `Unfit` where the store does not keep the [contract](crate::store); `Storage` or
    /// `Unavailable` where it cannot be reached or used; `AlreadyExists` where the name is taken,
    /// or objects of a dropped collection remain under it; `InvalidInput` for options out of range.
    pub async fn create(store: Arc<dyn Store>, name: &CollectionName, options: &CreateOptions) -> Result<Self> {
        Self::builder(store, name).create(options).await
    }

    /// Probes a store that may not keep the contract, as `create` does first.
    pub(crate) async fn probe_for_create(store: &dyn Store) -> Result<()> {
        if store.is_to_be_probed() { Self::fits(store, &probe(store).await?) } else { Ok(()) }
    }
}

impl CollectionBuilder {
    /// Creates the collection, as [`Collection::create`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Collection::create`].
    pub async fn create(&self, options: &CreateOptions) -> Result<Collection> {
        check(options)?;
        Collection::probe_for_create(&*self.store).await?;
        self.create_unprobed(options).await
    }

    /// Creates the collection in a store that has passed the probe.
    pub(crate) async fn create_unprobed(&self, options: &CreateOptions) -> Result<Collection> {
        check(options)?;
        let Self { store, name, env, .. } = self;
        let layout = Layout::new(name.clone());
        let uid = claim_name(&**store, &layout, options.shards, &**env).await?;
        let config = CollectionConfig {
            uid,
            dimension: options.dimension,
            metric: options.metric,
            shards: options.shards,
            ordering: options.ordering,
            created: env.now(),
            heads: store.heads(),
            rotation: env.random(),
        };
        let key = layout.collection();
        if !create_register(&**store, &key, &config.encode(), |found| {
            CollectionConfig::decode(found.bytes).is_ok_and(|found| found == config)
        })
        .await?
        {
            return Err(Repr::CollectionExists(name.clone()).into());
        }
        Ok(self.assemble(config))
    }
}

/// Checks that options are within the limits.
fn check(options: &CreateOptions) -> Result<()> {
    if options.dimension == 0 || options.dimension as usize > MAX_DIMENSION {
        let dimension = options.dimension;
        return Err(Error::invalid(format!("dimension {dimension} is out of range: choose 1 to {MAX_DIMENSION}")));
    }
    if options.shards == 0 || options.shards > MAX_SHARDS {
        let shards = options.shards;
        return Err(Error::invalid(format!("{shards} shards are out of range: choose 1 to {MAX_SHARDS}")));
    }
    Ok(())
}

/// Creates the heads of a new collection and returns their uid.
///
/// It adopts heads that an earlier, unfinished `create` left, with their uid. So concurrent
/// creators agree on one uid, and the collection register decides between them.
async fn claim_name(store: &dyn Store, layout: &Layout, shards: u16, env: &dyn Env) -> Result<Uid> {
    let collection = layout.collection();
    if retry::transient(|| store.get(&collection)).await?.is_some() {
        return Err(Repr::CollectionExists(layout.name().clone()).into());
    }
    let leftovers = |key: &Key| Repr::Leftovers { name: layout.name().clone(), key: key.clone() };
    let found = remains(store, layout).await?;
    // Another caller may have created it since the first look.
    if found != Remains::Free && retry::transient(|| store.get(&collection)).await?.is_some() {
        return Err(Repr::CollectionExists(layout.name().clone()).into());
    }
    match found {
        Remains::Free => {}
        Remains::Dropping(Some(key)) | Remains::Leftover(key) => return Err(leftovers(&key).into()),
        Remains::Dropping(None) => return Err(Repr::HalfDropped(layout.name().clone()).into()),
        Remains::Lost(key) => {
            let name = layout.name().clone();
            return Err(Repr::RegisterGone { register: collection, name, key }.into());
        }
    }
    let mut uid = env.uid();
    for shard in ShardId::all(shards) {
        let key = layout.shard(shard).head();
        let head = Head::empty(uid);
        let mut adopted = None;
        let ours = create_register(store, &key, &head.encode(), |found| {
            adopted = Head::decode(found.bytes).ok();
            adopted.as_ref() == Some(&head)
        })
        .await?;
        if !ours {
            // Only the first shard's head decides the uid: its creator makes or adopts the others
            // with the same one.
            let usable = adopted.filter(|found| *found == Head::empty(found.collection));
            match usable {
                Some(found) if shard.get() == 0 => uid = found.collection,
                Some(found) if found.collection == uid => {}
                _ => return Err(leftovers(&key).into()),
            }
        }
    }
    Ok(uid)
}

/// Creates a register and retries until the outcome is known; false where another is there that is
/// not `ours`.
async fn create_register(
    store: &dyn Store,
    key: &Key,
    content: &bytes::Bytes,
    mut ours: impl FnMut(Object) -> bool,
) -> Result<bool> {
    let created = retry::transient(|| async {
        match store.create(key, vec![content.clone()]).await? {
            Outcome::Done(_) => Ok(true),
            Outcome::Refused => Ok(false),
            Outcome::Unknown(error) => Err(error),
        }
    })
    .await?;
    if created {
        return Ok(true);
    }
    let found = retry::transient(|| store.get(key)).await?;
    Ok(found.is_some_and(&mut ours))
}
