//! Readers: what they answer, at which moments, and what of it is an error.

mod errors;
mod model;
mod parts;
mod races;
mod versions;
