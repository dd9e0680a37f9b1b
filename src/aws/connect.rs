//! Connections: the sources of credentials and region, the timeouts, and the attempts of the SDK.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::credentials::Fit;
use super::environment::{check, check_value};
use super::file::read_file;
use super::proxy::Proxies;
use super::wire::Wire;
use crate::setters::setters;
use crate::store_error::{StoreError, StoreErrorKind};

/// The certificates of all authorities together take a quarter of this.
const MAX_CERTIFICATES: u64 = 1 << 20;
/// The variable of a file of certificates, as the tools of AWS read it.
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// The way to a service. Unset options come from the places where the tools of AWS look:
/// environment, profile, container, machine.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct AwsOptions {
    /// The region. Required where neither environment nor profile names one, and no `endpoint` is
    /// set.
    pub region: Option<String>,
    /// The endpoint of a service other than AWS's: `http://localhost:9000`.
    pub endpoint: Option<String>,
    /// Keys, instead of those of the environment.
    pub credentials: Option<Credentials>,
    /// Certificates of authorities to trust besides those of the operating system and of the file
    /// in `AWS_CA_BUNDLE`, in PEM.
    pub ca_certificates: Option<Vec<u8>>,
    /// The timeouts.
    pub timeouts: Timeouts,
    /// Attempts of the SDK for a request before it reports a failure. 1 by default: Deltafold
    /// retries by itself, counts every attempt, and decides lost answers. More attempts lose
    /// nothing either: Deltafold recognises a conditional write that its own success refused.
    pub attempts: Option<u32>,
}

setters!(AwsOptions {
    region: into Option<String>,
    endpoint: into Option<String>,
    credentials: into Option<Credentials>,
    ca_certificates: into Option<Vec<u8>>,
    timeouts: Timeouts,
    attempts: into Option<u32>,
});

/// Keys of an account.
#[derive(Clone)]
pub struct Credentials {
    /// The access key id.
    pub access_key: String,
    /// The secret.
    pub secret_key: String,
    /// The session token of temporary keys.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// The timeouts of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Until the connection is up, TLS included: 3 s.
    pub connect: Duration,
    /// From the sent request to the first byte of the answer: 10 s. The slowest measured answers of
    /// S3 took about that long.
    pub first_byte: Duration,
    /// A whole attempt up to the head of the answer, including the upload of a body: 30 s.
    pub attempt: Duration,
    /// A whole call, including all attempts of the SDK and the body of the answer: 60 s.
    pub operation: Duration,
}

setters!(Timeouts { connect: Duration, first_byte: Duration, attempt: Duration, operation: Duration });

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            first_byte: Duration::from_secs(10),
            attempt: Duration::from_secs(30),
            operation: Duration::from_secs(60),
        }
    }
}

impl Timeouts {
    fn config(self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            .read_timeout(self.first_byte)
            .operation_attempt_timeout(self.attempt)
            .operation_timeout(self.operation)
            .build()
    }
}

/// The shared configuration of all clients.
#[cfg(any(feature = "executions", feature = "lambda", feature = "sqs"))]
pub(crate) async fn connect(what: &str, options: &AwsOptions) -> Result<SdkConfig, StoreError> {
    Ok(connect_by(what, options).await?.0)
}

/// The shared configuration of all clients, and the HTTP client, which knows its proxies.
pub(crate) async fn connect_by(what: &str, options: &AwsOptions) -> Result<(SdkConfig, Wire), StoreError> {
    let invalid = |reason: String| StoreError::new(StoreErrorKind::Permanent, "connect to", what, reason);
    let region = check(|name| std::env::var_os(name)).map_err(invalid)?;
    for (name, value) in [("the region", &options.region), ("the endpoint", &options.endpoint)] {
        check_value(name, value.as_deref().unwrap_or_default()).map_err(invalid)?;
    }
    let tls = TlsContext::builder().with_trust_store(trust_store(options).map_err(invalid)?).build();
    let tls = tls.map_err(|error| invalid(format!("the certificates to trust cannot be used: {error}")))?;
    let wire = Wire::new(&tls, Proxies::of(|name| std::env::var_os(name)).map_err(invalid)?);
    let retries = match options.attempts.unwrap_or(1) {
        0 | 1 => RetryConfig::disabled(),
        attempts => RetryConfig::standard().with_max_attempts(attempts),
    };
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(wire.clone())
        .timeout_config(options.timeouts.config())
        .retry_config(retries);
    if let Some(credentials) = &options.credentials {
        let Credentials { access_key, secret_key, session_token } = credentials.clone();
        loader = loader.credentials_provider(aws_sdk_credentials(access_key, secret_key, session_token));
    }
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(region) = options.region.clone().or(region) {
        loader = loader.region(Region::new(region));
    }
    let mut config = loader.load().await;
    if let Some(provider) = config.credentials_provider() {
        config = config.into_builder().credentials_provider(SharedCredentialsProvider::new(Fit(provider))).build();
    }
    // A profile names a region, too.
    let region = config.region().map(|region| region.as_ref().trim().to_owned()).filter(|region| !region.is_empty());
    check_value("the region", region.as_deref().unwrap_or_default()).map_err(invalid)?;
    match (region, config.endpoint_url()) {
        (Some(_), _) => Ok((config, wire)),
        // Services other than AWS rarely check the region of a signature.
        (None, Some(_)) => Ok((config.into_builder().region(Region::new("us-east-1")).build(), wire)),
        (None, None) => Err(invalid(
            "no region is set; set AWS_REGION, a region in the profile, or `?region=` in the store's address"
                .to_owned(),
        )),
    }
}

