//! The response of a store to a request.

use bytes::Bytes;
use deltafold_format::Timestamp;

use crate::store::{Listed, Object, Outcome, Unless};

/// The response of a store to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response {
    /// The store did it.
    Done,
    /// The object is absent.
    Absent,
    /// The object is unchanged.
    Unchanged,
    /// The condition of a write did not hold.
    Refused,
    /// Others were writing. Nothing landed.
    Conflict,
    /// An error, or no answer.
    Failed,
}

impl Response {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Absent => "absent",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
        }
    }
}

/// A result of a request, from which a [`Meter`](crate::store::Meter) takes the response.
///
/// Every result of a verb of [`Store`](crate::store::Store) has one. Implement it for the results
/// of requests that are not verbs, such as the start of an upload.
pub trait HasResponse {
    /// The response, and the bytes of objects received with it.
    fn response(&self) -> (Response, u64);
}

impl HasResponse for Option<Object> {
    fn response(&self) -> (Response, u64) {
        read_response(self.as_ref().map(|object| &object.bytes))
    }
}

impl HasResponse for Option<Bytes> {
    fn response(&self) -> (Response, u64) {
        read_response(self.as_ref())
    }
}

impl HasResponse for Unless {
    fn response(&self) -> (Response, u64) {
        match self {
            Self::Unchanged => (Response::Unchanged, 0),
            Self::Changed(object) => read_response(Some(&object.bytes)),
            Self::Absent => (Response::Absent, 0),
        }
    }
}

impl HasResponse for Outcome {
    fn response(&self) -> (Response, u64) {
        let response = match self {
            Self::Done(_) => Response::Done,
            Self::Refused => Response::Refused,
            Self::Unknown(_) => Response::Failed,
        };
        (response, 0)
    }
}

impl HasResponse for Vec<Listed> {
    fn response(&self) -> (Response, u64) {
        (Response::Done, 0)
    }
}

impl HasResponse for Timestamp {
    fn response(&self) -> (Response, u64) {
        (Response::Done, 0)
    }
}

impl HasResponse for () {
    fn response(&self) -> (Response, u64) {
        (Response::Done, 0)
    }
}

/// The response to a read of an object or of a range, and its length.
pub(crate) fn read_response(bytes: Option<&Bytes>) -> (Response, u64) {
    bytes.map_or((Response::Absent, 0), |bytes| (Response::Done, bytes.len() as u64))
}
