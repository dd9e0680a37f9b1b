//! Entries of collections that an import has copied from another program, with their old ids.

use deltafold_format::CollectionName;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::databases::Located;
use super::entry::{Configuration, Entry};
use super::error::{CatalogueError, Result};
use super::names::{self, DEFAULT_DATABASE, DEFAULT_TENANT};
use super::{Catalogue, place};

/// A collection of another program.
#[derive(Debug, Clone)]
pub(crate) struct Imported {
    pub(crate) tenant: String,
    pub(crate) database: String,
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) configuration: Map<String, Value>,
    pub(crate) schema: Option<Value>,
    /// Length of its embeddings. Where there is one, its place exists.
    pub(crate) dimension: Option<u32>,
    pub(crate) shards: u16,
}

/// The name of the Deltafold collection that holds the records of a collection of this id. `None`
/// where the catalogue does not allow the collection's name.
pub(crate) fn place_of(id: Uuid, name: &str) -> Option<CollectionName> {
    names::check_collection(name).ok()?;
    place::name(id, name).parse().ok()
}

impl Catalogue {
    /// Checks that the name of an imported collection is free, or its own already.
    pub(crate) async fn check_import(&self, imported: &Imported) -> Result<()> {
        names::check_collection(&imported.name)?;
        let located = match self.located(&imported.tenant, &imported.database).await {
            Err(CatalogueError::NoTenant(_) | CatalogueError::NoDatabase(_)) => return Ok(()),
            located => located?,
        };
        match self.collection(&imported.tenant, &imported.database, &imported.name).await {
            Ok(known) if known.id != imported.id => Err(CatalogueError::CollectionExists(known.name)),
            Ok(_) | Err(CatalogueError::NoCollection(_)) => self.check_id(&located, imported).await,
            Err(error) => Err(error),
        }
    }

    /// Checks that the id of an imported collection is not that of another name.
    async fn check_id(&self, located: &Located, imported: &Imported) -> Result<()> {
        let database = self.contents(located).await?;
        match database.collections.iter().find(|known| known.id == imported.id && known.name != imported.name) {
            Some(known) => Err(CatalogueError::CollectionExists(known.name.clone())),
            None => Ok(()),
        }
    }

    /// Enters an imported collection, with its tenant and its database if they are missing. From
    /// now on the server has it under its old name and id. Does nothing if it is there already.
    pub(crate) async fn enter_import(&self, imported: Imported) -> Result<()> {
        let (tenant, database) = (&imported.tenant, &imported.database);
        names::check_collection(&imported.name)?;
        if tenant != DEFAULT_TENANT {
            match self.create_tenant(tenant).await {
                Ok(()) | Err(CatalogueError::TenantExists(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if (tenant.as_str(), database.as_str()) != (DEFAULT_TENANT, DEFAULT_DATABASE) {
            match self.create_database(tenant, database).await {
                Ok(()) | Err(CatalogueError::DatabaseExists(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let entry = Entry {
            id: imported.id,
            place: place::name(imported.id, &imported.name),
            name: imported.name.clone(),
            configuration: Configuration::of_request(Some(&imported.configuration), None)?,
            metadata: Some(imported.metadata.clone()).filter(|metadata| !metadata.is_empty()),
            schema: imported.schema.clone(),
            dimension: imported.dimension,
            shards: imported.shards,
            adopted: false,
        };
        let located = self.located(tenant, database).await?;
        self.change_database(&located, |database| {
            let taken = |known: &&Entry| known.name == entry.name || known.id == entry.id;
            match database.collections.iter().find(taken) {
                Some(known) if known.id == entry.id && known.name == entry.name => Ok(()),
                Some(known) => Err(CatalogueError::CollectionExists(known.name.clone())),
                None => {
                    database.collections.push(entry.clone());
                    Ok(())
                }
            }
        })
        .await
    }
}
