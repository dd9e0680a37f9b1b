//! The appender of a shard: it commits the batches of one writer, one after the other.

pub(crate) mod commit;
mod driver;
mod fairness;

pub(super) use driver::{Driver, Landed, Placing, check};
