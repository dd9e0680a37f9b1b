//! Credentials from any source, checked for use in a request: variables, profiles, containers,
//! machines.

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};

use super::environment::{KEYS, is_plain};

/// The beginning of the error for credentials that no request can carry.
pub(super) const UNFIT: &str = "the credentials cannot be used: ";

/// Trims the credentials of another provider, and refuses those that no header can carry.
#[derive(Debug)]
pub(super) struct Fit(pub(super) SharedCredentialsProvider);

impl ProvideCredentials for Fit {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            fit(self.0.provide_credentials().await?).map_err(CredentialsError::invalid_configuration)
        })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.0.fallback_on_interrupt().and_then(|credentials| fit(credentials).ok())
    }
}

fn fit(credentials: Credentials) -> Result<Credentials, String> {
    let given = [Some(credentials.access_key_id()), Some(credentials.secret_access_key()), credentials.session_token()];
    for (name, value) in KEYS.into_iter().zip(given) {
        // The error must not hold the value, because two of the three are secret.
        if !is_plain(value.unwrap_or_default().trim()) {
            return Err(format!(
                "{UNFIT}{name}, or its counterpart in the profile or service that they come from, holds a line break or another character that no request can carry; replace it"
            ));
        }
    }
    if given.iter().flatten().all(|value| value.trim() == *value) {
        return Ok(credentials);
    }
    let [access_key, secret_key, token] = given.map(|value| value.map(|value| value.trim().to_owned()));
    let mut trimmed = Credentials::builder()
        .access_key_id(access_key.unwrap_or_default())
        .secret_access_key(secret_key.unwrap_or_default())
        .provider_name("deltafold");
    trimmed.set_session_token(token.filter(|token| !token.is_empty()));
    trimmed.set_expiry(credentials.expiry());
    trimmed.set_account_id(credentials.account_id().cloned());
    Ok(trimmed.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(access_key: &str, secret_key: &str, token: Option<&str>) -> Credentials {
        Credentials::new(access_key, secret_key, token.map(str::to_owned), None, "test")
    }

    #[test]
    fn white_space_around_keys_is_trimmed() {
        let trimmed = fit(of("AKID\n", " secret\r\n", Some("token\n"))).unwrap();
        assert_eq!(trimmed.access_key_id(), "AKID");
        assert_eq!(trimmed.secret_access_key(), "secret");
        assert_eq!(trimmed.session_token(), Some("token"));
        assert_eq!(fit(of("AKID\n", "secret", Some("\n"))).unwrap().session_token(), None);
        let expiring = Credentials::new("AKID\n", "secret", None, Some(std::time::SystemTime::UNIX_EPOCH), "test");
        assert_eq!(fit(expiring).unwrap().expiry(), Some(std::time::SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn keys_that_no_header_can_carry_are_refused_by_name() {
        for (credentials, name) in [
            (of("AK\nID", "s", None), "AWS_ACCESS_KEY_ID"),
            (of("AKID", "hush\u{1}hush", None), "AWS_SECRET_ACCESS_KEY"),
            (of("AKID", "s", Some("tökén")), "AWS_SESSION_TOKEN"),
        ] {
            let said = fit(credentials).unwrap_err();
            assert!(said.starts_with(UNFIT) && said.contains(name), "{said}");
            assert!(!said.contains("hush"), "a secret is in {said}");
        }
    }
}
