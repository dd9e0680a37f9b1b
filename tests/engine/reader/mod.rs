//! Readers: their answers, at which moments, and their errors.

mod errors;
mod model;
mod parts;
mod races;
mod versions;
