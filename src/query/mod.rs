//! Queries: nearest neighbours and filters, over base and log together.
//!
//! | module | holds |
//! |---|---|
//! | `request` | queries and answers |
//! | `base`, `index` | the record that owns each embedding row, now |
//! | `filter`, `select` | filters, and the records that match one |
//! | `workers`, `scan`, `tiles`, `kernel` | the pass over the codes, on all cores |
//! | `nearest`, `top` | the candidates for the nearest, and the nearest |
//! | `refine` | the rows in f32 that codes do not rule out, fetched if they are not in memory |
//! | `records` | the records of an answer, those of one part together |
//! | `among` | searches among records that are named, for the server |
//! | `search`, `find`, `delete`, `warm` | the calls of readers and writers |

#[cfg(feature = "serve")]
mod among;
mod base;
mod bits;
mod delete;
mod few;
mod filter;
mod find;
mod found;
mod index;
mod kernel;
mod nearest;
mod owner;
mod probe;
mod records;
mod refine;
mod request;
mod scan;
mod search;
mod select;
mod tiles;
mod top;
mod warm;
mod workers;

pub use filter::{
    Chance, Condition, Decided, DocumentCondition, Filter, FilterError, Matcher, PartColumns, PartDocuments, RowSet,
    Scalar,
};
pub use find::Find;
pub use request::{Answer, Exactness, Hit, Include, MAX_K, Query, Stages, Work};
