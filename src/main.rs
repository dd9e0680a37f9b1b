//! The `deltafold` program.
fn main() {}
