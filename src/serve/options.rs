//! The settings of a server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::tokens::Tokens;
use crate::compact::{Policy, SweepOptions};
use crate::error::{Error, Result};
use crate::location::Location;
use crate::memory::MemoryLimit;
use crate::setters::setters;

/// Bytes of a log that make a server fold. They are an eighth of what other compactors wait for: a
/// server searches its log, so each of these bytes is resident.
const FOLD_BYTES: u64 = 8 << 20;

/// The clients that a server lets in.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Access {
    /// Every client, on a loopback address only.
    #[default]
    Loopback,
    /// Every client that reaches the address.
    Open,
    /// Clients with a token.
    Tokens(Tokens),
}

/// The settings of a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServeOptions {
    /// The address to listen on; port 0 takes a free one.
    pub address: SocketAddr,
    /// The clients to let in.
    pub access: Access,
    /// Host names by which clients ask the server. A server without tokens on a loopback address
    /// refuses all others but `localhost` and addresses. So does every server with such names.
    pub allowed_hosts: Vec<String>,
    /// Certificate chain and private key, both PEM; without them the server speaks plain HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether `POST /reset` deletes everything; otherwise it is refused.
    pub allow_reset: bool,
    /// Whether the server folds and merges the collections that it has open, and sweeps them.
    pub compact: bool,
    /// The thresholds of folds and merges. A log of 8 MiB is folded by default.
    pub policy: Policy,
    /// A log of an eighth of the bytes at which the policy folds is folded, too, once no write
    /// came for this time.
    pub idle: Duration,
    /// The retention of sweeps.
    pub sweep: SweepOptions,
    /// The location of the store. With it the server finds collections whose heads lie in a table
    /// of DynamoDB.
    pub location: Option<Location>,
    /// Reads may miss writes of this time before them. With zero they miss none, which costs two
    /// conditional GETs a read.
    pub max_staleness: Duration,
    /// The memory limit of each open collection's reader, writer and compactor.
    pub memory: MemoryLimit,
    /// Most collections open at once; the least recently used one is closed for another.
    pub open_collections: usize,
    /// Most bytes of a request's body.
    pub max_body: usize,
    /// Most bytes of memory that the bodies of all requests take together, and the ops that they
    /// become. Bodies wait for it.
    pub request_memory: u64,
    /// Most connections at once. Others wait.
    pub max_connections: usize,
    /// Most queries that run at once. Others wait.
    pub max_queries: usize,
    /// Longest time that a client takes to send a request's headers, or its body, and longest time
    /// in which it takes no byte of an answer.
    pub read_timeout: Duration,
    /// Longest time that a request takes after its body has arrived.
    pub request_timeout: Duration,
    /// Longest time that a stop waits for requests under way.
    pub grace: Duration,
    /// Most records of a batch, as clients are told. The server takes larger ones too.
    pub max_batch: u32,
}

setters!(ServeOptions {
    address: SocketAddr,
    access: Access,
    allowed_hosts: Vec<String>,
    tls: into Option<(PathBuf, PathBuf)>,
    allow_reset: bool,
    compact: bool,
    policy: Policy,
    idle: Duration,
    sweep: SweepOptions,
    location: into Option<Location>,
    max_staleness: Duration,
    memory: MemoryLimit,
    open_collections: usize,
    max_body: usize,
    request_memory: u64,
    max_connections: usize,
    max_queries: usize,
    read_timeout: Duration,
    request_timeout: Duration,
    grace: Duration,
    max_batch: u32,
});

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8000)),
            access: Access::Loopback,
            allowed_hosts: Vec::new(),
            tls: None,
            allow_reset: false,
            compact: true,
            policy: Policy::default().fold_bytes(FOLD_BYTES),
            idle: Duration::from_secs(2),
            sweep: SweepOptions::default(),
            location: None,
            max_staleness: Duration::ZERO,
            memory: MemoryLimit::default(),
            open_collections: 256,
            max_body: 64 << 20,
            request_memory: 1 << 30,
            max_connections: 1_024,
            max_queries: 64,
            read_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(120),
            grace: Duration::from_secs(20),
            max_batch: 5_461,
        }
    }
}

impl ServeOptions {
    /// Refuses settings that would let strangers in by accident, and limits that let nothing in.
    pub(super) fn check(&self) -> Result<()> {
        if matches!(self.access, Access::Loopback) && !self.address.ip().is_loopback() {
            return Err(Error::invalid(format!(
                "{} is reachable from other machines: name the tokens of clients, or let everyone in explicitly",
                self.address
            )));
        }
        let numbers = [self.open_collections, self.max_body, self.max_connections, self.max_queries];
        if numbers.contains(&0) {
            return Err(Error::invalid("a limit of the server is 0, so it would answer nothing; choose at least 1"));
        }
        Ok(())
    }
}
