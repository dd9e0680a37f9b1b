//! Reads the log: its end, its segments in order, and its ops as they come.
//!
//! | file | part |
//! |---|---|
//! | `end` | the one function that distinguishes the end of the log from a hole in it |
//! | `scan` | finding the end, and reading the segments in front of it |
//! | `foreign` | slots that hold segments of a dropped collection of the same name |
//! | `follow` | the ops in order, as they come |

mod end;
mod follow;
mod foreign;
mod scan;

pub(crate) use end::{Look, POLLS_A_LIST, judge};
pub use follow::{Follow, FollowOptions};
pub(crate) use foreign::{Foreign, folded_is_foreign};
pub(crate) use scan::{
    End, ScanMode, Search, TailRead, WithObject, read_named_with_objects, read_tail, read_tail_with_objects,
};
pub(super) use scan::{find_tail, read_headers};
