//! The Deltafold collections that hold the records of the catalogue's collections.

use deltafold_format::CollectionName;
use uuid::Uuid;

use super::Catalogue;
use super::databases::{Database, key};
use super::entry::Entry;
use super::error::{CatalogueError, Result};
use crate::collection::{Collection, CreateOptions};
use crate::error::{ErrorKind, Repr};
use crate::store::Key;

/// The beginning of the names of places that the server makes.
const PREFIX: &str = "http.";
/// Most bytes of a collection's name that its place repeats, for people.
const TOLD: usize = 64;

/// The place of a new collection: the UUID makes it unique, and the name tells people what it is.
pub(super) fn name(id: Uuid, name: &str) -> String {
    let told: String = name.chars().take(TOLD).map(|c| c.to_ascii_lowercase()).collect();
    format!("{PREFIX}{}.{told}", id.simple())
}

/// Whether a name is reserved for places that the server makes.
pub(super) fn is_of_server(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// A key that sorts behind all places that the server makes.
pub(super) fn behind_all() -> Key {
    key(format!("{PREFIX}zzzzzzzz"))
}

impl Catalogue {
    /// Opens the Deltafold collection of an entry that has a dimension. One GET; one more if its
    /// heads lie elsewhere.
    pub(crate) async fn open(&self, entry: &Entry) -> Result<Collection> {
        let name = parsed(entry)?;
        let opened = match Collection::open(self.store().clone(), &name).await {
            Err(error) => match error.repr() {
                Repr::HeadsElsewhere { recorded, .. } => {
                    Collection::open(self.store_with(recorded).await?, &name).await
                }
                _ => Err(error),
            },
            opened => opened,
        };
        match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(CatalogueError::NoCollection(entry.name.clone())),
            opened => Ok(opened?),
        }
    }

    /// Makes the Deltafold collection of an entry for its first write, or opens the one that
    /// another server has made meanwhile. The dimension is in the entry before this returns, so a
    /// reader that finds none knows that nothing was written.
    pub(crate) async fn make(&self, tenant: &str, database: &str, entry: &Entry, dimension: u32) -> Result<Collection> {
        let located = self.located(tenant, database).await?;
        let name = parsed(entry)?;
        let metric = entry.configuration.metric();
        let options = CreateOptions { metric, shards: entry.shards, ..CreateOptions::new(dimension) };
        self.probe().await?;
        let made = Collection::builder(self.store().clone(), &name).create_unprobed(&options).await;
        let collection = match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Collection::open(self.store().clone(), &name).await?
            }
            made => made?,
        };
        match self.set_dimension(&located, entry.id, collection.config().dimension).await {
            Ok(_) => Ok(collection),
            Err(gone @ (CatalogueError::NoCollection(_) | CatalogueError::NoDatabase(_))) => {
                self.drop_place(&entry.place).await?;
                Err(gone)
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes the objects of collections whose entries are gone, then their mention in the
    /// register. A server that stops in between leaves the mention to the next delete.
    pub(super) async fn drop_places(&self, register: &Key, places: &[String]) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        for place in places {
            self.drop_place(place).await?;
        }
        self.registers
            .change(register, |held: &mut Option<Database>| {
                if let Some(held) = held {
                    held.dropping.retain(|place| !places.contains(place));
                }
                Ok(())
            })
            .await
    }

    /// Deletes the objects of a place, if there are any.
    pub(super) async fn drop_place(&self, place: &str) -> Result<()> {
        let Ok(name) = place.parse::<CollectionName>() else { return Ok(()) };
        match Collection::drop_collection(&*self.store_to_drop(&name).await?, &name, |_| ()).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            dropped => Ok(dropped.map(|_| ())?),
        }
    }

    /// Probes the store before this server makes its first collection there.
    async fn probe(&self) -> Result<()> {
        let probed =
            self.probed.get_or_try_init(|| async { Collection::probe_for_create(&**self.store()).await }).await;
        probed?;
        Ok(())
    }
}

fn parsed(entry: &Entry) -> Result<CollectionName> {
    let parsed = entry.place.parse::<CollectionName>();
    parsed.map_err(|error| {
        CatalogueError::Engine(Repr::Invalid(format!("{error}; its catalogue entry is damaged")).into())
    })
}
