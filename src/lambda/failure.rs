//! The failure of a whole invocation. The service then repeats it.

use lambda_runtime::Diagnostic;

use crate::error::Error;
use crate::ingest::Cause;

/// The reason of a failed invocation.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// The kind, for alarms and searches.
    kind: String,
    reason: String,
}

impl Failure {
    /// The kind: `Event` for an event that is not for this function, `Late` where the time ran out,
    /// or the name of an [`ErrorKind`](crate::ErrorKind).
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The event is not for this function.
    pub(super) fn event(reason: String) -> Self {
        Self { kind: "Event".to_owned(), reason }
    }

    /// An event that came once, and not to a queue or a stream, was not appended.
    pub(super) fn not_appended(cause: Cause, reason: &str) -> Self {
        let kind = if cause == Cause::NotUnderstood { "Event" } else { "Unavailable" };
        Self { kind: kind.to_owned(), reason: format!("the event was not appended: {reason}") }
    }

    /// The time ran out.
    pub(super) fn late(reason: String) -> Self {
        Self { kind: "Late".to_owned(), reason }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { kind: format!("{:?}", error.kind()), reason: error.to_string() }
    }
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Self { error_type: format!("Deltafold.{}", failure.kind), error_message: failure.reason }
    }
}
