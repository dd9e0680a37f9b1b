//! The server: Chroma's HTTP API, version 2, in front of a store.
//!
//! Any number of servers share one store. All state is in the store: the catalogue in
//! `src/catalogue/`, and one Deltafold collection for each collection of the catalogue. A write is
//! answered once it is durable in the log. A read sees every write that any server answered before
//! the read began.
//!
//! | file | holds |
//! |---|---|
//! | `options`, `listen`, `patient` | settings; connections, their limits, and a stop that loses nothing |
//! | `embedded` | the server without connections, for functions and for Python |
//! | `app`, `routes` | the state of the server, and one handler for each call of the API |
//! | `described`, `page/` | routes with their OpenAPI document; the files of the page for people |
//! | `auth`, `hosts`, `tokens` | the check of a request, of its host; tokens and their scopes |
//! | `pool`, `opened` | open collections: writer, reader, compaction |
//! | `gather`, `turns` | searches that share a pass; large writes that wait for a read |
//! | `named`, `erase` | records named by their ids; deletes by filter |
//! | `answer`, `columns`, `many`, `error` | records and errors out |
//! | `body`, `bounded`, `room` | bodies, and the limits of their memory |
//! | `batch`, `embedding`, `metadata`, `filters` | requests in, ops and filters out |
//! | `counted`, `samples` | the requests of one collection; its lag and version over time |
//! | `metrics`, `incidents` | counts for people and Prometheus; errors of the recent past |

mod answer;
mod app;
mod auth;
mod batch;
mod body;
mod bounded;
mod columns;
mod counted;
mod described;
mod embedded;
mod embedding;
mod erase;
mod error;
mod filters;
mod gather;
mod hosts;
mod incidents;
mod listen;
mod many;
mod metadata;
mod metrics;
mod named;
mod opened;
mod options;
mod patient;
mod pool;
mod room;
mod routes;
mod samples;
mod tokens;
mod turns;

pub use embedded::{Embedded, Reply};
#[cfg(feature = "lambda")]
pub(crate) use embedded::{Watched, refused};
#[cfg(feature = "lambda")]
pub(crate) use error::ApiError;
pub use listen::Server;
pub use options::{Access, ServeOptions};
pub use tokens::Tokens;
