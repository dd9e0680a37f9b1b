//! The context of every command: the store, its collections, and the output.

use std::sync::{Arc, Mutex, PoisonError};

use deltafold::format::{CollectionName, HeadPlace};
use deltafold::store::{Requests, Store};
use deltafold::{Collection, CollectionBuilder, Entry, GetOptions, Location, MemoryLimit, Reader};

use super::exit::{Exit, Failure, Outcome};
use super::global::Global;
use super::output::{Output, complain, requests};
use super::quote::option;

/// The context of a command.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) output: Output,
    /// The path that the program was called by.
    called: String,
    location: String,
    counts_requests: bool,
    memory: MemoryLimit,
    /// Every store opened, for its request counts.
    opened: Arc<Mutex<Vec<Arc<dyn Store>>>>,
}

impl Context {
    pub(crate) fn new(called: String, global: &Global, only_prints: bool) -> Self {
        let output = Output { json: global.json, only_prints };
        Self {
            output,
            called,
            location: global.store.clone(),
            counts_requests: global.requests,
            memory: global.memory,
            opened: Arc::default(),
        }
    }

    /// The same for another store. Its requests count with these.
    pub(crate) fn elsewhere(&self, location: &str) -> Self {
        Self {
            output: self.output,
            called: self.called.clone(),
            location: location.to_owned(),
            counts_requests: self.counts_requests,
            memory: self.memory,
            opened: Arc::clone(&self.opened),
        }
    }

    /// The path that the program was called by.
    pub(crate) fn called(&self) -> &str {
        &self.called
    }

    /// The `--store` option that finds this store again, with a space behind it. Empty for the
    /// default store.
    pub(crate) fn store_option(&self) -> String {
        if self.location == "./deltafold-data" || std::env::var_os("DELTAFOLD_STORE").is_some() {
            String::new()
        } else {
            format!("{} ", option("--store", &self.location))
        }
    }

    /// The store. Creates it if it is missing.
    pub(crate) async fn new_store(&self) -> Outcome<Arc<dyn Store>> {
        Ok(self.opened(self.location()?.store().await?))
    }

    /// The store, which must exist: a mistyped path is not an empty store.
    pub(crate) async fn store(&self) -> Outcome<Arc<dyn Store>> {
        self.is_there()?;
        self.new_store().await
    }

    /// The store with the heads of this collection where they are.
    pub(crate) async fn store_of(&self, name: &CollectionName) -> Outcome<Arc<dyn Store>> {
        self.is_there()?;
        Ok(self.opened(self.location()?.store_of(name).await?))
    }

    /// The store with the heads in this place.
    pub(crate) async fn store_with(&self, heads: &HeadPlace) -> Outcome<Arc<dyn Store>> {
        let location = self.location()?;
        let store = location.store().await?;
        Ok(self.opened(location.with_heads(store, heads).await?))
    }

    /// The way to open a collection of the store, with the memory limit of the command.
    async fn builder(&self, name: &CollectionName) -> Outcome<CollectionBuilder> {
        Ok(Collection::builder(self.store().await?, name).memory(self.memory))
    }

    /// A collection of the store.
    pub(crate) async fn collection(&self, name: &CollectionName) -> Outcome<Collection> {
        Ok(Collection::builder(self.store_of(name).await?, name).memory(self.memory).open().await?)
    }

    /// A collection of the store, for a command that only reads. Saves a round of requests.
    pub(crate) async fn collection_to_read(&self, name: &CollectionName) -> Outcome<Collection> {
        match self.builder(name).await?.open_to_read().await {
            Ok(collection) => Ok(collection),
            // The other way finds heads that are elsewhere, and reports errors.
            Err(_) => self.collection(name).await,
        }
    }

    /// A collection of the store with a reader of its latest state. Saves a round of requests.
    pub(crate) async fn reader(&self, name: &CollectionName) -> Outcome<(Collection, Reader)> {
        match self.builder(name).await?.open_with_reader().await {
            Ok(opened) => Ok(opened),
            // The other way finds heads that are elsewhere, and reports errors.
            Err(_) => {
                let collection = self.collection(name).await?;
                let reader = collection.reader().await?;
                Ok((collection, reader))
            }
        }
    }

    /// The latest state of one record, for a command that reads no other.
    pub(crate) async fn record(&self, name: &CollectionName, id: &str, options: &GetOptions) -> Outcome<Option<Entry>> {
        match self.builder(name).await?.open_and_get_with(id, options).await {
            Ok(found) => Ok(found),
            // The other way finds heads that are elsewhere, and reports errors.
            Err(_) => Ok(self.collection(name).await?.get_with(id, options).await?),
        }
    }

    /// The memory that the command may take.
    pub(crate) fn memory(&self) -> MemoryLimit {
        self.memory
    }

    /// Whether the command reports its requests to the store.
    pub(crate) fn counts_requests(&self) -> bool {
        self.counts_requests
    }

    /// Reports the requests to the store on standard error, because results have standard output to
    /// themselves.
    pub(crate) fn tell_requests(&self) {
        let asked = self.requests();
        let text = if self.output.json {
            serde_json::json!({ "requests": requests::document(&asked) }).to_string()
        } else {
            requests::table(self.output, &asked).text()
        };
        complain(&format!("{text}\n"));
    }

    /// The requests to the stores so far.
    pub(crate) fn requests(&self) -> Requests {
        let mut all = Requests::default();
        for store in self.opened.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            all += store.requests();
        }
        all
    }

    pub(crate) fn location(&self) -> Outcome<Location> {
        self.location.parse().map_err(|error| Failure::new(Exit::Usage, error))
    }

    pub(crate) fn opened(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(store.clone());
        store
    }

    fn is_there(&self) -> Outcome {
        match self.location()?.folder() {
            Some(path) if !path.is_dir() => {
                let problem = format!("there is no store in `{}`", path.display());
                Err(Failure::new(Exit::NotFound, problem).help(
                    "name it with `--store` or DELTAFOLD_STORE; `deltafold create` and `deltafold demo` make one",
                ))
            }
            _ => Ok(()),
        }
    }
}
