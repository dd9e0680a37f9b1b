//! Values of the environment, checked before the SDK reads them.
//!
//! The SDK copies keys, tokens and regions into headers, and panics where a header cannot carry
//! them. Files and secret managers often add a line break to a value.

use std::ffi::OsString;

/// Variables whose values are trimmed.
pub(super) const KEYS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
/// The variables of the region, in the order of the SDK.
const REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
/// Other variables whose values the SDK puts into requests, except paths and profile names.
const REQUESTS: [&str; 18] = [
    "AWS_ACCOUNT_ID",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_LAMBDA",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_ENDPOINT_URL_SSO",
    "AWS_ENDPOINT_URL_SSO_OIDC",
    "AWS_ENDPOINT_URL_STS",
    "AWS_EXECUTION_ENV",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SDK_UA_APP_ID",
    "AWS_SIGV4A_SIGNING_REGION_SET",
];

/// Whether a header can carry this text.
pub(super) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Refuses a value that no request can carry.
pub(super) fn check_value(name: &str, value: &str) -> Result<(), String> {
    if is_plain(value) {
        return Ok(());
    }
    Err(format!(
        "{name} holds a line break or another character that no request can carry; set it again without that character"
    ))
}

/// Checks all variables. Returns the trimmed region if the variable in force has white space around
/// it.
pub(super) fn check(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<String>, String> {
    let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
    for name in KEYS.into_iter().chain(REGIONS) {
        check_value(name, text(name).unwrap_or_default().trim())?;
    }
    for name in REQUESTS {
        check_value(name, &text(name).unwrap_or_default())?;
    }
    let region = REGIONS.into_iter().find_map(|name| text(name).map(|value| (name, value)));
    let Some((name, value)) = region.filter(|(_, value)| value.trim() != value) else { return Ok(None) };
    match value.trim() {
        "" => Err(format!("{name} is blank; set it to the name of a region, or unset it")),
        region => Ok(Some(region.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, value: &str) -> Result<Option<String>, String> {
        check(|asked| (asked == name).then(|| value.into()))
    }

    #[test]
    fn keys_and_regions_may_end_in_a_line_break() {
        for name in KEYS {
            assert_eq!(checked(name, " AKID\r\n"), Ok(None), "{name}");
        }
        for name in REGIONS {
            assert_eq!(checked(name, "eu-west-1\r\n"), Ok(Some("eu-west-1".to_owned())), "{name}");
            assert_eq!(checked(name, "eu-west-1"), Ok(None), "{name}");
            assert!(checked(name, "\n").unwrap_err().contains(name));
        }
    }

    #[test]
    fn a_value_that_no_request_can_carry_is_named() {
        for name in KEYS.into_iter().chain(REGIONS).chain(REQUESTS) {
            for value in ["a\nb", "a\rb", "a\u{1}b", "a\u{7f}b", "a\u{85}b", "é"] {
                let said = checked(name, value).unwrap_err();
                assert!(said.starts_with(name) && is_plain(&said), "{said}");
            }
        }
    }
}
