//! Reads the log: its end, its segments in order, and its ops as they come.
//!
//! | file | part |
//! |---|---|
//! | `end` | the one function that distinguishes the end of the log from a hole in it |
//! | `tail` | finding the first free slot |
//! | `scan` | reading the segments in front of it |
//! | `piece` | the part of each segment that a scan reads |
//! | `listing` | names of segments |
//! | `foreign` | slots that hold segments of a dropped collection of the same name |
//! | `follow` | the ops in order, as they come |

mod end;
mod follow;
mod foreign;
mod listing;
mod piece;
mod scan;
mod tail;

pub(crate) use end::{Look, POLLS_A_LIST, judge};
pub use follow::{Follow, FollowOptions};
pub(crate) use foreign::{Foreign, folded_is_foreign};
pub(crate) use piece::WithObject;
pub(super) use scan::read_headers;
pub(crate) use scan::{ScanMode, TailRead, read_named_with_objects, read_tail, read_tail_with_objects};
pub(super) use tail::find_tail;
pub(crate) use tail::{End, Search};
