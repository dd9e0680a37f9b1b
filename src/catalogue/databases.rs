//! Tenants and databases.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::entry::Entry;
use super::error::{CatalogueError, Result};
use super::names::{self, DEFAULT_DATABASE, DEFAULT_TENANT};
use super::{Catalogue, names::digest};
use crate::store::Key;

/// The epoch before the first reset.
const FIRST_EPOCH: &str = "0000000000000000";

/// The content of the root register.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Root {
    /// The folder of all other registers.
    pub(super) epoch: String,
}

/// The content of a tenant's register.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tenant {
    name: String,
    resource_name: Option<String>,
    databases: Vec<DatabaseName>,
}

/// A database in its tenant's register.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DatabaseName {
    /// The id.
    #[serde(with = "super::id_text")]
    pub(crate) id: Uuid,
    /// The name, unique in the tenant.
    pub(crate) name: String,
}

/// The content of a database's register.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Database {
    pub(super) collections: Vec<Entry>,
    /// Places of deleted collections whose objects may still be there.
    #[serde(default)]
    pub(super) dropping: Vec<String>,
    /// Set for good by the delete of the database, so that no late change brings it back.
    #[serde(default)]
    pub(super) dropped: bool,
}

/// A database that was looked up.
#[derive(Debug, Clone)]
pub(super) struct Located {
    pub(super) key: Key,
    pub(super) id: Uuid,
    pub(super) name: String,
    /// Whether it is the default database, which also has the collections of `deltafold create`.
    pub(super) is_default: bool,
}

pub(super) fn key(text: String) -> Key {
    Key::new(text).expect("epochs, digests and UUIDs hold only characters of keys")
}

pub(super) fn root_key() -> Key {
    key("CATALOGUE/root".to_owned())
}

fn tenant_key(epoch: &str, tenant: &str) -> Key {
    key(format!("CATALOGUE/{epoch}/{}/tenant", digest(tenant)))
}

fn database_key(epoch: &str, tenant: &str, id: Uuid) -> Key {
    key(format!("CATALOGUE/{epoch}/{}/{}", digest(tenant), id.simple()))
}

/// The default tenant before its first change.
fn default_tenant() -> Tenant {
    Tenant {
        name: DEFAULT_TENANT.to_owned(),
        resource_name: None,
        databases: vec![DatabaseName { id: Uuid::nil(), name: DEFAULT_DATABASE.to_owned() }],
    }
}

fn unless_default(found: Option<Tenant>, name: &str) -> Result<Tenant> {
    match found {
        Some(tenant) => Ok(tenant),
        None if name == DEFAULT_TENANT => Ok(default_tenant()),
        None => Err(CatalogueError::NoTenant(name.to_owned())),
    }
}

impl Catalogue {
    /// The epoch of now. One conditional GET.
    pub(super) async fn epoch(&self) -> Result<String> {
        let root: Option<Root> = self.registers.read(&root_key()).await?;
        Ok(root.map_or_else(|| FIRST_EPOCH.to_owned(), |root| root.epoch))
    }

    /// Whether the store answers. One conditional GET.
    pub(crate) async fn is_reachable(&self) -> Result<()> {
        self.epoch().await.map(drop)
    }

    async fn tenant(&self, name: &str) -> Result<(String, Tenant)> {
        let epoch = self.epoch().await?;
        let found: Option<Option<Tenant>> = self.registers.read(&tenant_key(&epoch, name)).await?;
        Ok((epoch, unless_default(found.flatten(), name)?))
    }

    /// Finds a database. Two conditional GETs.
    pub(super) async fn located(&self, tenant: &str, database: &str) -> Result<Located> {
        let (epoch, found) = self.tenant(tenant).await?;
        let found = found.databases.into_iter().find(|known| known.name == database);
        let found = found.ok_or_else(|| CatalogueError::NoDatabase(database.to_owned()))?;
        Ok(Located {
            key: database_key(&epoch, tenant, found.id),
            id: found.id,
            is_default: tenant == DEFAULT_TENANT && database == DEFAULT_DATABASE,
            name: found.name,
        })
    }

    /// Creates a tenant.
    pub(crate) async fn create_tenant(&self, name: &str) -> Result<()> {
        names::check("tenant", name)?;
        let epoch = self.epoch().await?;
        let tenant = Tenant { name: name.to_owned(), resource_name: None, databases: Vec::new() };
        let change = |held: &mut Option<Tenant>| {
            if held.is_some() || name == DEFAULT_TENANT {
                return Err(CatalogueError::TenantExists(name.to_owned()));
            }
            *held = Some(tenant.clone());
            Ok(())
        };
        self.registers.change(&tenant_key(&epoch, name), change).await
    }

    /// The resource name of a tenant, which must exist.
    pub(crate) async fn tenant_resource(&self, name: &str) -> Result<Option<String>> {
        Ok(self.tenant(name).await?.1.resource_name)
    }

