//! The meaning of an error of the SDK.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::astray::Astray;
use super::causes::{chain, find};
use super::sign_in::{NoCredentials, Sources};
use super::wire::{FirstContact, down};

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
    /// There is no such bucket; nothing landed.
    NoBucket(String),
    /// 416: the object ends before the range begins.
    PastTheEnd,
    /// Nothing landed; a retry may help.
    Rejected(String),
    /// Nothing landed, and a retry changes nothing.
    Impossible(String),
    /// Nothing landed: a quota is used up, or there is no room.
    Full(String),
    /// Nothing landed: the service does not know the request.
    Unsupported(String),
    /// No answer, or one that leaves it open whether the request landed.
    Lost(String),
    /// Another program than the service answered, or the service refuses for good, and it is open
    /// whether the request landed. A retry changes nothing.
    Astray(String),
}

/// Judges an error.
pub(crate) fn judge<E>(error: &SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(error) = find::<CredentialsError>(error) {
        return match NoCredentials::of(error, &Sources::of_environment()) {
            NoCredentials::Late(reason) => Fault::Rejected(reason),
            NoCredentials::Never(reason) => Fault::Impossible(reason),
        };
    }
    if let Some(astray) = find::<Astray>(error) {
        let reason = astray.reason.clone();
        return if astray.answered { Fault::Astray(reason) } else { Fault::Impossible(reason) };
    }
    match error {
        SdkError::ServiceError(service) => {
            let (raw, meta) = (service.raw(), service.err());
            let is_empty = meta.code().unwrap_or_default().is_empty();
            if raw.status().is_success() && is_empty && raw.extension::<FirstContact>().is_some() {
                return astray(raw, "it is no document of the service");
            }
            let answer = Answer {
                status: raw.status().as_u16(),
                code: meta.code().unwrap_or_default(),
                message: meta.message().unwrap_or_default(),
                region: raw.headers().get("x-amz-bucket-region"),
                location: raw.headers().get("location"),
            };
            answer.fault()
        }
        SdkError::ResponseError(response) => {
            let (raw, said) = (response.raw(), chain(error));
            if raw.extension::<FirstContact>().is_some() {
                return astray(raw, &said);
            }
            Fault::Lost(format!("the answer (HTTP {}) could not be read: {said}", raw.status().as_u16()))
        }
        SdkError::TimeoutError(_) => Fault::Lost("no answer in time".to_owned()),
        SdkError::DispatchFailure(failure) if failure.is_user() => Fault::Impossible(chain(error)),
        _ => Fault::Lost(down(error).unwrap_or_else(|| chain(error))),
    }
}

/// An answer of a host that has not answered as a service does yet, and that cannot be read.
fn astray(raw: &HttpResponse, said: &str) -> Fault {
    let place = raw.extension::<FirstContact>().map(|contact| contact.place.as_str()).unwrap_or_default();
    let kind = raw.headers().get("content-type").unwrap_or("no type");
    Fault::Astray(format!(
        "{place} answered HTTP {} with {kind} that cannot be read ({said}), and no service of AWS answers so: name the port of the service in the endpoint",
        raw.status().as_u16()
    ))
}

/// The answer of a service.
#[derive(Debug, Clone, Copy, Default)]
struct Answer<'a> {
    status: u16,
    code: &'a str,
    message: &'a str,
    region: Option<&'a str>,
    location: Option<&'a str>,
}

