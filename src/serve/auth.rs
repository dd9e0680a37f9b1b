//! Lets a request pass if its token allows it.

use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::app::App;
use super::error::{Answer, ApiError};
use super::incidents::DatabasePath;
use super::options::Access;
use super::tokens::Scope;

/// The token that a request presents.
fn presented(headers: &HeaderMap) -> Option<Vec<u8>> {
    if let Some(token) = headers.get("x-chroma-token") {
        let token = token.as_bytes();
        return Some(token.strip_prefix(b"Bearer ").unwrap_or(token).to_vec());
    }
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    match value.split_once(' ')? {
        (scheme, token) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim().as_bytes().to_vec()),
        (scheme, token) if scheme.eq_ignore_ascii_case("basic") => STANDARD.decode(token.trim()).ok(),
        _ => None,
    }
}

/// Whether a call only reads.
fn reads(method: &Method, path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    method == Method::GET || (method == Method::POST && matches!(last, "get" | "query"))
}

/// Lets a request pass if its token allows it. Handlers find the scope in the request.
pub(super) async fn guard(
    State(app): State<App>,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Answer<Response> {
    let scope = match &app.options().access {
        Access::Loopback | Access::Open => Scope::default(),
        Access::Tokens(tokens) => {
            let scope = presented(request.headers()).and_then(|token| tokens.scope(&token));
            scope.ok_or_else(|| {
                let why = "the request has no valid token; send one as `Authorization: Bearer` or `X-Chroma-Token`";
                ApiError::new(StatusCode::UNAUTHORIZED, "AuthError", why)
            })?
        }
    };
    from_here(request.headers())?;
    let named = |wanted: &str| params.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    allowed(&scope, named("tenant"), named("database"), request.method(), request.uri().path())?;
    let place =
        DatabasePath { tenant: named("tenant").map(str::to_owned), database: named("database").map(str::to_owned) };
    request.extensions_mut().insert(scope);
    let mut response = next.run(request).await;
    response.extensions_mut().insert(place);
    Ok(response)
}

/// Refuses a request that a page of another site makes in the browser of a person with access.
fn from_here(headers: &HeaderMap) -> Answer<()> {
    let from = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if matches!(from, Some(b"cross-site" | b"same-site")) {
        return Err(ApiError::forbidden("a page of another site made this request; open the server's own page"));
    }
    Ok(())
}

/// Checks a call against a scope. A call that names no tenant is of all of them.
fn allowed(scope: &Scope, tenant: Option<&str>, database: Option<&str>, method: &Method, path: &str) -> Answer<()> {
    let reads = reads(method, path);
    if scope.read_only && !reads {
        return Err(ApiError::forbidden("the token may only read"));
    }
    if scope.tenant.as_deref().is_some_and(|own| tenant.map_or(!reads, |tenant| tenant != own)) {
        return Err(ApiError::forbidden("the token is of another tenant"));
    }
    if scope.database.as_deref().is_some_and(|own| database.map_or(!reads, |database| database != own)) {
        return Err(ApiError::forbidden("the token is of another database"));
    }
    Ok(())
}
