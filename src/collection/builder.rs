//! Opens and creates collections with settings of the caller's own.

use std::sync::Arc;

use deltafold_format::{CollectionConfig, CollectionName};

use super::Collection;
use crate::env::{Env, System};
use crate::error::{Repr, Result};
use crate::layout::Layout;
use crate::memory::MemoryLimit;
use crate::store::Store;

/// The way to open or create one collection. [`Collection::builder`] makes it.
///
/// ```
/// use std::sync::Arc;
/// use deltafold::store::Memory;
/// use deltafold::{Collection, CreateOptions, MemoryLimit};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Arc::new(Memory::new());
/// let articles = Collection::builder(store, &"articles".parse()?).memory(MemoryLimit::new(1 << 30)?);
/// articles.create(&CreateOptions::new(384)).await?;
/// let collection = articles.open().await?;
/// assert_eq!(collection.memory().bytes(), 1 << 30);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct CollectionBuilder {
    pub(super) store: Arc<dyn Store>,
    pub(super) name: CollectionName,
    pub(super) env: Arc<dyn Env>,
    pub(super) memory: MemoryLimit,
}

impl Collection {
    /// The way to open or create the collection `name` with settings of the caller's own.
    pub fn builder(store: Arc<dyn Store>, name: &CollectionName) -> CollectionBuilder {
        CollectionBuilder { store, name: name.clone(), env: Arc::new(System), memory: MemoryLimit::default() }
    }
}

impl CollectionBuilder {
    /// Limits the memory of each reader, each writer and each compactor of the collection.
    #[must_use]
    pub fn memory(self, memory: MemoryLimit) -> Self {
        Self { memory, ..self }
    }

    /// Takes time and randomness from `env`, instead of the operating system.
    #[must_use]
    pub fn env(self, env: Arc<dyn Env>) -> Self {
        Self { env, ..self }
    }

    /// Opens the collection, as [`Collection::open`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Collection::open`].
    pub async fn open(&self) -> Result<Collection> {
        let (store, name) = (&self.store, &self.name);
        let config = Collection::read_config(&**store, name).await?;
        if config.heads != store.heads() {
            let (name, recorded, here) = (name.clone(), config.heads, store.heads());
            return Err(Repr::HeadsElsewhere { name, recorded, here }.into());
        }
        Ok(self.assemble(config))
    }

    pub(super) fn assemble(&self, config: CollectionConfig) -> Collection {
        let (layout, store) = (Layout::new(self.name.clone()), self.store.clone());
        Collection::assemble(layout, config, store, self.env.clone()).with_memory(self.memory)
    }
}
