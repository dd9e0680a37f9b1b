//! The meaning of an error of the SDK.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::credentials::UNFIT;

/// The effect of a request that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 304: the object has not changed.
    Unchanged,
    /// 412, or a condition of a table: the condition did not hold.
    Refused,
    /// 409: another writer was at work; nothing landed.
    Conflict,
    /// 404 of an object.
    Absent,
    /// 416: the object ends before the range begins.
    PastTheEnd,
    /// Nothing landed; a retry may help.
    Rejected(String),
    /// Nothing landed, and a retry changes nothing.
    Impossible(String),
    /// Nothing landed: the service does not know the request.
    Unsupported(String),
    /// No answer, or one that leaves it open whether the request landed.
    Lost(String),
}

/// Judges an error.
pub(crate) fn judge<E>(error: &SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let raw = service.raw();
            let meta = service.err();
            let region = raw.headers().get("x-amz-bucket-region");
            answered(raw.status().as_u16(), meta.code().unwrap_or_default(), meta.message().unwrap_or_default(), region)
        }
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            Fault::Lost(format!("the answer (HTTP {status}) could not be read: {}", chain(error)))
        }
        SdkError::TimeoutError(_) => Fault::Lost("no answer in time".to_owned()),
        SdkError::DispatchFailure(failure) if failure.is_user() => Fault::Impossible(chain(error)),
        SdkError::DispatchFailure(failure) => {
            let reason = chain(error);
            if failure.is_timeout() || failure.is_io() { Fault::Lost(reason) } else { without_an_answer(reason) }
        }
        _ => without_an_answer(chain(error)),
    }
}

/// The SDK made no request, or the service understood none.
fn without_an_answer(reason: String) -> Fault {
    if let Some(at) = reason.find(UNFIT) {
        Fault::Impossible(reason.get(at..).unwrap_or_default().to_owned())
    } else if reason.contains("credentials") || reason.contains("identity") {
        let help = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE), or a role of the machine";
        Fault::Impossible(format!("no credentials were found: {reason}; {help}"))
    } else {
        Fault::Lost(reason)
    }
}

fn answered(status: u16, code: &str, message: &str, region: Option<&str>) -> Fault {
    let said = match (code, message) {
        ("", "") => format!("HTTP {status}"),
        (code, "") => code.to_owned(),
        ("", message) => format!("HTTP {status}: {message}"),
        (code, message) => format!("{code}: {}", message.trim_end_matches('.')),
    };
    let help = |help: &str| Fault::Impossible(format!("{said}; {help}"));
    match (status, code) {
        (304, _) => Fault::Unchanged,
        (412, _) | (_, "PreconditionFailed" | "ConditionalCheckFailedException") => Fault::Refused,
        (409, "BucketNotEmpty" | "InvalidBucketState") => Fault::Impossible(said),
        (409, _) | (_, "ConditionalRequestConflict" | "OperationAborted" | "TransactionConflictException") => {
            Fault::Conflict
        }
        (416, _) => Fault::PastTheEnd,
        (_, "NoSuchBucket") => help("create the bucket, or correct its name in the store's address"),
        (_, "ResourceNotFoundException") => {
            help("make the table with `deltafold create --create-table`, or correct its name or region")
        }
        (404, _) => Fault::Absent,
        (301 | 307 | 308, _)
        | (_, "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
            match region {
                Some(region) => {
                    help(&format!("the bucket lies in {region}: add `?region={region}` to the store's address"))
                }
                None => help("the bucket lies in another region: set `?region=` in the store's address"),
            }
        }
        (_, "RequestTimeTooSkewed") => help("the clock of this machine is wrong: set it"),
        (
            _,
            "InvalidAccessKeyId"
            | "NotSignedUp"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException"
            | "InvalidSignatureException",
        ) => help("the credentials are wrong: check the access key and the secret"),
        (_, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired") => {
            help("the credentials have expired: renew them")
        }
        (401 | 403, _) | (_, "AccessDeniedException") => {
            help("the credentials lack a permission: `docs/s3.md` lists those that are needed")
        }
        // The bytes were damaged on their way, or came too late: the service took none of them.
        (
            _,
            "BadDigest"
            | "XAmzContentChecksumMismatch"
            | "XAmzContentSHA256Mismatch"
            | "InvalidDigest"
            | "IncompleteBody"
            | "RequestTimeout",
        ) => Fault::Rejected(said),
        (
            _,
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "LimitExceededException",
        ) => Fault::Rejected(said),
        (405 | 501, _) | (_, "NotImplemented" | "MethodNotAllowed") => Fault::Unsupported(format!(
            "{said}; the service lacks something that Deltafold needs: `deltafold doctor` lists what"
        )),
        // 200: S3 may begin its answer before it is done, and report a failure in the body.
        (200..=299 | 429 | 500.., _) => Fault::Lost(said),
        _ => Fault::Impossible(said),
    }
}

/// The error and its causes, the most telling last.
fn chain(error: &dyn Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if said.last().is_none_or(|last| !last.contains(&text)) {
            said.push(text);
        }
        next = error.source();
    }
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged_as_the_service_defines_them() {
        let judged = |status, code| answered(status, code, "", None);
        for (status, code, fault) in [
            (304, "", Fault::Unchanged),
            (412, "PreconditionFailed", Fault::Refused),
            (200, "PreconditionFailed", Fault::Refused),
            (409, "ConditionalRequestConflict", Fault::Conflict),
            (409, "OperationAborted", Fault::Conflict),
            (400, "ConditionalCheckFailedException", Fault::Refused),
            (404, "NoSuchKey", Fault::Absent),
            (404, "NotFound", Fault::Absent),
            (404, "", Fault::Absent),
            (416, "InvalidRange", Fault::PastTheEnd),
        ] {
            assert_eq!(judged(status, code), fault, "{status} {code}");
        }
        for (status, code) in
            [(500, "InternalError"), (503, "SlowDown"), (502, ""), (504, ""), (429, "TooManyRequests")]
        {
            assert!(matches!(judged(status, code), Fault::Lost(_)), "{status} {code} may have landed");
        }
        for (status, code) in [(400, "BadDigest"), (400, "RequestTimeout"), (400, "ThrottlingException")] {
            assert!(matches!(judged(status, code), Fault::Rejected(_)), "{status} {code} landed nothing");
        }
        for (status, code, help) in [
            (404, "NoSuchBucket", "create the bucket"),
            (403, "AccessDenied", "permission"),
            (403, "", "permission"),
            (403, "InvalidAccessKeyId", "credentials are wrong"),
            (403, "SignatureDoesNotMatch", "credentials are wrong"),
            (403, "RequestTimeTooSkewed", "clock"),
            (400, "ExpiredToken", "renew"),
            (301, "PermanentRedirect", "region"),
            (400, "AuthorizationHeaderMalformed", "region"),
            (400, "ResourceNotFoundException", "--create-table"),
            (400, "InvalidArgument", "InvalidArgument"),
        ] {
            match judged(status, code) {
                Fault::Impossible(reason) => assert!(reason.contains(help), "{reason}"),
                other => panic!("{status} {code}: {other:?}"),
            }
        }
        for (status, code) in [(501, "NotImplemented"), (405, "MethodNotAllowed"), (501, "")] {
            let judged = judged(status, code);
            assert!(matches!(&judged, Fault::Unsupported(reason) if reason.contains("doctor")), "{judged:?}");
        }
        let elsewhere = answered(301, "PermanentRedirect", "Use the right one.", Some("eu-west-1"));
        assert!(matches!(elsewhere, Fault::Impossible(reason) if reason.contains("?region=eu-west-1")));
    }
}