    /// Sets the resource name of a tenant.
    pub(crate) async fn update_tenant(&self, name: &str, resource_name: &str) -> Result<()> {
        self.change_tenant(name, |tenant| {
            tenant.resource_name = Some(resource_name.to_owned());
            Ok(())
        })
        .await
    }

    /// Creates a database: first its register, then its name in the tenant's.
    pub(crate) async fn create_database(&self, tenant: &str, name: &str) -> Result<()> {
        names::check("database", name)?;
        let id = self.uuid();
        let (epoch, held) = self.tenant(tenant).await?;
        if held.databases.iter().any(|known| known.name == name) {
            return Err(CatalogueError::DatabaseExists(name.to_owned()));
        }
        let key = database_key(&epoch, tenant, id);
        self.registers
            .change(&key, |held: &mut Option<Database>| {
                held.get_or_insert_default();
                Ok(())
            })
            .await?;
        let named = self
            .change_tenant(tenant, |tenant| {
                if tenant.databases.iter().any(|known| known.name == name) {
                    return Err(CatalogueError::DatabaseExists(name.to_owned()));
                }
                tenant.databases.push(DatabaseName { id, name: name.to_owned() });
                Ok(())
            })
            .await;
        if let Err(CatalogueError::DatabaseExists(_) | CatalogueError::NoTenant(_)) = &named {
            self.registers.delete(&[key]).await?;
        }
        named
    }

    /// The databases of a tenant, in the order in which they were made.
    pub(crate) async fn databases(&self, tenant: &str) -> Result<Vec<DatabaseName>> {
        Ok(self.tenant(tenant).await?.1.databases)
    }

    /// A database.
    pub(crate) async fn database(&self, tenant: &str, database: &str) -> Result<DatabaseName> {
        let Located { id, name, .. } = self.located(tenant, database).await?;
        Ok(DatabaseName { id, name })
    }

    /// Deletes a database with its collections, and returns the collections' ids.
    ///
    /// Its register is closed first, so that no other server adds a collection to it any more.
    pub(crate) async fn delete_database(&self, tenant: &str, database: &str) -> Result<Vec<Uuid>> {
        let located = self.located(tenant, database).await?;
        let deleted = self.close(&located.key).await?;
        self.change_tenant(tenant, |tenant| {
            tenant.databases.retain(|known| known.id != located.id);
            Ok(())
        })
        .await?;
        self.drop_places(&located.key, &deleted.dropping).await?;
        // The register of the default database exists by rule, so only its content can say that the
        // database is gone.
        if !located.id.is_nil() {
            self.registers.delete(&[located.key]).await?;
        }
        Ok(deleted.collections.into_iter().map(|entry| entry.id).collect())
    }

    /// Closes a database's register for good. Returns its content, with all places to drop.
    pub(super) async fn close(&self, key: &Key) -> Result<Database> {
        self.registers
            .change(key, |held: &mut Option<Database>| {
                let held = held.get_or_insert_default();
                held.dropped = true;
                // The collections of `deltafold create` were not made in the database, and stay.
                let made = held.collections.iter().filter(|entry| !entry.adopted && entry.dimension.is_some());
                let places: Vec<String> = made.map(|entry| entry.place.clone()).collect();
                let collections = std::mem::take(&mut held.collections);
                held.dropping.extend(places);
                Ok(Database { collections, ..held.clone() })
            })
            .await
    }

    async fn change_tenant(&self, name: &str, mut change: impl FnMut(&mut Tenant) -> Result<()>) -> Result<()> {
        let epoch = self.epoch().await?;
        let change = |held: &mut Option<Tenant>| {
            let mut tenant = unless_default(held.take(), name)?;
            change(&mut tenant)?;
            *held = Some(tenant);
            Ok(())
        };
        self.registers.change(&tenant_key(&epoch, name), change).await
    }

    /// The content of a database's register.
    pub(super) async fn contents(&self, located: &Located) -> Result<Database> {
        let found: Option<Option<Database>> = self.registers.read(&located.key).await?;
        match found.flatten() {
            Some(found) if !found.dropped => Ok(found),
            None if located.id.is_nil() => Ok(Database::default()),
            _ => Err(CatalogueError::NoDatabase(located.name.clone())),
        }
    }

    /// Changes a database's register.
    pub(super) async fn change_database<R>(
        &self,
        located: &Located,
        mut change: impl FnMut(&mut Database) -> Result<R>,
    ) -> Result<R> {
        let change = |held: &mut Option<Database>| {
            if held.is_none() && located.id.is_nil() {
                *held = Some(Database::default());
            }
            match held {
                Some(held) if !held.dropped => change(held),
                _ => Err(CatalogueError::NoDatabase(located.name.clone())),
            }
        };
        self.registers.change(&located.key, change).await
    }

    /// A new random UUID.
    pub(super) fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.env.uid().get().to_be_bytes()).into_uuid()
    }
}
