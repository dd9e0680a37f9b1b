//! The status by which a proxy refuses a tunnel. The HTTP client does not tell it, so the proxy is
//! asked once more.

use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

use super::proxy::Proxy;
use crate::env;

/// The limit of the whole question.
const LIMIT: Duration = Duration::from_secs(3);

/// The status of the proxy's answer to a tunnel to `url`. `None` where the tunnel opens now, or the
/// proxy itself speaks TLS.
pub(super) async fn refusal(proxy: &Proxy, url: &Url) -> Option<u16> {
    env::timeout(LIMIT, ask(proxy, url)).await.flatten()
}

async fn ask(proxy: &Proxy, url: &Url) -> Option<u16> {
    let way = Url::parse(&proxy.url).ok().filter(|way| way.scheme() == "http")?;
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    let matcher = Matcher::builder().all(proxy.url.as_str()).build();
    if let Some(user) = matcher.intercept(&url.as_str().parse().ok()?)?.basic_auth() {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(user.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    // An address of IPv6 has brackets in a URL.
    let name = way.host_str()?.trim_matches(['[', ']']);
    let mut connection = TcpStream::connect((name, way.port_or_known_default()?)).await.ok()?;
    connection.write_all(&request).await.ok()?;
    let mut head = [0; "HTTP/1.1 403".len()];
    connection.read_exact(&mut head).await.ok()?;
    status(&head).filter(|status| *status != 200)
}

/// The status of the beginning of an answer.
fn status(head: &[u8]) -> Option<u16> {
    let rest = std::str::from_utf8(head).ok()?.strip_prefix("HTTP/1.")?;
    rest.split_once(' ')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_an_answer_is_read() {
        assert_eq!(status(b"HTTP/1.1 403"), Some(403));
        assert_eq!(status(b"HTTP/1.0 502"), Some(502));
        for other in [&b"HTTP/2 403 x"[..], b"SSH-2.0-x 40", b"HTTP/1.1 abc", b"\xff\xffTP/1.1 40"] {
            assert_eq!(status(other), None);
        }
    }
}
