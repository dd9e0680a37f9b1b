//! The proxies that the environment names, and the hosts that are reached without one.
//!
//! The rules are those of curl and of the AWS CLI. The HTTP client has rules of its own; they know
//! no ports, and their `*` leaves out addresses.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use url::{Host, Url};

/// The addresses where machines and containers offer credentials. Only they can reach them.
const LOCAL: [&str; 2] = ["169.254.0.0/16", "fd00:ec2::/32"];
/// Variables that name such an address elsewhere.
const LOCAL_URLS: [&str; 2] = ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT"];

/// A proxy.
pub(super) struct Proxy {
    /// The variable that names it.
    pub(super) variable: &'static str,
    /// Its address, with the password.
    pub(super) url: String,
    /// Its address for people.
    pub(super) shown: String,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.shown, self.variable)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The way to each host.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies {
    pub(super) http: Option<Arc<Proxy>>,
    pub(super) https: Option<Arc<Proxy>>,
    direct: Vec<Exception>,
}

/// Hosts that are reached directly.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exception {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    All,
    Network(IpNet),
    /// This name and all names that end in it.
    Domain(String),
}

impl Proxies {
    /// The proxies of these variables. An empty variable counts as unset.
    pub(super) fn of(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, String> {
        let text = |name: &str| {
            let value = variable(name).map(|value| value.to_string_lossy().trim().to_owned());
            value.filter(|value| !value.is_empty())
        };
        let first = |names: &[&'static str]| names.iter().find_map(|name| text(name).map(|value| (*name, value)));
        // A client of a CGI program sets HTTP_PROXY by a header.
        let is_cgi = text("REQUEST_METHOD").is_some();
        let http: &[_] = if is_cgi { &["http_proxy"] } else { &["http_proxy", "HTTP_PROXY"] };
        let proxy = |names: &[&'static str]| {
            let named = first(names).or_else(|| first(&["all_proxy", "ALL_PROXY"]));
            named.map(|(variable, value)| Proxy::parse(variable, &value).map(Arc::new)).transpose()
        };
        let mut direct: Vec<Exception> = LOCAL.iter().filter_map(|network| Exception::parse(network)).collect();
        direct.extend(LOCAL_URLS.iter().filter_map(|name| Exception::of_url(&text(name)?)));
        let listed = first(&["no_proxy", "NO_PROXY"]).map(|(_, value)| value).unwrap_or_default();
        direct.extend(listed.split([',', ' ', '\t']).filter_map(Exception::parse));
        if direct.contains(&Exception { hosts: Hosts::All, port: None }) {
            return Ok(Self::default());
        }
        Ok(Self { http: proxy(http)?, https: proxy(&["https_proxy", "HTTPS_PROXY"])?, direct })
    }

    /// The proxy for requests to this address; `None` where they go directly.
    pub(super) fn to(&self, url: &Url) -> Option<&Arc<Proxy>> {
        let proxy = if url.scheme() == "http" { &self.http } else { &self.https };
        let port = url.port_or_known_default();
        proxy.as_ref().filter(|_| !self.direct.iter().any(|exception| exception.holds(url.host(), port)))
    }

    /// Whether this is an address where a machine or a container offers credentials.
    pub(super) fn is_local(url: &Url) -> bool {
        let networks = || LOCAL.iter().filter_map(|network| Exception::parse(network));
        networks().any(|network| network.holds(url.host(), None))
    }
}

impl Proxy {
    /// Whether its address has a user.
    pub(super) fn has_user(&self) -> bool {
        Url::parse(&self.url).is_ok_and(|url| !url.username().is_empty())
    }

    /// Errors must not hold the value, because it may have a password.
    fn parse(variable: &'static str, value: &str) -> Result<Self, String> {
        let with_scheme = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
        let no_address = || {
            format!(
                "{variable} is not the address of a proxy; write `http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT`, with `%` codes for special characters in the password"
            )
        };
        let url = Url::parse(&with_scheme).map_err(|_| no_address())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!(
                "{variable} names a proxy of the kind `{}`, which Deltafold cannot use; name one with `http://` or `https://`, unset {variable}, or set NO_PROXY",
                url.scheme()
            ));
        }
        let host = url.host_str().ok_or_else(no_address)?;
        // Beside `http`, the client takes 80 for the port of a proxy, and curl 1080.
        let port = url.port_or_known_default().ok_or_else(no_address)?;
        let shown = format!("{}://{host}:{port}", url.scheme());
        let proxy = Self { variable, url: url.as_str().to_owned(), shown };
        // The same check that the client makes.
        aws_smithy_http_client::proxy::ProxyConfig::all(proxy.url.as_str()).map_err(|_| no_address())?;
        Ok(proxy)
    }
}

