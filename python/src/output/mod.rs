//! Records as columns of numpy and Arrow.

pub(crate) mod rows;
pub(crate) mod stream;
