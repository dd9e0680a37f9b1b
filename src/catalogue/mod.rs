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
mod heads;
mod id_text;
#[cfg(feature = "import")]
mod imported;
mod names;
mod place;
mod register;
mod reset;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use deltafold_format::HeadPlace;
use tokio::sync::OnceCell;

use crate::env::{Env, System};
use crate::location::Location;
use crate::store::Store;

#[cfg(feature = "serve")]
pub(crate) use collections::NewCollection;
#[cfg(feature = "serve")]
pub(crate) use databases::DatabaseName;
#[cfg(feature = "serve")]
pub(crate) use entry::{Entry, Update, space};
pub(crate) use error::{CatalogueError, Result};
#[cfg(feature = "import")]
pub(crate) use imported::{Imported, place_of};
#[cfg(feature = "serve")]
pub(crate) use names::{DEFAULT_DATABASE, DEFAULT_TENANT};
use register::Registers;

/// The key of a record's URI among its metadata. Clients cannot use it, as their keys may not begin
/// with `#`.
pub(crate) const URI: &str = "#uri";
/// The mark of a sparse vector, which is a list of two strings: this, and its JSON.
pub(crate) const SPARSE_MARK: &str = "#sparse_vector";

/// Stores with the place of their heads.
type StoresByHeads = Vec<(HeadPlace, Arc<dyn Store>)>;

/// The catalogue of a store. Cheap to clone; clones share the registers that they have read.
#[derive(Debug, Clone)]
pub(crate) struct Catalogue {
    store: Arc<dyn Store>,
    env: Arc<dyn Env>,
    registers: Arc<Registers>,
    /// Set once the store has passed the probe.
    probed: Arc<OnceCell<()>>,
    /// The location of the store, if it is known.
    location: Option<Arc<Location>>,
    /// The store with each other place of heads that was needed.
    elsewhere: Arc<Mutex<StoresByHeads>>,
}

impl Catalogue {
    /// The catalogue of `store`. Registers that were read within `staleness` are not read again.
    /// With the store's location it finds heads that lie elsewhere.
    pub(crate) fn new(store: Arc<dyn Store>, location: Option<Location>, staleness: Duration) -> Self {
        let env: Arc<dyn Env> = Arc::new(System);
        let registers = Arc::new(Registers::new(store.clone(), env.clone(), staleness));
        let location = location.map(Arc::new);
        Self { store, env, registers, probed: Arc::default(), location, elsewhere: Arc::default() }
    }

    /// The store.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
}
