//! The catalogue of the server: tenants, databases and collections with names and UUIDs.
//!
//! All of it is in registers of the store, changed by compare-and-set. Any number of servers share
//! one catalogue, and none keeps anything in memory that another must know.
//! `docs/decisions/0027-a-catalogue-of-registers.md` gives the reasons.
//!
//! ```text
//! CATALOGUE/root                        the epoch; a reset draws a new one
//! CATALOGUE/<epoch>/<tenant>/tenant     the databases of a tenant
//! CATALOGUE/<epoch>/<tenant>/<uuid>     the collections of a database
//! ```
//!
//! `<tenant>` is the SHA-256 of the tenant's name, so no name reaches a key. The folder has an
//! upper-case name, which no collection can have.

mod collections;
mod databases;
mod entry;
mod error;
mod found;
mod id_text;
mod names;
mod place;
mod register;
mod reset;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::env::{Env, System};
use crate::store::Store;

pub(crate) use collections::NewCollection;
pub(crate) use databases::DatabaseName;
pub(crate) use entry::{Entry, Update};
pub(crate) use error::{CatalogueError, Result};
pub(crate) use names::{DEFAULT_DATABASE, DEFAULT_TENANT};
use register::Registers;

/// The catalogue of a store. Cheap to clone; clones share the registers that they have read.
#[derive(Debug, Clone)]
pub(crate) struct Catalogue {
    store: Arc<dyn Store>,
    env: Arc<dyn Env>,
    registers: Arc<Registers>,
    /// Set once the store has passed the probe.
    probed: Arc<OnceCell<()>>,
}

impl Catalogue {
    /// The catalogue of `store`. Registers that were read within `staleness` are not read again.
    pub(crate) fn new(store: Arc<dyn Store>, staleness: Duration) -> Self {
        let env: Arc<dyn Env> = Arc::new(System);
        let registers = Arc::new(Registers::new(store.clone(), env.clone(), staleness));
        Self { store, env, registers, probed: Arc::default() }
    }

    /// The store.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
}
