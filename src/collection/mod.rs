//! A collection: opening it, and the entry points to everything that works on it.

mod builder;
mod cold;
mod create;
mod drop;
mod fit;
mod latest;
mod remains;
mod repair;
mod reset;
mod status;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use deltafold_format::limits::MAX_PIN_NAME;
use deltafold_format::{CollectionConfig, CollectionName, Pin, ShardId, Version};

use crate::compact::{Compactor, CompactorOptions, KeepUp, SweepOptions, SweepReport, sweep};
use crate::env::Env;
use crate::error::{Error, Repr, Result};
use crate::layout::Layout;
use crate::log::{BacklogLimit, Follow, FollowOptions, Writer, WriterOptions, high_water_marks};
use crate::memory::MemoryLimit;
use crate::query::Exactness;
use crate::reader::{Ahead, At, Reader, Tier};
use crate::retry;
use crate::shard::Shard;
use crate::snapshot::{Current, Edit, publish};
use crate::store::{Key, Store};

use remains::{Remains, remains};

pub use builder::CollectionBuilder;
pub use create::{CreateOptions, KEEP_TOMBSTONES};
pub use drop::DropReport;
pub use latest::Latest;
pub use repair::{RepairOptions, RepairReport, RepairStep};
pub use reset::{Reset, ThenExecute};
pub use status::{CollectionStatus, History, HistoryEntry, PinStatus, RunStatus, ShardStatus};
pub use verify::{Depth, Finding, VerifyReport};

/// An open collection. Cheap to clone; holds no connection and no lock.
///
/// ```
/// use std::sync::Arc;
/// use deltafold::store::Memory;
/// use deltafold::{Collection, CreateOptions, Depth};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Arc::new(Memory::new());
/// let name = "articles".parse()?;
/// let collection = Collection::create(store.clone(), &name, &CreateOptions::new(2).shards(4)).await?;
/// assert_eq!(collection.config().shards, 4);
///
/// // Another process opens it by its name.
/// let collection = Collection::open(store.clone(), &name).await?;
/// assert_eq!(Collection::list(&*store).await?, [name]);
/// assert!(collection.verify(Depth::Quick, |_| ()).await?.is_sound());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Collection {
    layout: Layout,
    config: Arc<CollectionConfig>,
    store: Arc<dyn Store>,
    shards: Vec<Shard>,
}

impl Collection {
    /// Opens a collection. One GET.
    ///
    /// # Errors
    ///
    /// `NotFound` where no collection has this name; `Corrupt` where its register is damaged or
    /// lost, which [`repair`](Self::repair) mends; `InvalidInput` where its heads lie elsewhere
    /// than the store looks for them.
    pub async fn open(store: Arc<dyn Store>, name: &CollectionName) -> Result<Self> {
        Self::builder(store, name).open().await
    }

    /// The settings of a collection, among them the place of its heads, which a caller needs before
    /// it opens the collection. One GET.
    ///
    /// # Errors
    ///
    /// `NotFound` where no collection has this name.
    pub async fn read_config(store: &dyn Store, name: &CollectionName) -> Result<CollectionConfig> {
        let key = Layout::new(name.clone()).collection();
        let object = retry::transient(|| store.get(&key)).await?;
        match object {
            Some(object) => CollectionConfig::decode(object.bytes).map_err(|error| Error::register(&key, error)),
            None => Err(missing(store, &Layout::new(name.clone())).await?),
        }
    }

    /// The names of all collections in a store, in order. One LIST for each 1,000 objects in the
    /// store.
    pub async fn list(store: &dyn Store) -> Result<Vec<CollectionName>> {
        let mut names: Vec<CollectionName> = Vec::new();
        let mut after: Option<Key> = None;
        loop {
            let page = retry::transient(|| store.list_after("", after.as_ref(), 1_000)).await?;
            for listed in &page {
                if let Some(name) = listed.key.as_str().strip_suffix("/collection").and_then(|name| name.parse().ok()) {
                    names.push(name);
                }
            }
            match page.last() {
                Some(last) if page.len() == 1_000 => after = Some(last.key.clone()),
                _ => return Ok(names),
            }
        }
    }

