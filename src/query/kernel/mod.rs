//! Scans of codes: exact integers on every machine, bounds that cover all rounding, distances in
//! f64.
//!
//! A query becomes [`QueryCodes`] once. A scan takes the dots of a tile of rows
//! ([`Kernel::fine_dots`], [`Kernel::coarse_dots`], [`Kernel::sign_dots`]) and turns them into
//! [`Bounds`] or [`Estimates`]. The distance of the row itself decides ([`Distances`]).
//! `deltafold_format::codes` has the formulas.

mod bounds;
mod dispatch;
mod distance;
mod estimates;
mod mask;
mod portable;
mod query;
mod rows;
mod simd;
#[cfg(test)]
mod tests;

pub(crate) use bounds::{Bounds, ByteFactors, GROUP};
pub(crate) use dispatch::{Kernel, Queries, wide};
pub(crate) use distance::Distances;
pub(crate) use estimates::{Estimates, SignExtremes, SignFactors};
pub(crate) use query::QueryCodes;
pub(crate) use rows::Rows;
pub(crate) use simd::prefetch;