impl Answer<'_> {
    fn said(&self) -> String {
        match (self.code, self.message) {
            ("", "") => format!("HTTP {}", self.status),
            (code, "") => code.to_owned(),
            ("", message) => format!("HTTP {}: {message}", self.status),
            (code, message) => format!("{code}: {}", message.trim_end_matches('.')),
        }
    }

    fn fault(&self) -> Fault {
        let said = self.said();
        match (self.status, self.code) {
            (304, _) => Fault::Unchanged,
            (412, _) | (_, "PreconditionFailed" | "ConditionalCheckFailedException") => Fault::Refused,
            (409, "BucketNotEmpty" | "InvalidBucketState") => Fault::Impossible(said),
            (409, _) | (_, "ConditionalRequestConflict" | "OperationAborted" | "TransactionConflictException") => {
                Fault::Conflict
            }
            (416, _) => Fault::PastTheEnd,
            (_, "NoSuchBucket") => Fault::NoBucket(said),
            (_, code) if is_full(code) || self.is_denied_by_a_quota() => self.full(),
            (_, "ResourceNotFoundException") => {
                self.help("make the table with `deltafold create --create-table`, or correct its name or region")
            }
            (404, _) => Fault::Absent,
            (301 | 302 | 307 | 308, _)
            | (_, "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
                self.elsewhere()
            }
            (401 | 403, _) | (_, "AccessDeniedException") => self.denied(),
            (_, code) if is_of_credentials(code) => self.denied(),
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

    fn help(&self, help: &str) -> Fault {
        Fault::Impossible(format!("{}; {help}", self.said()))
    }

    fn is_denied_by_a_quota(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        matches!(self.code, "AccessDenied" | "") && self.status == 403 && message.contains("quota")
    }

    /// A store that has no room. A failure of the server itself leaves it open what landed.
    fn full(&self) -> Fault {
        let reason = format!("{}; free space there, or have the quota raised", self.said());
        if self.status >= 500 { Fault::Astray(reason) } else { Fault::Full(reason) }
    }

    /// A redirect.
    fn elsewhere(&self) -> Fault {
        // S3 names the region in a header, or in its sentence: "…; expecting 'eu-west-1'".
        let expected = || self.message.split_once("expecting '")?.1.split('\'').next();
        if let Some(region) = self.region.or_else(expected) {
            return self.help(&format!("the bucket lies in {region}: add `?region={region}` to the store's address"));
        }
        if let (Some(location), "") = (self.location, self.code) {
            let place = location.split(['?', '#']).next().unwrap_or_default();
            return self.help(&format!("it redirects to `{place}`: name the service itself in the endpoint"));
        }
        self.help("the bucket lies in another region: set `?region=` in the store's address")
    }

    /// Credentials that are wrong, old or not enough.
    fn denied(&self) -> Fault {
        let has = |words: &[&str]| words.iter().any(|words| self.message.contains(words));
        match self.code {
            "RequestTimeTooSkewed" | "RequestInTheFuture" => self.help("the clock of this machine is wrong: set it"),
            "InvalidSignatureException" | "SignatureDoesNotMatch"
                if has(&["Signature expired", "Signature not yet current"]) =>
            {
                self.help("the clock of this machine is wrong: set it")
            }
            code if is_expired(code) => {
                self.help("the credentials have expired: renew them, by `aws sso login` or a new AWS_SESSION_TOKEN")
            }
            code if is_of_credentials(code) => {
                self.help("the credentials are wrong: check the access key, the secret and the session token")
            }
            _ => self.help("the credentials lack a permission: `docs/s3.md` lists those that are needed"),
        }
    }
}

/// Codes of services without room: MinIO, Ceph, SeaweedFS and others have their own.
fn is_full(code: &str) -> bool {
    code.contains("QuotaExceeded") && code != "ServiceQuotaExceededException"
        || matches!(code, "XMinioStorageFull" | "InsufficientStorage" | "StorageFull" | "storage_cap_exceeded")
}

fn is_expired(code: &str) -> bool {
    matches!(code, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired")
}

/// Codes that say something of the credentials, whatever the status.
fn is_of_credentials(code: &str) -> bool {
    is_expired(code)
        || matches!(
            code,
            "RequestTimeTooSkewed"
                | "RequestInTheFuture"
                | "InvalidAccessKeyId"
                | "InvalidToken"
                | "InvalidClientTokenId"
                | "NotSignedUp"
                | "SignatureDoesNotMatch"
                | "UnrecognizedClientException"
                | "InvalidSignatureException"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged_as_the_service_defines_them() {
        let judged = |status, code| Answer { status, code, ..Answer::default() }.fault();
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
            (403, "AccessDenied", "permission"),
            (403, "", "permission"),
            (403, "InvalidAccessKeyId", "credentials are wrong"),
            (403, "SignatureDoesNotMatch", "credentials are wrong"),
            (400, "InvalidToken", "session token"),
            (400, "UnrecognizedClientException", "credentials are wrong"),
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
    }

    fn impossible(answer: Answer<'_>) -> String {
        match answer.fault() {
            Fault::Impossible(reason) => reason,
            other => panic!("{answer:?}: {other:?}"),
        }
    }

    #[test]
    fn a_redirect_names_the_region_or_the_place() {
        let redirect = Answer { status: 301, code: "PermanentRedirect", ..Answer::default() };
        let region = Some("eu-west-1");
        assert!(impossible(Answer { region, ..redirect }).contains("?region=eu-west-1"));
        let message = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'";
        let malformed = Answer { status: 400, code: "AuthorizationHeaderMalformed", message, ..Answer::default() };
        assert!(impossible(malformed).contains("?region=eu-west-1"));
        assert!(impossible(redirect).contains("another region"));
        let location = Some("https://host/login?token=hush");
        let said = impossible(Answer { status: 302, location, ..Answer::default() });
        assert!(said.contains("`https://host/login`") && !said.contains("hush"), "{said}");
    }

    #[test]
    fn a_store_without_room_is_full_not_forbidden() {
        for (status, code, message) in [
            (403, "QuotaExceeded", ""),
            (400, "XMinioAdminBucketQuotaExceeded", "Bucket quota exceeded"),
            (403, "AccessDenied", "Bucket quota exceeded"),
        ] {
            let fault = Answer { status, code, message, ..Answer::default() }.fault();
            assert!(matches!(&fault, Fault::Full(reason) if reason.contains("free space")), "{fault:?}");
        }
        let fault = Answer { status: 507, code: "XMinioStorageFull", ..Answer::default() }.fault();
        assert!(matches!(fault, Fault::Astray(_)), "what landed is open: {fault:?}");
    }

    #[test]
    fn a_signature_of_another_time_is_a_wrong_clock() {
        let message = "Signature expired: 20260101T000000Z is now earlier than 20261128T000000Z";
        let answer = Answer { status: 403, code: "InvalidSignatureException", message, ..Answer::default() };
        assert!(impossible(answer).contains("clock"));
    }
}
