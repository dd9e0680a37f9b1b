//! Queries: nearest neighbours and filters, over base and log together.

mod filter;
mod kernel;

pub use filter::{Condition, DocumentCondition, Filter, FilterError, Matcher, Scalar};
