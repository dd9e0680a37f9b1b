//! `serve`: answers Chroma's clients over HTTP until it is stopped.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use deltafold::serve::{Access, ServeOptions, Server, Tokens};
use deltafold::{Policy, SweepOptions};
use serde_json::json;

use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::out_of_memory::keep_blocks;
use crate::output::units::{parse_bytes, parse_duration, parse_span};
use crate::signals;

/// Bytes of large free blocks kept for the next request. A server keeps them for good, a command
/// only until it ends.
const KEPT: u64 = 8 << 20;

/// Serve the store's collections over HTTP, as Chroma's clients expect it. Any number of servers
/// may serve one store
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, env = "DELTAFOLD_ADDRESS", value_name = "IP:PORT", default_value = "127.0.0.1:8000")]
    address: SocketAddr,
    /// Let in only clients with a token of this file, one a line; `docs/serve.md` has the form
    #[arg(long, value_name = "FILE", conflicts_with = "no_auth")]
    auth: Option<PathBuf>,
    /// Let everyone in, also on an address that other machines reach
    #[arg(long)]
    no_auth: bool,
    /// A host name by which clients ask the server; may be given several times. Without `--auth`, a
    /// server on a loopback address refuses all but these, `localhost` and addresses
    #[arg(long, value_name = "NAME")]
    allowed_host: Vec<String>,
    /// Speak TLS with this certificate chain, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Let clients delete everything by `POST /reset`, for tests
    #[arg(long)]
    allow_reset: bool,
    /// Whether to fold, merge and sweep the open collections
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    compact: bool,
    /// Fold when the log holds this many segments
    #[arg(long, value_name = "N", default_value_t = Policy::default().fold_segments)]
    fold_segments: u64,
    /// Keep outdated versions and their objects for this long
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    min_age: Duration,
    /// Let reads miss the writes of this time before them, which saves requests to the store
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
    max_staleness: Duration,
    /// Most bytes of a request's body
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = parse_bytes)]
    max_body: u64,
    /// Most memory that the bodies of all requests take at once; others wait
    #[arg(long, value_name = "BYTES", default_value = "1GiB", value_parser = parse_bytes)]
    request_memory: u64,
    /// Most connections at once; others wait
    #[arg(long, value_name = "N", default_value_t = ServeOptions::default().max_connections)]
    max_connections: usize,
    /// Most reads that run at once; others wait
    #[arg(long, value_name = "N", default_value_t = ServeOptions::default().max_queries)]
    max_queries: usize,
    /// Most collections open at once
    #[arg(long, value_name = "N", default_value_t = ServeOptions::default().open_collections)]
    open_collections: usize,
    /// Longest time that a request may take once its body has arrived
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_span)]
    request_timeout: Duration,
}

impl Serve {
    fn options(&self, context: &Context) -> Outcome<ServeOptions> {
        let access = match &self.auth {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Failure::file("read", &path.display().to_string(), &error))?;
                Access::Tokens(Tokens::parse(&text)?)
            }
            None if self.no_auth => Access::Open,
            None => Access::Loopback,
        };
        if matches!(access, Access::Loopback) && !self.address.ip().is_loopback() {
            let problem = format!("{} is reachable from other machines, and every client would get in", self.address);
            return Err(Failure::new(Exit::Usage, problem)
                .help("name a file of tokens with `--auth`, or let everyone in with `--no-auth`"));
        }
        Ok(ServeOptions::default()
            .address(self.address)
            .access(access)
            .allowed_hosts(self.allowed_host.clone())
            .tls(self.tls_cert.clone().zip(self.tls_key.clone()))
            .allow_reset(self.allow_reset)
            .compact(self.compact)
            .policy(ServeOptions::default().policy.fold_segments(self.fold_segments.max(1)))
            .sweep(SweepOptions::default().min_age(self.min_age))
            .location(context.location()?)
            .max_staleness(self.max_staleness)
            .memory(context.memory())
            .open_collections(self.open_collections)
            .max_body(usize::try_from(self.max_body).unwrap_or(usize::MAX))
            .request_memory(self.request_memory)
            .max_connections(self.max_connections)
            .max_queries(self.max_queries)
            .request_timeout(self.request_timeout))
    }

    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let options = self.options(context)?;
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        let store = context.opened(context.location()?.sparing_memory().store().await?);
        let location = store.location();
        keep_blocks(KEPT);
        let server = Server::bind(store, options).await?;
        let url = format!("{scheme}://{}", server.address());
        if context.output.json {
            context.output.json_line(&json!({ "url": url, "store": location }))?;
        } else {
            context.output.line(format!("serving {location} at {url}; interrupt to stop"))?;
        }
        server.run(signals::stopped()).await;
        Ok(())
    }
}
