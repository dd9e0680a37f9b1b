//! Scans of codes: integers exact on every machine, bounds that cover all rounding, distances in f64.
//!
//! A query becomes [`QueryCodes`] once. A scan takes the dots of a tile of rows ([`Kernel::byte_dots`],
//! [`Kernel::sign_dots`]) and turns them into [`bounds`] or [`estimates`]. [`distance`] of the row itself
//! decides. `deltafold_format::codes` has the formulas.

mod bounds;
mod dispatch;
mod distance;
mod portable;
mod query;
mod simd;
#[cfg(test)]
mod tests;

pub(crate) use bounds::{ByteFactors, SignFactors, bounds, estimates};
pub(crate) use dispatch::Kernel;
pub(crate) use distance::distance;
pub(crate) use query::QueryCodes;
