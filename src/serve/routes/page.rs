//! The page for people. Its files are part of the program.

use axum::extract::Path;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::serve::error::{Answer, ApiError};

/// Lets the page load its own files and call its own server, and nothing else. No script, style or
/// handler in the text of the page runs, so a value that gets there as markup does nothing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types";

/// The files by name, with their types.
const FILES: [(&str, &str, &str); 9] = [
    ("api.js", "text/javascript", include_str!("../page/api.js")),
    ("charts.js", "text/javascript", include_str!("../page/charts.js")),
    ("collection.js", "text/javascript", include_str!("../page/collection.js")),
    ("collections.js", "text/javascript", include_str!("../page/collections.js")),
    ("dom.js", "text/javascript", include_str!("../page/dom.js")),
    ("icon.svg", "image/svg+xml", include_str!("../page/icon.svg")),
    ("main.js", "text/javascript", include_str!("../page/main.js")),
    ("records.js", "text/javascript", include_str!("../page/records.js")),
    ("style.css", "text/css", include_str!("../page/style.css")),
];

pub(super) async fn index() -> Response {
    answer("text/html", include_str!("../page/index.html"))
}

pub(super) async fn file(Path(name): Path<String>) -> Answer<Response> {
    let found = FILES.iter().find(|(known, _, _)| *known == name);
    let (_, media, text) = found
        .ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "NotFoundError", "the page has no such file; open `/`"))?;
    Ok(answer(media, text))
}

fn answer(media: &str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, format!("{media}; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin".to_owned()),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin".to_owned()),
    ];
    (headers, text).into_response()
}
