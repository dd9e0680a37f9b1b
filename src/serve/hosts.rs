//! Refuses requests to names and from pages that the server does not know.
//!
//! A page of a stranger can have its own name resolve to 127.0.0.1. To the browser its requests to
//! a local server are then those of the page's own site. But their `Host` is that name, which is
//! none of the server's.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;

use super::app::App;
use super::error::{Answer, ApiError};
use super::options::{Access, ServeOptions};

/// Lets a request pass if its `Host` and its `Origin` are known.
pub(super) async fn known(State(app): State<App>, request: Request, next: Next) -> Answer<Response> {
    check(app.options(), request.headers())?;
    Ok(next.run(request).await)
}

fn check(options: &ServeOptions, headers: &HeaderMap) -> Answer<()> {
    let allowed = &options.allowed_hosts;
    if allowed.is_empty() && !matches!(options.access, Access::Loopback) {
        return Ok(());
    }
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(host) = text(header::HOST) {
        let name = host.parse::<Authority>().map(|authority| authority.host().to_owned()).unwrap_or_default();
        if !is_known(&name, allowed) {
            let why = "the server does not know the host that the request names; ask it as `localhost` or by its \
                       address, or start it with `--allowed-host`";
            return Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, "AuthorizationError", why));
        }
    }
    if let Some(origin) = text(header::ORIGIN) {
        let name = origin.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
        if !is_known(&name, allowed) {
            let why = "a page of another site made this request; start the server with `--allowed-host` for its host";
            return Err(ApiError::forbidden(why));
        }
    }
    Ok(())
}

/// Whether a host is this machine's own name, an address, or allowed. No page of a stranger comes
/// from a name that is an address, unless the stranger has that address.
fn is_known(host: &str, allowed: &[String]) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok()
        || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(&host))
}

#[cfg(test)]
mod tests {
    use super::super::tokens::Tokens;
    use super::*;

    fn status(options: &ServeOptions, host: &str, origin: Option<&str>) -> u16 {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        headers.extend(origin.map(|origin| (header::ORIGIN, origin.parse().unwrap())));
        check(options, &headers).map_or_else(|refused| refused.status.as_u16(), |()| 200)
    }

    /// Story: a page of a stranger resolved its own name to 127.0.0.1, and its script read all
    /// records of the server of the person who looked at it.
    #[test]
    fn a_strangers_host_is_refused_on_loopback() {
        let loopback = ServeOptions::default();
        for host in ["localhost:8000", "LOCALHOST", "a.localhost", "127.0.0.1:8000", "[::1]:8000", "10.1.2.3"] {
            assert_eq!(status(&loopback, host, None), 200, "{host}");
        }
        for host in ["evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost", "", "a b"]
        {
            assert_eq!(status(&loopback, host, None), 421, "{host}");
        }
    }

    #[test]
    fn a_strangers_origin_is_refused_on_loopback() {
        let loopback = ServeOptions::default();
        let from = |origin| status(&loopback, "localhost:8000", Some(origin));
        assert_eq!(from("http://localhost:8000"), 200);
        assert_eq!(from("http://[::1]:8000"), 200);
        assert_eq!(["null", "https://evil.example", "file://", "x"].map(from), [403; 4]);
    }

    #[test]
    fn allowed_hosts_and_tokens_open_the_server() {
        let allowed = ServeOptions::default().allowed_hosts(vec!["db.internal".to_owned()]);
        assert_eq!(status(&allowed, "DB.internal:8000", Some("https://db.internal")), 200);
        assert_eq!(status(&allowed, "evil.example", None), 421);
        let open = ServeOptions::default().access(Access::Open);
        assert_eq!(status(&open, "evil.example", Some("https://evil.example")), 200);
        assert_eq!(status(&open.allowed_hosts(vec!["a".to_owned()]), "evil.example", None), 421);
        let tokens = ServeOptions::default().access(Access::Tokens(Tokens::parse("s3cret").unwrap()));
        assert_eq!(status(&tokens, "db.internal", None), 200);
    }
}