/// The certificates of the operating system, of the options and of AWS_CA_BUNDLE.
fn trust_store(options: &AwsOptions) -> Result<TrustStore, String> {
    let mut roots = TrustStore::default();
    if let Some(pem) = &options.ca_certificates {
        check_certificates("the certificates to trust", pem)?;
        roots.add_pem_certificate(pem.clone());
    }
    if let Some(path) = std::env::var_os(CA_BUNDLE).filter(|path| !path.is_empty()) {
        let pem = read_file(&path.to_string_lossy(), &format!("the certificates of {CA_BUNDLE}"), MAX_CERTIFICATES)?;
        check_certificates(CA_BUNDLE, &pem)?;
        roots.add_pem_certificate(pem);
    }
    Ok(roots)
}

/// Refuses certificates at which the HTTP client would panic.
fn check_certificates(what: &str, pem: &[u8]) -> Result<(), String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("{what} cannot be used: they are not PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("{what} cannot be used: {error}"))?;
    }
    if roots.is_empty() {
        return Err(format!("{what} cannot be used: there is no certificate in PEM among them"));
    }
    Ok(())
}

fn aws_sdk_credentials(
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
) -> aws_credential_types::Credentials {
    aws_credential_types::Credentials::new(access_key, secret_key, session_token, None, "deltafold")
}

/// Reads one parameter of an address into the options. Returns false if it is none of theirs.
#[cfg(feature = "s3")]
pub(crate) fn parse(options: &mut AwsOptions, name: &str, value: &str) -> Result<bool, String> {
    let seconds = || {
        let parsed = value.parse::<f64>().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 86_400.0);
        parsed.map(Duration::from_secs_f64).ok_or_else(|| format!("`{name}={value}` is not a number of seconds"))
    };
    match name {
        "region" if value.is_empty() => return Err("`region=` names no region".to_owned()),
        "region" | "endpoint" => check_value(&format!("`{name}=`"), value)?,
        _ => {}
    }
    match name {
        "region" => options.region = Some(value.to_owned()),
        "endpoint" if value.starts_with("http://") || value.starts_with("https://") => {
            options.endpoint = Some(value.to_owned());
        }
        "endpoint" => return Err(format!("`endpoint={value}` must begin with http:// or https://")),
        "connect_timeout" => options.timeouts.connect = seconds()?,
        "first_byte_timeout" => options.timeouts.first_byte = seconds()?,
        "attempt_timeout" => options.timeouts.attempt = seconds()?,
        "operation_timeout" => options.timeouts.operation = seconds()?,
        "attempts" => {
            let attempts = value.parse().ok().filter(|attempts| (1..=10).contains(attempts));
            options.attempts =
                Some(attempts.ok_or_else(|| format!("`attempts={value}` is not a number from 1 to 10"))?);
        }
        "ca" => {
            let pem = read_file(value, "the certificates", MAX_CERTIFICATES)?;
            check_certificates(&format!("the certificates of `{value}`"), &pem)?;
            options.ca_certificates = Some(pem);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Story: the HTTP client panicked at certificates that it could not read.
    #[test]
    fn certificates_that_cannot_be_read_are_refused() {
        let block = |text: &str| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        for (pem, words) in [
            (String::new(), "no certificate in PEM"),
            ("text".to_owned(), "no certificate in PEM"),
            (block("AAAA"), "cannot be used"),
            (block("*"), "not PEM"),
            ("-----BEGIN CERTIFICATE-----\nAAAA".to_owned(), "not PEM"),
        ] {
            let said = check_certificates("x", pem.as_bytes()).unwrap_err();
            assert!(said.starts_with("x cannot be used") && said.contains(words), "{pem}: {said}");
        }
    }

    /// Options end up in logs and panics, so this shows the key's id and no secret.
    #[test]
    fn printed_credentials_show_no_secret() {
        let credentials = Credentials {
            access_key: "AKID".to_owned(),
            secret_key: "hush".to_owned(),
            session_token: Some("quiet".to_owned()),
        };
        let printed = format!("{:?}", AwsOptions { credentials: Some(credentials), ..AwsOptions::default() });
        assert!(printed.contains("AKID"), "{printed}");
        assert!(!printed.contains("hush") && !printed.contains("quiet"), "{printed}");
    }
}
