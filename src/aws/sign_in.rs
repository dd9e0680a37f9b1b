//! Credentials that cannot be had: the reason, and the way to have them.

use std::io;

use aws_credential_types::provider::error::CredentialsError;

use super::astray::Astray;
use super::causes::{chain, find};
use super::credentials::UNFIT;

/// The environment, as far as it says where credentials come from.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    /// `AWS_PROFILE`.
    pub(super) profile: Option<String>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`.
    pub(super) token_file: Option<String>,
}

impl Sources {
    pub(super) fn of_environment() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        Self { profile: text("AWS_PROFILE"), token_file: text("AWS_WEB_IDENTITY_TOKEN_FILE") }
    }
}

/// The reason why no credentials came. Nothing was sent to the store.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoCredentials {
    /// Their service may answer later.
    Late(String),
    /// Only another setting or a new sign-in helps.
    Never(String),
}

impl NoCredentials {
    pub(super) fn of(error: &CredentialsError, sources: &Sources) -> Self {
        let said = chain(error);
        if let Some(at) = said.find(UNFIT) {
            return Self::Never(said.get(at..).unwrap_or_default().to_owned());
        }
        if let Some(astray) = find::<Astray>(error) {
            return Self::Never(format!("no credentials came: {astray}"));
        }
        let has = |words: &[&str]| words.iter().any(|words| said.contains(words));
        // Most machines have no service of metadata, so its silence tells nothing.
        let is_absent = matches!(error, CredentialsError::CredentialsNotLoaded(_)) || has(&["IMDS"]);
        let is_late = matches!(error, CredentialsError::ProviderTimedOut(_)) || has(&["dispatch failure", "timeout"]);
        if is_late && !is_absent {
            return Self::Late(format!("the service that gives credentials did not answer: {said}"));
        }
        let (what, remedy) = cause(&said, find::<io::Error>(error).is_some(), sources);
        Self::Never(format!("{what}: {remedy} ({said})"))
    }
}

/// The cause in the words of the SDK, and the remedy.
fn cause(said: &str, is_of_a_file: bool, sources: &Sources) -> (String, String) {
    let has = |words: &[&str]| words.iter().any(|words| said.contains(words));
    let of_profile = sources.profile.as_ref().map(|profile| format!(" of the profile `{profile}`")).unwrap_or_default();
    let login = match &sources.profile {
        Some(profile) => format!("`aws sso login --profile {profile}`"),
        None => "`aws sso login`".to_owned(),
    };
    if has(&["SSO token", "sso/cache", "SSO OIDC", "UnauthorizedException"]) {
        return (format!("the sign-in{of_profile} has expired, or is missing"), format!("run {login}"));
    }
    if let (Some(profile), true) = (&sources.profile, has(&["was not defined"])) {
        let remedy = "correct AWS_PROFILE, or define the profile in `~/.aws/config`";
        return (format!("there is no profile `{profile}`"), remedy.to_owned());
    }
    if has(&["external process"]) {
        let remedy = "run that command by itself, and mend what it says";
        return (format!("the `credential_process`{of_profile} gave no credentials"), remedy.to_owned());
    }
    if let (Some(file), true) = (&sources.token_file, is_of_a_file) {
        let remedy = "correct AWS_WEB_IDENTITY_TOKEN_FILE, or let the platform mount the file";
        return (format!("the token file `{file}` cannot be read"), remedy.to_owned());
    }
    if has(&["ExpiredToken"]) {
        let remedy = format!("set new credentials, or run {login}");
        return (format!("the credentials{of_profile} have expired"), remedy);
    }
    if has(&["AccessDenied", "not authorized"]) {
        let remedy = "let the role's trust policy name this user, and this user's policy allow `sts:AssumeRole`";
        return (format!("the role{of_profile} may not be assumed"), remedy.to_owned());
    }
    let remedy = format!(
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, set AWS_PROFILE, run {login}, or give the machine a role"
    );
    if has(&["was not enabled", "not loaded", "no providers in chain", "IMDS"]) {
        return ("no credentials were found".to_owned(), remedy);
    }
    (format!("the credentials{of_profile} cannot be had"), format!("mend what the text in brackets says, or {remedy}"))
}
