//! The address of a queue: `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`, an ARN, or a name.

use url::Url;

/// An address as people write it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A URL has all that a request needs.
    Url {
        url: String,
        name: String,
        region: Option<String>,
        /// The endpoint, if the host is none of AWS's.
        endpoint: Option<String>,
    },
    /// The service must be asked for the URL.
    Name { name: String, account: Option<String>, region: Option<String> },
}

/// Reads an address.
pub(super) fn parse(text: &str) -> Result<Address, String> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return parse_url(text);
    }
    if let Some(arn) = text.strip_prefix("arn:") {
        let parts: Vec<&str> = arn.split(':').collect();
        return match parts.as_slice() {
            [_, "sqs", region, account, name] if is_name(name) => Ok(Address::Name {
                name: (*name).to_owned(),
                account: Some((*account).to_owned()),
                region: Some((*region).to_owned()),
            }),
            _ => Err("expected an ARN of the form `arn:aws:sqs:REGION:ACCOUNT:NAME`".to_owned()),
        };
    }
    if is_name(text) {
        return Ok(Address::Name { name: text.to_owned(), account: None, region: None });
    }
    Err("expected the queue's URL, its ARN, or its name (A-Z, a-z, 0-9, `-`, `_`, and `.fifo` at the end)".to_owned())
}

fn parse_url(text: &str) -> Result<Address, String> {
    let expected = || "expected a URL of the form `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`".to_owned();
    let url = Url::parse(text).map_err(|error| format!("{}: {error}", expected()))?;
    let name = url.path().rsplit('/').next().filter(|name| is_name(name)).ok_or_else(expected)?.to_owned();
    let host = url.host_str().ok_or_else(expected)?;
    let of_aws = host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn");
    let region = match host.split('.').collect::<Vec<_>>().as_slice() {
        // The present form, and the one before it.
        ["sqs", region, "amazonaws", ..] | [region, "queue", "amazonaws", ..] => Some((*region).to_owned()),
        _ => None,
    };
    let endpoint = (!of_aws).then(|| url.origin().ascii_serialization());
    Ok(Address::Url { url: text.to_owned(), name, region, endpoint })
}

fn is_name(text: &str) -> bool {
    let plain = text.strip_suffix(".fifo").unwrap_or(text);
    (1..=80).contains(&text.len())
        && !plain.is_empty()
        && plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_named_by_url_arn_or_name() {
        let url = |text: &str| match parse(text) {
            Ok(Address::Url { name, region, endpoint, .. }) => (name, region, endpoint),
            other => panic!("{text}: {other:?}"),
        };
        let some = |text: &str| Some(text.to_owned());
        for (text, expected) in [
            ("https://sqs.eu-west-1.amazonaws.com/123456789012/a.fifo", ("a.fifo", some("eu-west-1"), None)),
            ("https://us-east-1.queue.amazonaws.com/123456789012/a", ("a", some("us-east-1"), None)),
            ("https://queue.amazonaws.com/123456789012/a", ("a", None, None)),
            ("https://sqs.cn-north-1.amazonaws.com.cn/1/a", ("a", some("cn-north-1"), None)),
            ("http://127.0.0.1:4566/000000000000/a", ("a", None, some("http://127.0.0.1:4566"))),
        ] {
            assert_eq!(url(text), (expected.0.to_owned(), expected.1, expected.2), "{text}");
        }
        let named = |account: Option<&str>, region: Option<&str>| {
            let (account, region) = (account.map(str::to_owned), region.map(str::to_owned));
            Ok(Address::Name { name: "a.fifo".to_owned(), account, region })
        };
        assert_eq!(parse("a.fifo"), named(None, None));
        assert_eq!(parse("arn:aws:sqs:eu-west-1:123:a.fifo"), named(Some("123"), Some("eu-west-1")));
        for text in ["", "a b", ".fifo", "https://x/", "https://sqs.x.amazonaws.com", "arn:aws:sns:r:1:a", "a.b"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"a".repeat(81)).is_err());
    }
}
