//! Requests that reach no service of AWS: the name, the port, the certificate or the proxy is
//! wrong. No retry mends that.

use std::error::Error;
use std::fmt;
use std::io;

use rustls::CertificateError;
use url::Url;

use super::causes::{causes, find};
use super::proxy::Proxy;

/// The reason why a request went astray, with the remedy.
#[derive(Debug)]
pub(super) struct Astray {
    pub(super) reason: String,
    /// Whether something answered the request, or an earlier one of the client. Then it is open
    /// whether a write landed.
    pub(super) answered: bool,
}

impl fmt::Display for Astray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Error for Astray {}

/// The obstacle to a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Only another setting helps.
    Setting(String),
    /// The service may start in a moment. The text says what the network said.
    Down(String),
}

/// Whether no request was sent, because the connection did not come about.
pub(super) fn is_unconnected(error: &(dyn Error + 'static)) -> bool {
    find::<hyper_util::client::legacy::Error>(error).is_some_and(hyper_util::client::legacy::Error::is_connect)
}

/// The scheme, host and port of an address, without its path.
pub(super) fn place(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// The obstacle in an error of the connection to `url`, if it is one that people can mend.
/// `refusal` is the status by which the proxy refuses a tunnel.
pub(super) fn obstacle(
    error: &(dyn Error + 'static),
    url: &Url,
    proxy: Option<&Proxy>,
    refusal: Option<u16>,
) -> Option<Obstacle> {
    let (place, host) = (place(url), url.host_str().unwrap_or_default());
    if let Some(tls) = find::<rustls::Error>(error) {
        return Some(Obstacle::Setting(of_tls(tls, &place, proxy)));
    }
    if let (Some(proxy), Some(said)) = (proxy, tunnel(error)) {
        return Some(of_tunnel(said, refusal, host, &place, proxy));
    }
    let whole = || causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    if whole().contains("failed to lookup address information") {
        let later = ["Temporary failure", "try again"].iter().any(|words| whole().contains(words));
        return Some(match proxy {
            _ if later => Obstacle::Down(format!("the name of {place} cannot be looked up now")),
            Some(proxy) => Obstacle::Setting(format!(
                "the proxy {proxy} has a name without an address; correct {}, or name `{host}` in NO_PROXY",
                proxy.variable
            )),
            None => Obstacle::Setting(format!(
                "the host `{host}` has no address; correct the endpoint or the region, or set HTTPS_PROXY if only a proxy reaches it"
            )),
        });
    }
    let is_refused = causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    is_refused.then(|| {
        Obstacle::Down(match proxy {
            Some(proxy) => format!(
                "the proxy {proxy} refuses connections; start it, correct {}, or name `{host}` in NO_PROXY",
                proxy.variable
            ),
            None => format!(
                "nothing listens at {place}: the connection was refused; start the service, or correct the endpoint"
            ),
        })
    })
}

/// Whether a proxy answered a request for a tunnel with a status that the error does not tell.
pub(super) fn is_refused_tunnel(error: &(dyn Error + 'static)) -> bool {
    tunnel(error) == Some(UNSUCCESSFUL)
}

const UNSUCCESSFUL: &str = "unsuccessful";

/// The answer of a proxy that opened no tunnel, in the words of the HTTP client.
fn tunnel(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let said: Vec<String> = causes(error).map(ToString::to_string).collect();
    let has = |words: &str| said.iter().any(|said| said.contains(words));
    ["proxy authorization required", UNSUCCESSFUL].into_iter().find(|words| has(&format!("tunnel error: {words}")))
}

fn of_tunnel(said: &str, refusal: Option<u16>, host: &str, place: &str, proxy: &Proxy) -> Obstacle {
    let variable = proxy.variable;
    if said.contains("authorization") || refusal == Some(407) {
        return Obstacle::Setting(unauthorized(proxy));
    }
    let opened = format!("the proxy {proxy} opened no tunnel to {place}");
    match refusal {
        None => Obstacle::Setting(format!(
            "{opened}: it forbids that host, or cannot reach it; allow it in the proxy, correct {variable}, or name `{host}` in NO_PROXY"
        )),
        // The proxy or the way behind it may be up again in a moment.
        Some(status @ 500..) => Obstacle::Down(format!(
            "{opened} (HTTP {status}): it cannot reach that host; correct the endpoint or the region, or name `{host}` in NO_PROXY"
        )),
        Some(status) => Obstacle::Setting(format!(
            "{opened} (HTTP {status}): it forbids that host; allow it in the proxy, correct {variable}, or name `{host}` in NO_PROXY"
        )),
    }
}

/// A proxy that answers 407.
pub(super) fn unauthorized(proxy: &Proxy) -> String {
    let variable = proxy.variable;
    if proxy.has_user() {
        return format!(
            "the proxy {proxy} wants a user and a password (HTTP 407), and does not take those of {variable}; correct them there, with `%` codes for special characters"
        );
    }
    format!(
        "the proxy {proxy} wants a user and a password (HTTP 407); write them as `http://USER:PASSWORD@HOST:PORT` in {variable}"
    )
}

fn of_tls(error: &rustls::Error, place: &str, proxy: Option<&Proxy>) -> String {
    use rustls::Error as Tls;
    let trust =
        "name a file with the certificate of its authority in AWS_CA_BUNDLE, or by `?ca=` in the store's address";
    match error {
        Tls::InvalidMessage(_) => format!(
            "what listens at {place} does not speak TLS: write `http://` in the endpoint, or name the port that speaks TLS"
        ),
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => {
            let inspects = proxy.map(|proxy| format!(", or of the proxy {proxy} in front of it,")).unwrap_or_default();
            format!("the certificate of {place}{inspects} is of an authority that this machine does not trust: {trust}")
        }
        Tls::InvalidCertificate(
            error @ (CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }),
        ) => format!(
            "the certificate of {place} is for another name ({error}): correct the host in the endpoint; for a bucket with dots in its name set `?path_style=true`"
        ),
        Tls::InvalidCertificate(
            error @ (CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }),
        ) => {
            format!("the certificate of {place} is not valid now ({error}): renew it, or set the clock of this machine")
        }
        Tls::InvalidCertificate(error) => format!("the certificate of {place} cannot be trusted ({error}): {trust}"),
        error => format!("{place} and this program agree on no TLS ({error}): allow TLS 1.2 or 1.3 there"),
    }
}

/// The head of an answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head<'a> {
    /// Whether it answers a request that writes or reads one object.
    pub(super) of_object: bool,
    pub(super) status: u16,
    pub(super) content_type: &'a str,
    pub(super) server: Option<&'a str>,
    pub(super) has_tag: bool,
    /// Whether it has a header that only services like AWS's send.
    pub(super) has_request_id: bool,
}

impl Head<'_> {
    fn is(&self, kind: &str) -> bool {
        self.content_type.starts_with(kind)
    }

    /// Whether a service like AWS's sent it for certain.
    pub(super) fn is_of_a_service(&self) -> bool {
        let by_type = self.is("application/xml") || self.is("text/xml") || self.is("application/x-amz-json");
        self.has_request_id || self.has_tag || by_type
    }

    /// The reason why no service like AWS's can have sent it, with the remedy.
    pub(super) fn stranger(&self, url: &Url, proxy: Option<&Proxy>) -> Option<String> {
        let (place, status) = (place(url), self.status);
        let (plain, page) = (self.is("text/plain"), self.is("text/html"));
        if let (407, Some(proxy)) = (status, proxy) {
            return Some(unauthorized(proxy));
        }
        // An error of a service under load, or of a balancer in front of it, passes.
        if self.has_request_id || status >= 500 {
            return None;
        }
        let server = self.server.map(|server| format!(", `server: {server}`")).unwrap_or_default();
        let what = if page && !self.has_tag {
            "with a page for people"
        } else if plain && (400..500).contains(&status) {
            "in plain text"
        } else if self.of_object && (200..300).contains(&status) && !self.has_tag {
            "without an ETag"
        } else {
            return None;
        };
        let remedy = match proxy {
            Some(proxy) if url.scheme() == "http" => {
                let host = url.host_str().unwrap_or_default();
                format!("allow the host in the proxy {proxy}, or name `{host}` in NO_PROXY")
            }
            _ => "name the port of the service in the endpoint, not that of a console or another program".to_owned(),
        };
        let tls = if url.scheme() == "http" { ", and `https://` where it wants TLS" } else { "" };
        Some(format!("{place} answered HTTP {status} {what} ({}{server}), as no service of AWS does: {remedy}{tls}", {
            if self.content_type.is_empty() { "no type" } else { self.content_type }
        }))
    }
}

