//! Errors of queues.

use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::aws::{Fault, judge};
use crate::store_error::{StoreError, StoreErrorKind};

/// A failure of a queue. [`QueueError::kind`] tells the remedy.
#[derive(Debug, Clone)]
pub struct QueueError {
    kind: QueueErrorKind,
    verb: &'static str,
    queue: String,
    reason: String,
}

/// The caller's remedy for a [`QueueError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueErrorKind {
    /// Name a queue that exists.
    NotFound,
    /// Fix the input: an address that names no queue, or a message that no queue takes.
    Invalid,
    /// Try again later: the service is busy or out of reach. The verb has retried for about 15 s
    /// already.
    Transient,
    /// Wait: the last purge of the queue is less than a minute old, or its messages are being
    /// moved.
    Busy,
    /// Find another way: this service does not know the verb.
    Unsupported,
    /// Fix the settings: permission, credentials, region.
    Permanent,
}

impl QueueError {
    pub(super) fn new(kind: QueueErrorKind, verb: &'static str, queue: &str, reason: impl fmt::Display) -> Self {
        Self { kind, verb, queue: queue.to_owned(), reason: reason.to_string() }
    }

    /// Translates an error of the SDK.
    pub(super) fn of<E>(verb: &'static str, queue: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        let metadata = error.as_service_error();
        let code = metadata.and_then(ProvideErrorMetadata::code).unwrap_or_default();
        let message = metadata.and_then(ProvideErrorMetadata::message).unwrap_or_default();
        if let Some((kind, reason)) = answered(status, code, message) {
            return Self::new(kind, verb, queue, reason);
        }
        match judge(error) {
            Fault::Lost(reason) | Fault::Rejected(reason) => Self::new(QueueErrorKind::Transient, verb, queue, reason),
            Fault::Impossible(reason) | Fault::Astray(reason) => {
                Self::new(QueueErrorKind::Permanent, verb, queue, reason)
            }
            Fault::Unsupported(reason) => Self::new(QueueErrorKind::Unsupported, verb, queue, reason),
            other => {
                let reason = format!("an unexpected answer: HTTP {status} {code} {message} ({other:?})");
                Self::new(QueueErrorKind::Permanent, verb, queue, reason)
            }
        }
    }

    /// The caller's remedy.
    pub fn kind(&self) -> QueueErrorKind {
        self.kind
    }

    /// The name of the queue, as the caller gave it.
    pub fn queue(&self) -> &str {
        &self.queue
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} the queue `{}`: {}", self.verb, self.queue, self.reason)
    }
}

impl std::error::Error for QueueError {}

impl From<StoreError> for QueueError {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind() {
            StoreErrorKind::Transient => QueueErrorKind::Transient,
            _ => QueueErrorKind::Permanent,
        };
        Self::new(kind, "reach", error.key(), error.reason())
    }
}

/// The meaning of SQS's own codes. `None` for a code that all services share.
fn answered(status: u16, code: &str, message: &str) -> Option<(QueueErrorKind, String)> {
    // The older and the newer protocol have different codes for one error:
    // `AWS.SimpleQueueService.NonExistentQueue`, `QueueDoesNotExist`.
    let short = code.rsplit(['.', '#']).next().unwrap_or(code);
    let said = if message.is_empty() { code.to_owned() } else { format!("{code}: {}", message.trim_end_matches('.')) };
    Some(match short {
        "NonExistentQueue" | "QueueDoesNotExist" => {
            let reason = "there is no such queue; correct its URL or name, or the region";
            (QueueErrorKind::NotFound, reason.to_owned())
        }
        "PurgeQueueInProgress" => {
            (QueueErrorKind::Busy, "it was purged less than 60 s ago; wait and try again".to_owned())
        }
        "UnsupportedOperation" | "InvalidAction" | "UnknownOperationException" | "NotImplemented" => {
            (QueueErrorKind::Unsupported, said)
        }
        "RequestThrottled" | "KmsThrottled" | "OverLimit" | "Throttling" => (QueueErrorKind::Transient, said),
        "InvalidMessageContents"
        | "MessageTooLong"
        | "BatchRequestTooLong"
        | "InvalidParameterValue"
        | "MissingParameter"
        | "InvalidAttributeValue" => (QueueErrorKind::Invalid, said),
        "AccessDenied" | "AccessDeniedException" | "InvalidSecurity" => {
            let help = "the credentials lack a permission on it: `docs/deploy/README.md` lists those that are needed";
            (QueueErrorKind::Permanent, format!("{said}; {help}"))
        }
        _ if status == 403 && code.is_empty() => {
            (QueueErrorKind::Permanent, "HTTP 403; the credentials lack a permission on it".to_owned())
        }
        "ResourceNotFoundException" => (QueueErrorKind::NotFound, said),
        _ => return None,
    })
}

/// One message of many that was not sent, deleted or put off.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotDone {
    /// Its index among the given messages, from 0.
    pub index: usize,
    /// Whether a retry may help. Otherwise the message or the receipt is wrong.
    pub is_transient: bool,
    /// The service's reason.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_protocols_mean_the_same() {
        for (code, kind) in [
            ("AWS.SimpleQueueService.NonExistentQueue", QueueErrorKind::NotFound),
            ("com.amazonaws.sqs#QueueDoesNotExist", QueueErrorKind::NotFound),
            ("QueueDoesNotExist", QueueErrorKind::NotFound),
            ("AWS.SimpleQueueService.PurgeQueueInProgress", QueueErrorKind::Busy),
            ("AWS.SimpleQueueService.UnsupportedOperation", QueueErrorKind::Unsupported),
            ("InvalidAction", QueueErrorKind::Unsupported),
            ("RequestThrottled", QueueErrorKind::Transient),
            ("OverLimit", QueueErrorKind::Transient),
            ("AccessDenied", QueueErrorKind::Permanent),
            ("InvalidMessageContents", QueueErrorKind::Invalid),
            ("ResourceNotFoundException", QueueErrorKind::NotFound),
        ] {
            assert_eq!(answered(400, code, "").map(|(kind, _)| kind), Some(kind), "{code}");
        }
        assert_eq!(answered(500, "InternalError", ""), None);
        assert_eq!(answered(400, "InvalidClientTokenId", ""), None);
        // A proxy in front of SQS answers without a code.
        let (kind, said) = answered(403, "", "").unwrap();
        assert_eq!(kind, QueueErrorKind::Permanent);
        assert!(said.contains("permission"), "{said}");
        assert_eq!(answered(403, "SignatureDoesNotMatch", ""), None);
        assert_eq!(answered(503, "", ""), None);
    }
}
