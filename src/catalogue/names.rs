//! The rules for names of tenants, databases and collections.

use sha2::{Digest, Sha256};

use super::error::{CatalogueError, Result};

/// The tenant that is always there, until its register says otherwise.
pub(crate) const DEFAULT_TENANT: &str = "default_tenant";
/// The database that is always there, until its tenant's register says otherwise.
pub(crate) const DEFAULT_DATABASE: &str = "default_database";

/// Shortest name of a tenant, a database or a collection, in characters.
const SHORTEST: usize = 3;
/// Longest name of a collection, in bytes.
const LONGEST: usize = 512;

/// Checks the name of a tenant or database. `what` names it in the message.
pub(super) fn check(what: &str, name: &str) -> Result<()> {
    if (SHORTEST..=LONGEST).contains(&name.chars().count()) && name.len() <= 4 * LONGEST {
        return Ok(());
    }
    Err(CatalogueError::Invalid(format!("the name of a {what} has {SHORTEST} to {LONGEST} characters; choose another")))
}

/// Checks the name of a collection.
pub(super) fn check_collection(name: &str) -> Result<()> {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let bytes = name.as_bytes();
    let fits = (SHORTEST..=LONGEST).contains(&bytes.len())
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().copied().all(allowed);
    if fits {
        return Ok(());
    }
    Err(CatalogueError::Invalid(format!(
        "Validation error: name: Expected a name containing {SHORTEST}-{LONGEST} characters from [a-zA-Z0-9._-], \
         starting and ending with a character in [a-zA-Z0-9]. Got: {}",
        name.chars().take(64).flat_map(char::escape_debug).collect::<String>()
    )))
}

/// The segment of a key that stands for a name: no name reaches a key itself.
pub(super) fn digest(name: &str) -> String {
    Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
