//! Files and standard input as ops, plain or compressed, read and parsed on a thread of their own.

mod lines;
mod ops;

pub(crate) use lines::Input;
pub(crate) use ops::{Event, read};
