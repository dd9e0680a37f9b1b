//! The errors of the catalogue.

use crate::error::Error;

/// A result with [`CatalogueError`].
pub(crate) type Result<T, E = CatalogueError> = std::result::Result<T, E>;

/// The reason why the catalogue refuses a call.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CatalogueError {
    #[error("Tenant [{0}] not found; create it first")]
    NoTenant(String),
    #[error("Database [{0}] not found; create it first")]
    NoDatabase(String),
    #[error("Collection [{0}] does not exist")]
    NoCollection(String),
    #[error("Tenant [{0}] already exists; choose another name")]
    TenantExists(String),
    #[error("Database [{0}] already exists; choose another name")]
    DatabaseExists(String),
    #[error("Collection [{0}] already exists; choose another name")]
    CollectionExists(String),
    #[error("{0}")]
    Invalid(String),
    /// The value fits its type, and its meaning is not allowed.
    #[error("{0}")]
    Refused(String),
    #[error("many clients change register `{0}` at once; wait a moment and try again")]
    Contended(String),
    #[error("{0}")]
    Engine(#[from] Error),
}

impl From<crate::store::StoreError> for CatalogueError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Engine(error.into())
    }
}
