//! Objects of every format version, kept for ever: each later build must read them as they were
//! meant, and must refuse each one's corrupted twin with the error named here.
//!
//! `DELTAFOLD_WRITE_GOLDENS=1 cargo test -p deltafold-format --test golden` writes those that are
//! missing. An object that is there is never overwritten: it stands for what released programs have
//! written.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use deltafold_format::{Sequence, TimeRange, Timestamp, Uid};

mod embeddings;
mod kept;
mod manifest;
mod part;
mod registers;
mod segment;

const COLLECTION: Uid = Uid::new(0x0123_4567_89ab_cdef_0011_2233_4455_6677);

fn sequence(number: u64) -> Sequence {
    Sequence::new(number).unwrap()
}

fn times() -> TimeRange {
    let [first, last] = [1_767_225_600_000, 1_767_225_601_234].map(Timestamp::from_millis);
    TimeRange { first, last }
}
