//! An invocation that failed as a whole: the service makes it again.

use std::fmt;

use lambda_runtime::Diagnostic;

use crate::error::Error;

/// Why it failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// What alarms and searches can tell apart.
    kind: String,
    reason: String,
}

impl Failure {
    /// The event is none for this function.
    pub(super) fn event(reason: String) -> Self {
        Self { kind: "Event".to_owned(), reason }
    }

    /// There was not enough time.
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
