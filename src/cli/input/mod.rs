//! Files and standard input as ops, plain or compressed. A thread of their own reads and parses
//! them.

mod lines;
mod ops;
mod packed;
mod small;

pub(crate) use lines::Input;
pub(crate) use ops::{Event, Reading, Trust, read};
pub(crate) use small::{Limit, read_text};
