//! Filters, which select the records of a query.
//!
//! | file | holds |
//! |---|---|
//! | `ast` | [`Filter`] and its parts, as users build them |
//! | `check` | the limits of a filter |
//! | `json`, `parse`, `write` | the JSON form, read and written |
//! | `scalars` | the scalars that a condition accepts, type by type |
//! | `matcher` | [`Matcher`], the form that is evaluated; evaluation on records |
//! | `columns` | evaluation on the columns of a part |
//! | `prune` | evaluation on the summary of a part |
//! | `row_set` | sets of rows |

mod ast;
mod build;
mod check;
mod columns;
mod error;
mod json;
mod matcher;
mod parse;
mod prune;
mod row_set;
mod scalars;
mod write;

pub use ast::{Condition, DocumentCondition, Filter, Scalar};
pub use columns::{Decided, PartColumns, PartDocuments};
pub use error::FilterError;
pub use matcher::Matcher;
pub use prune::Chance;
pub use row_set::RowSet;

#[cfg(test)]
mod by_the_book;
#[cfg(test)]
mod columns_tests;
#[cfg(test)]
mod prune_tests;
#[cfg(test)]
mod tests;
