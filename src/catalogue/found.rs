//! Collections that `deltafold create` made. They appear in the default database.
//!
//! Their entries are made when a client first names or lists them. The entry has the collection's
//! uid as its UUID, so every server makes the same entry.

use deltafold_format::{CollectionConfig, CollectionName};
use uuid::Uuid;

use super::databases::Located;
use super::entry::{Configuration, Entry};
use super::error::{CatalogueError, Result};
use super::{Catalogue, place};
use crate::collection::Collection;
use crate::error::ErrorKind;
use crate::retry;
use crate::store::Key;

impl Catalogue {
    /// Makes the entry of a collection that `deltafold create` made. One GET.
    pub(super) async fn adopt(&self, located: &Located, name: &str) -> Result<Entry> {
        let none = || CatalogueError::NoCollection(name.to_owned());
        if !located.is_default || place::is_of_server(name) {
            return Err(none());
        }
        let Ok(parsed) = name.parse::<CollectionName>() else { return Err(none()) };
        let Some(config) = self.config(&parsed).await? else { return Err(none()) };
        let entry = entry(&parsed, &config);
        self.change_database(located, |database| {
            if let Some(known) = database.collections.iter().find(|known| known.name == entry.name) {
                return Ok(known.clone());
            }
            database.collections.push(entry.clone());
            Ok(entry.clone())
        })
        .await
    }

    /// Makes the entries of all collections that `deltafold create` made, and removes those of
    /// dropped ones. One LIST for each such collection.
    pub(super) async fn adopt_all(&self, located: &Located) -> Result<()> {
        let found = self.found().await?;
        let database = self.contents(located).await?;
        let is_known = |name: &CollectionName| {
            database.collections.iter().any(|entry| entry.place == name.as_str() || entry.name == name.as_str())
        };
        let mut new = Vec::new();
        for name in found.iter().filter(|name| !is_known(name)) {
            if let Some(config) = self.config(name).await? {
                new.push(entry(name, &config));
            }
        }
        let is_gone = |entry: &&Entry| entry.adopted && !found.iter().any(|name| name.as_str() == entry.place);
        let gone: Vec<Uuid> = database.collections.iter().filter(is_gone).map(|entry| entry.id).collect();
        if new.is_empty() && gone.is_empty() {
            return Ok(());
        }
        self.change_database(located, |database| {
            database.collections.retain(|entry| !gone.contains(&entry.id));
            for entry in &new {
                if !database.collections.iter().any(|known| known.name == entry.name || known.id == entry.id) {
                    database.collections.push(entry.clone());
                }
            }
            Ok(())
        })
        .await
    }

    /// Whether the collection of an adopted entry still is the one that the entry describes.
    pub(super) async fn still_there(&self, entry: &Entry) -> Result<bool> {
        let Ok(name) = entry.place.parse() else { return Ok(false) };
        Ok(self.config(&name).await?.is_some_and(|config| config.uid.get() == entry.id.as_u128()))
    }

    async fn config(&self, name: &CollectionName) -> Result<Option<CollectionConfig>> {
        match Collection::read_config(&**self.store(), name).await {
            Ok(config) => Ok(Some(config)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The names of such collections. Steps from one to the next, past all their objects.
    async fn found(&self) -> Result<Vec<CollectionName>> {
        let mut names = Vec::new();
        let mut after: Option<Key> = None;
        loop {
            let listed = retry::transient(|| self.store().list_after("", after.as_ref(), 1)).await?;
            let Some(listed) = listed.into_iter().next() else { return Ok(names) };
            let folder = listed.key.as_str().split('/').next().unwrap_or_default().to_owned();
            // Behind `collection` and the shards, which begin with digits. Places of the server
            // sort together, so one step passes all of them.
            let next = match folder.parse::<CollectionName>() {
                Ok(_) if place::is_of_server(&folder) => place::behind_all(),
                Ok(name) => {
                    let next = super::databases::key(format!("{folder}/d"));
                    names.push(name);
                    next
                }
                // Too long a key to step past: one object at a time.
                Err(_) => Key::new(format!("{folder}/zzzzzzzz")).unwrap_or_else(|| listed.key.clone()),
            };
            // Never back, whatever lies in the store.
            after = Some(next.max(listed.key));
        }
    }
}

fn entry(name: &CollectionName, config: &CollectionConfig) -> Entry {
    Entry {
        id: Uuid::from_u128(config.uid.get()),
        name: name.to_string(),
        place: name.to_string(),
        metadata: None,
        configuration: Configuration::of_metric(config.metric),
        schema: None,
        dimension: Some(config.dimension),
        shards: config.shards,
        adopted: true,
    }
}