    fn assemble(layout: Layout, config: CollectionConfig, store: Arc<dyn Store>, env: Arc<dyn Env>) -> Self {
        let config = Arc::new(config);
        let shard =
            |id| Shard::new(id, layout.clone(), config.clone(), store.clone(), env.clone(), MemoryLimit::default());
        let shards = ShardId::all(config.shards).map(shard).collect();
        Self { layout, config, store, shards }
    }

    /// This collection with another memory limit. Readers, writers and compactors opened from it
    /// afterwards keep to it.
    #[must_use]
    pub fn with_memory(self, memory: MemoryLimit) -> Self {
        let shards = self.shards.iter().map(|shard| shard.with_memory(memory)).collect();
        Self { shards, ..self }
    }

    /// This collection through another handle of its store, such as one that counts requests.
    #[cfg(feature = "serve")]
    pub(crate) fn over(self, store: Arc<dyn Store>) -> Self {
        let shards = self.shards.iter().map(|shard| shard.over(store.clone())).collect();
        Self { shards, store, ..self }
    }

    /// The memory that each reader, each writer and each compactor may take.
    pub fn memory(&self) -> MemoryLimit {
        self.shards.first().map_or_else(MemoryLimit::default, Shard::memory)
    }

    /// The name.
    pub fn name(&self) -> &CollectionName {
        self.layout.name()
    }

    /// The settings chosen at creation.
    pub fn config(&self) -> &CollectionConfig {
        &self.config
    }

    /// The store that holds it.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// A writer. Costs nothing until the first append to a shard.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for options out of range.
    pub fn writer(&self, options: WriterOptions) -> Result<Writer> {
        Writer::open(self.shards.clone(), options)
    }

    /// A reader of everything acknowledged by now. A LIST and two GETs for each shard. Where
    /// segments are not folded yet, one GET for each of them and a conditional GET; where more than
    /// 512 are not swept yet, a second LIST.
    pub async fn reader(&self) -> Result<Reader> {
        self.reader_at(At::Latest).await
    }

    /// A reader of the version that `at` names.
    pub async fn reader_at(&self, at: At) -> Result<Reader> {
        Reader::open(self.shards.clone(), at, Ahead::Nothing).await
    }

    /// A reader of everything acknowledged by now, with all columns in memory. Costs the requests
    /// of [`reader`](Self::reader) and of [`Reader::warm`]. It takes one round trip less, as it
    /// reads the parts beside the last look at the head.
    ///
    /// Where the columns exceed the memory limit, some stay out: [`Reader::warmth`] tells how many.
    pub async fn warm_reader(&self) -> Result<Reader> {
        Reader::open(self.shards.clone(), At::Latest, Ahead::Columns).await
    }

    /// A reader of everything acknowledged by now, for a search that follows. Beside the last look
    /// at the head it reads the parts and the codes that such queries compare. So it takes one
    /// round trip less than [`reader`](Self::reader) and [`search`](Reader::search).
    pub async fn reader_to_search(&self, exactness: Exactness) -> Result<Reader> {
        let tier = if exactness == Exactness::Exact { Tier::Bytes } else { Tier::Signs };
        Reader::open(self.shards.clone(), At::Latest, Ahead::Search(tier)).await
    }

    /// The ops of a shard in log order.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where the collection has no such shard.
    pub fn follow(&self, shard: ShardId, options: FollowOptions) -> Result<Follow> {
        Ok(Follow::new(self.shard(shard)?.clone(), options))
    }

    /// A compactor of all shards.
    pub fn compactor(&self, options: CompactorOptions) -> Compactor {
        Compactor::new(self.shards.clone(), options)
    }

    /// Folds beside a writer where the log of a shard exceeds a limit. Use it in a process that
    /// appends and cannot rely on a compactor elsewhere.
    pub fn keep_up(&self, limit: BacklogLimit) -> KeepUp {
        KeepUp::new(self.compactor(CompactorOptions::default()), limit)
    }

    /// Deletes the objects that no reader and no writer can need any more, shard by shard.
    pub async fn sweep(&self, options: &SweepOptions) -> Result<Vec<(ShardId, SweepReport)>> {
        let mut reports = Vec::new();
        for shard in &self.shards {
            reports.push((shard.id(), sweep(shard, options).await?));
        }
        Ok(reports)
    }

