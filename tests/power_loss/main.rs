//! The power fails after every single call of the operating system by which a store changes its
//! folder. Data not flushed by then is dropped, torn, or there. Everything acknowledged must be
//! there, every object must be whole, and work must go on.
#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it must be")]

mod alone;
mod disk;
mod known;
mod mutants;
mod recording;
mod together;
