//! Files and standard input as ops, plain or compressed. Threads of their own read and parse them.

mod lines;
mod ops;
mod packed;
mod parsers;
mod reject;
mod rejects;
mod small;
#[cfg(feature = "columnar")]
mod table;

pub(crate) use lines::{Input, Table};
pub(crate) use ops::{Event, Reading, Trust, read};
pub(crate) use parsers::Batch;
#[cfg(feature = "mapping")]
pub(crate) use reject::Reject;
pub(crate) use reject::Rules;
pub(crate) use rejects::{Rejects, RejectsArguments};
pub(crate) use small::{Limit, read_text};
#[cfg(feature = "columnar")]
pub(crate) use table::read_table;