    /// Keeps the current version of every shard readable under a name, for good or for `ttl` by the
    /// store's clock. The pin does not cover ops that are in the log and not folded yet: run the
    /// compactor first to include them. Two GETs and two PUTs for each shard.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where `ttl` is shorter than a millisecond: such a pin would keep nothing.
    /// `AlreadyExists` where a pin of this name exists. Some shards may then have new pins: `unpin`
    /// removes them.
    pub async fn pin(&self, name: &str, ttl: Option<Duration>) -> Result<Vec<(ShardId, Version)>> {
        check_pin_name(name)?;
        if ttl.is_some_and(|ttl| ttl.as_millis() == 0) {
            return Err(Error::invalid(format!(
                "pin `{name}` would expire at once: give it a time to live of at least 1 ms, or none"
            )));
        }
        let mut pinned = Vec::new();
        for shard in &self.shards {
            let mut current = Current::load(shard).await?;
            if current.manifest.version == Version::ZERO {
                return Err(Error::invalid(format!(
                    "shard {} has nothing to pin yet: run `compact` first, which folds its log into a first version",
                    shard.id().get()
                )));
            }
            let created = retry::transient(|| shard.store().now()).await?;
            let version = current.manifest.version;
            let ttl_millis = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
            let (nonce, id) = (current.manifest.nonce, shard.env().nonce());
            let pin = Pin { name: name.to_owned(), version, nonce, id, created, ttl_millis };
            publish(shard, &mut current, &Edit::Pin(pin)).await?;
            pinned.push((shard.id(), version));
        }
        Ok(pinned)
    }

    /// Removes a pin from every shard that has it. A pin of the same name that another caller makes
    /// meanwhile stays.
    ///
    /// # Errors
    ///
    /// `NotFound` where no shard has it; `Conflict` where another caller removed it and made it
    /// anew.
    pub async fn unpin(&self, name: &str) -> Result<()> {
        let mut found = false;
        for shard in &self.shards {
            let mut current = Current::load(shard).await?;
            let Some(id) = current.manifest.pins.iter().find(|pin| pin.name == name).map(|pin| pin.id) else {
                continue;
            };
            match publish(shard, &mut current, &Edit::Unpin { name: name.to_owned(), id }).await {
                Ok(_) => found = true,
                // Another caller was faster in this shard. The other shards still need a look.
                Err(error) if matches!(error.repr(), Repr::NoPin(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if found { Ok(()) } else { Err(Repr::NoPin(name.to_owned()).into()) }
    }

    /// The highest position of each source that a shard holds. Two GETs, a LIST, and a GET for each
    /// segment that is not folded.
    pub(crate) async fn high_water_marks(&self, shard: ShardId, sources: &[String]) -> Result<Vec<Option<u128>>> {
        high_water_marks(self.shard(shard)?, sources).await
    }

    fn shard(&self, id: ShardId) -> Result<&Shard> {
        self.shards.get(usize::from(id.get())).ok_or_else(|| {
            Error::invalid(format!("shard {} does not exist: the collection has {}", id.get(), self.config.shards))
        })
    }
}

/// The reason why there is no collection register: it was never made, a drop removed it, or it is
/// lost. One LIST and one GET.
async fn missing(store: &dyn Store, layout: &Layout) -> Result<Error> {
    let name = layout.name().clone();
    Ok(match remains(store, layout).await? {
        Remains::Free | Remains::Leftover(_) => Repr::NoCollection(name).into(),
        Remains::Dropping(_) => Repr::HalfDropped(name).into(),
        Remains::Lost(key) => {
            let why = format!("is missing, though objects of the collection are there, such as `{key}`");
            Repr::LostRegister { key: layout.collection(), name, why }.into()
        }
    })
}

fn check_pin_name(name: &str) -> Result<()> {
    let fits = (1..=MAX_PIN_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
    if fits {
        Ok(())
    } else {
        Err(Error::invalid(format!("a pin needs a name of 1 to {MAX_PIN_NAME} bytes without control characters")))
    }
}