/// The reason for an answer in another protocol than HTTP, with the remedy.
pub(super) fn no_http(url: &Url) -> String {
    let place = place(url);
    let tls = if url.scheme() == "http" { "if it speaks TLS, write `https://` in the endpoint; " } else { "" };
    format!("what listens at {place} does not speak HTTP: {tls}name the port of the service")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Url {
        Url::parse("http://host:9001/bucket/key?x=1").unwrap()
    }

    #[test]
    fn answers_of_strangers_are_told_from_those_of_services() {
        let page = Head { status: 200, content_type: "text/html; charset=utf-8", ..Head::default() };
        let put = Head { of_object: true, status: 200, ..Head::default() };
        for (head, words) in [
            (page, "page for people (text/html"),
            (Head { server: Some("MinIO Console"), ..page }, "`server: MinIO Console`"),
            (Head { status: 302, ..page }, "HTTP 302"),
            (Head { status: 404, content_type: "text/plain", ..page }, "in plain text"),
            (put, "without an ETag (no type)"),
            (Head { status: 204, ..put }, "HTTP 204"),
        ] {
            let said = head.stranger(&url(), None).unwrap();
            assert!(said.starts_with("http://host:9001 answered HTTP") && said.contains(words), "{said}");
            assert!(!head.is_of_a_service(), "{head:?}");
        }
        for head in [
            Head { has_tag: true, ..put },
            Head { has_tag: true, ..page },
            Head { has_request_id: true, ..page },
            Head { status: 502, ..page },
            Head { status: 503, ..put },
            Head { status: 412, ..put },
            Head { status: 200, content_type: "text/plain", ..Head::default() },
            Head { status: 404, ..Head::default() },
            Head { status: 404, content_type: "application/xml", ..Head::default() },
        ] {
            assert_eq!(head.stranger(&url(), None), None, "{head:?}");
        }
    }

    #[test]
    fn a_proxy_that_answers_itself_is_named() {
        let proxy = Proxy { variable: "HTTP_PROXY", url: "http://u:hush@p:1/".into(), shown: "http://p:1".into() };
        for (status, words) in [(407, "does not take those of HTTP_PROXY"), (403, "NO_PROXY")] {
            let head = Head { status, content_type: "text/html", ..Head::default() };
            let said = head.stranger(&url(), Some(&proxy)).unwrap();
            assert!(
                said.contains(words) && said.contains("http://p:1 (HTTP_PROXY)") && !said.contains("hush"),
                "{said}"
            );
        }
    }
}
