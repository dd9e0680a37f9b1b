//! The failure of a whole invocation. The service then repeats it.

use std::fmt;

use lambda_runtime::Diagnostic;

use crate::error::Error;

/// The reason of the failure.
#[derive(Debug)]
pub(super) struct Failure {
    /// The kind, for alarms and searches.
    kind: String,
    reason: String,
}

impl Failure {
    /// The event is not for this function.
    pub(super) fn event(reason: String) -> Self {
        Self { kind: "Event".to_owned(), reason }
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

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Self { error_type: format!("Deltafold.{}", failure.kind), error_message: failure.reason }
    }
}
