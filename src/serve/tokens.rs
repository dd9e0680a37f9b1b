//! Tokens of clients and their scopes.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use crate::error::{Error, Result};

/// The tokens that a server accepts. It keeps only their SHA-256.
#[derive(Clone, Default)]
pub struct Tokens(Arc<Vec<([u8; 32], Scope)>>);

/// Shows no token, nor a digest of one.
impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("count", &self.0.len()).finish()
    }
}

/// The extent of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) tenant: Option<String>,
    pub(super) database: Option<String>,
    pub(super) read_only: bool,
}

impl Scope {
    /// Whether the token reaches a database. Without a name, it is all of them.
    pub(super) fn covers(&self, tenant: Option<&str>, database: Option<&str>) -> bool {
        let within = |own: &Option<String>, named: Option<&str>| own.as_deref().is_none_or(|own| named == Some(own));
        within(&self.tenant, tenant) && within(&self.database, database)
    }
}

impl Tokens {
    /// Reads tokens, one a line. A line is the token, or `sha256:` and its SHA-256 in hexadecimal
    /// digits; then, separated by spaces, `tenant=NAME`, `database=NAME` and `read-only` where they
    /// limit it. Empty lines and lines that begin with `# ` do not count.
    ///
    /// A client sends the token as `Authorization: Bearer TOKEN`, as `X-Chroma-Token: TOKEN`, or as
    /// `Authorization: Basic`; in the last case the token is `USER:PASSWORD`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a line that cannot be read, or without any token. The message names the
    /// line's number and no token.
    pub fn parse(text: &str) -> Result<Self> {
        let mut tokens = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with("# ") {
                continue;
            }
            tokens.push(token(line).map_err(|why| Error::invalid(format!("line {} of the tokens {why}", number + 1)))?);
        }
        if tokens.is_empty() {
            return Err(Error::invalid("there is no token, so no client could get in; write one a line"));
        }
        Ok(Self(Arc::new(tokens)))
    }

    /// The scope of a token. Takes the same time whatever token it is compared with.
    pub(super) fn scope(&self, presented: &[u8]) -> Option<Scope> {
        let digest: [u8; 32] = Sha256::digest(presented).into();
        let mut found = None;
        for (known, scope) in self.0.iter() {
            if bool::from(known.ct_eq(&digest)) {
                found = Some(scope);
            }
        }
        found.cloned()
    }
}

fn token(line: &str) -> Result<([u8; 32], Scope), &'static str> {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    let digest = match first.strip_prefix("sha256:") {
        Some(hex) => from_hex(hex).ok_or("has no 64 hexadecimal digits behind `sha256:`")?,
        None => Sha256::digest(first.as_bytes()).into(),
    };
    let mut scope = Scope::default();
    for word in words {
        match word.split_once('=') {
            Some(("tenant", name)) => scope.tenant = Some(name.to_owned()),
            Some(("database", name)) => scope.database = Some(name.to_owned()),
            None if word == "read-only" => scope.read_only = true,
            _ => return Err("has an unknown limit; write `tenant=NAME`, `database=NAME` or `read-only`"),
        }
    }
    Ok((digest, scope))
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(digest)
}
