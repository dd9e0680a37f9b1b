//! Collections of a database.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::databases::Located;
use super::entry::{Configuration, Entry, Update};
use super::error::{CatalogueError, Result};
use super::{Catalogue, names, place};

/// The key of metadata that sets the number of shards of a new collection.
const SHARDS: &str = "deltafold:shards";

/// A collection to be made.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewCollection {
    pub(crate) name: String,
    pub(crate) metadata: Option<Map<String, Value>>,
    pub(crate) configuration: Option<Map<String, Value>>,
    pub(crate) schema: Option<Value>,
    /// Returns the collection of this name if there is one, as it is.
    pub(crate) get_or_create: bool,
}

impl Catalogue {
    /// Creates a collection: its entry only. The first write makes the Deltafold collection.
    pub(crate) async fn create_collection(&self, tenant: &str, database: &str, new: NewCollection) -> Result<Entry> {
        names::check_collection(&new.name)?;
        let located = self.located(tenant, database).await?;
        match self.by_name(&located, &new.name).await {
            Ok(entry) if new.get_or_create => return Ok(entry),
            Ok(_) => return Err(CatalogueError::CollectionExists(new.name)),
            Err(CatalogueError::NoCollection(_)) => {}
            Err(error) => return Err(error),
        }
        let configuration = Configuration::of_request(new.configuration.as_ref(), new.metadata.as_ref())?;
        let id = self.uuid();
        let entry = Entry {
            id,
            place: place::name(id, &new.name),
            name: new.name,
            shards: shards(new.metadata.as_ref())?,
            metadata: new.metadata.filter(|metadata| !metadata.is_empty()),
            configuration,
            schema: new.schema,
            dimension: None,
            adopted: false,
        };
        self.change_database(&located, |database| {
            match database.collections.iter().find(|known| known.name == entry.name) {
                Some(known) if new.get_or_create => Ok(known.clone()),
                Some(known) => Err(CatalogueError::CollectionExists(known.name.clone())),
                None => {
                    database.collections.push(entry.clone());
                    Ok(entry.clone())
                }
            }
        })
        .await
    }

    /// The collection of this name.
    pub(crate) async fn collection(&self, tenant: &str, database: &str, name: &str) -> Result<Entry> {
        let located = self.located(tenant, database).await?;
        self.by_name(&located, name).await
    }

    async fn by_name(&self, located: &Located, name: &str) -> Result<Entry> {
        let database = self.contents(located).await?;
        match database.collections.into_iter().find(|entry| entry.name == name) {
            Some(entry) if !entry.adopted || self.still_there(&entry).await? => Ok(entry),
            Some(gone) => {
                self.forget(located, &[gone.id]).await?;
                self.adopt(located, name).await
            }
            None if located.is_default => self.adopt(located, name).await,
            None => Err(CatalogueError::NoCollection(name.to_owned())),
        }
    }

    /// The collection of this id.
    pub(crate) async fn collection_by_id(&self, tenant: &str, database: &str, id: Uuid) -> Result<Entry> {
        let located = self.located(tenant, database).await?;
        let database = self.contents(&located).await?;
        let found = database.collections.into_iter().find(|entry| entry.id == id);
        found.ok_or_else(|| CatalogueError::NoCollection(id.to_string()))
    }

    /// The collections of a database, in the order in which they were made.
    pub(crate) async fn collections(&self, tenant: &str, database: &str) -> Result<Vec<Entry>> {
        let located = self.located(tenant, database).await?;
        if located.is_default {
            self.adopt_all(&located).await?;
        }
        Ok(self.contents(&located).await?.collections)
    }

    /// Changes the name, the metadata or the configuration of a collection.
    pub(crate) async fn update_collection(&self, tenant: &str, database: &str, id: Uuid, update: Update) -> Result<()> {
        let located = self.located(tenant, database).await?;
        if let Some(name) = &update.name {
            names::check_collection(name)?;
        }
        self.change_database(&located, |database| {
            if let Some(name) = &update.name
                && database.collections.iter().any(|known| known.name == *name && known.id != id)
            {
                return Err(CatalogueError::CollectionExists(name.clone()));
            }
            let found = database.collections.iter_mut().find(|entry| entry.id == id);
            let entry = found.ok_or_else(|| CatalogueError::NoCollection(id.to_string()))?;
            if let Some(configuration) = &update.configuration {
                entry.configuration.update(configuration)?;
            }
            if let Some(name) = &update.name {
                entry.name.clone_from(name);
            }
            if let Some(metadata) = &update.metadata {
                entry.metadata = Some(metadata.clone()).filter(|metadata| !metadata.is_empty());
            }
            Ok(())
        })
        .await
    }

    /// Deletes a collection with its records, and returns its id.
    pub(crate) async fn delete_collection(&self, tenant: &str, database: &str, name: &str) -> Result<Uuid> {
        let located = self.located(tenant, database).await?;
        let entry = self.by_name(&located, name).await?;
        let dropping = self
            .change_database(&located, |database| {
                let before = database.collections.len();
                database.collections.retain(|known| known.id != entry.id);
                if database.collections.len() == before {
                    return Err(CatalogueError::NoCollection(name.to_owned()));
                }
                // Without a dimension it has no objects, unless a first write is under way. That
                // write removes them once it finds the entry gone.
                if entry.dimension.is_some() {
                    database.dropping.push(entry.place.clone());
                }
                Ok(database.dropping.clone())
            })
            .await?;
        self.drop_places(&located.key, &dropping).await?;
        Ok(entry.id)
    }

    /// Records the dimension that a first write has fixed.
    pub(super) async fn set_dimension(&self, located: &Located, id: Uuid, dimension: u32) -> Result<Entry> {
        self.change_database(located, |database| {
            let found = database.collections.iter_mut().find(|entry| entry.id == id);
            let entry = found.ok_or_else(|| CatalogueError::NoCollection(id.to_string()))?;
            entry.dimension = Some(dimension);
            Ok(entry.clone())
        })
        .await
    }

    /// Removes entries.
    pub(super) async fn forget(&self, located: &Located, ids: &[Uuid]) -> Result<()> {
        self.change_database(located, |database| {
            database.collections.retain(|entry| !ids.contains(&entry.id));
            Ok(())
        })
        .await
    }
}

/// The number of shards that metadata asks for.
fn shards(metadata: Option<&Map<String, Value>>) -> Result<u16> {
    let Some(wanted) = metadata.and_then(|metadata| metadata.get(SHARDS)) else { return Ok(1) };
    let shards = wanted.as_u64().and_then(|shards| u16::try_from(shards).ok());
    shards.filter(|shards| (1..=deltafold_format::limits::MAX_SHARDS).contains(shards)).ok_or_else(|| {
        let most = deltafold_format::limits::MAX_SHARDS;
        CatalogueError::Invalid(format!("`{SHARDS}` is {wanted}; give a number from 1 to {most}"))
    })
}