impl Exception {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(network) = text.parse::<IpNet>() {
            return Some(Self { hosts: Hosts::Network(network), port: None });
        }
        if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Self { hosts: Hosts::Network(address.into()), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text, None),
        };
        if port.is_some() {
            let exception = Self::parse(host)?;
            return exception.port.is_none().then_some(Self { port, ..exception });
        }
        let domain = host.trim_start_matches('*').trim_matches('.').to_ascii_lowercase();
        match (host, domain.as_str()) {
            ("", _) => None,
            ("*", _) => Some(Self { hosts: Hosts::All, port: None }),
            (_, "") => None,
            _ => Some(Self { hosts: Hosts::Domain(domain), port: None }),
        }
    }

    /// The host and port of an address.
    fn of_url(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let hosts = match url.host()? {
            Host::Domain(name) => Hosts::Domain(name.to_owned()),
            Host::Ipv4(address) => Hosts::Network(IpAddr::from(address).into()),
            Host::Ipv6(address) => Hosts::Network(IpAddr::from(address).into()),
        };
        Some(Self { hosts, port: url.port_or_known_default() })
    }

    fn holds(&self, host: Option<Host<&str>>, port: Option<u16>) -> bool {
        if self.port.is_some() && self.port != port {
            return false;
        }
        match (&self.hosts, host) {
            (Hosts::All, _) => true,
            (Hosts::Network(network), Some(Host::Ipv4(address))) => network.contains(&IpAddr::from(address)),
            (Hosts::Network(network), Some(Host::Ipv6(address))) => network.contains(&IpAddr::from(address)),
            (Hosts::Domain(domain), Some(Host::Domain(name))) => {
                let name = name.trim_end_matches('.');
                name.strip_suffix(domain.as_str()).is_some_and(|front| front.is_empty() || front.ends_with('.'))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, String> {
        Proxies::of(|asked| variables.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).into()))
    }

    fn way(variables: &[(&str, &str)], to: &str) -> Option<String> {
        proxies(variables).unwrap().to(&Url::parse(to).unwrap()).map(ToString::to_string)
    }

    #[test]
    fn each_scheme_has_its_proxy_and_lower_case_comes_first() {
        let s3 = "https://bucket.s3.eu-west-1.amazonaws.com/key";
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(way(&[], s3), None);
        assert_eq!(way(&[("HTTP_PROXY", "http://p:1")], s3), None);
        assert_eq!(way(&[("HTTPS_PROXY", "http://p:1")], s3), said("http://p:1 (HTTPS_PROXY)"));
        assert_eq!(way(&[("HTTPS_PROXY", "p:1")], s3), said("http://p:1 (HTTPS_PROXY)"));
        assert_eq!(way(&[("HTTPS_PROXY", "http://p")], s3), said("http://p:80 (HTTPS_PROXY)"));
        let both = [("HTTPS_PROXY", "http://p:1"), ("https_proxy", "http://q:2")];
        assert_eq!(way(&both, s3), said("http://q:2 (https_proxy)"));
        let both = [("HTTP_PROXY", "http://p:1"), ("http_proxy", "http://q:2")];
        assert_eq!(way(&both, "http://h/"), said("http://q:2 (http_proxy)"));
        assert_eq!(way(&[("https_proxy", ""), ("HTTPS_PROXY", "http://p:1")], s3), said("http://p:1 (HTTPS_PROXY)"));
        assert_eq!(way(&[("ALL_PROXY", "http://p:1")], s3), said("http://p:1 (ALL_PROXY)"));
        assert_eq!(way(&[("ALL_PROXY", "http://p:1")], "http://h:9000/"), said("http://p:1 (ALL_PROXY)"));
        assert_eq!(way(&[("HTTP_PROXY", "http://p:1")], "http://h:9000/"), said("http://p:1 (HTTP_PROXY)"));
        assert_eq!(way(&[("HTTPS_PROXY", "http://p:1")], "http://h:9000/"), None);
        assert_eq!(way(&[("HTTP_PROXY", "http://p:1"), ("REQUEST_METHOD", "GET")], "http://h/"), None);
    }

    #[test]
    fn no_proxy_names_hosts_suffixes_networks_and_ports() {
        let goes_direct = |list: &str, to: &str| way(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", list)], to).is_none();
        for (list, to, direct) in [
            ("*", "https://h/", true),
            ("*", "https://10.0.0.1/", true),
            ("h", "https://h/", true),
            ("H.Example", "https://h.example/", true),
            ("example.com", "https://s3.example.com/", true),
            (".example.com", "https://s3.example.com/", true),
            ("*.example.com", "https://s3.example.com/", true),
            ("example.com", "https://notexample.com/", false),
            ("example.com.", "https://example.com/", true),
            ("a, b ,c", "https://b/", true),
            ("a b c", "https://c/", true),
            ("10.0.0.0/8", "https://10.9.8.7:9000/", true),
            ("10.0.0.0/8", "https://11.0.0.1/", false),
            ("10.0.0.1", "https://10.0.0.1/", true),
            ("fd00::/8", "https://[fd00::1]/", true),
            ("::1", "https://[::1]:9000/", true),
            ("[::1]:9000", "https://[::1]:9000/", true),
            ("[::1]:9000", "https://[::1]:9001/", false),
            ("h:9000", "https://h:9000/", true),
            ("h:9000", "https://h/", false),
            ("h:443", "https://h/", true),
            ("10.0.0.1:9000", "https://10.0.0.1:9000/", true),
            ("10.0.0.0/8:9000", "https://10.0.0.1:9000/", true),
            ("h:port,,.,:", "https://h/", false),
            ("", "https://h/", false),
        ] {
            assert_eq!(goes_direct(list, to), direct, "NO_PROXY={list} {to}");
        }
    }

    #[test]
    fn addresses_of_credentials_need_no_proxy() {
        let proxy = ("ALL_PROXY", "http://p:1");
        for to in ["http://169.254.169.254/latest", "http://169.254.170.2/", "http://[fd00:ec2::254]/"] {
            assert_eq!(way(&[proxy], to), None, "{to}");
        }
        let pod = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:51679/keys");
        assert_eq!(way(&[proxy, pod], "http://127.0.0.1:51679/keys"), None);
        assert!(way(&[proxy, pod], "http://127.0.0.1:9000/").is_some());
    }

    #[test]
    fn an_unusable_proxy_is_refused_without_its_password() {
        for value in ["socks5://u:hush@p:1", "http://u:hush@", "http://u:hush@p:99999", "ftp://u:hush@p"] {
            let said = proxies(&[("HTTPS_PROXY", value)]).unwrap_err();
            assert!(said.starts_with("HTTPS_PROXY") && !said.contains("hush"), "{value}: {said}");
            assert!(proxies(&[("HTTPS_PROXY", value), ("NO_PROXY", "*")]).is_ok(), "{value}");
        }
        let proxies = proxies(&[("HTTPS_PROXY", "http://u:hu%40sh@p:1")]).unwrap();
        assert!(!format!("{proxies:?}").contains("hu%40sh"), "{proxies:?}");
        assert!(proxies.https.unwrap().url.contains("u:hu%40sh@"));
    }
}
