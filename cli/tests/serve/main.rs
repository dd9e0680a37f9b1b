//! The server as clients see it: real connections, a store in a folder or in memory.
#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it must be")]
#![expect(clippy::disallowed_methods, reason = "a test starts servers and clients as tasks of its own")]

mod access;
mod api;
mod catalogue;
mod chroma;
mod erase;
mod follow;
mod fuzz;
mod greedy;
#[cfg(feature = "dynamodb")]
mod heads;
#[cfg(feature = "import")]
mod import;
mod javascript;
#[cfg(feature = "s3")]
mod killed;
mod limits;
#[cfg(target_os = "linux")]
mod load;
mod logs;
mod openapi;
mod operation;
mod own;
mod page;
mod program;
mod records;
mod servers;
