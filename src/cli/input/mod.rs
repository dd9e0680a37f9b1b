//! Files and standard input as ops, plain or compressed, read and parsed on a thread of their own.

mod lines;
mod ops;
mod packed;
mod small;

pub(crate) use lines::Input;
pub(crate) use ops::{Event, Reading, Trust, read};
pub(crate) use small::{Limit, read_text};
