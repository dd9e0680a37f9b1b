//! Requests and answers of a function URL, as the service hands them over.
//!
//! The crate `lambda_http` maps them too, but panics on a path that is no URI. A client must not be
//! able to end the program.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::failure::Failure;
use crate::serve::ApiError;

/// The service carries at most this much of an answer, its JSON included.
const MAX_ANSWER: usize = 6_291_556;
/// Room for the status and the headers of an answer.
const HEAD: usize = 16 << 10;
/// Most bytes of an answer's body, as a string of JSON.
pub(super) const MAX_BODY: usize = MAX_ANSWER - HEAD;

/// The event of a request, as far as it is read here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    raw_path: String,
    #[serde(default)]
    raw_query_string: String,
    #[serde(default)]
    headers: HashMap<String, String>,
    request_context: Context,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Deserialize)]
struct Context {
    authorizer: Option<Authorizer>,
    http: Line,
}

/// The check of a request by the service.
#[derive(Deserialize)]
struct Authorizer {
    iam: Option<Value>,
}

#[derive(Deserialize)]
struct Line {
    method: String,
}

/// A request, and whether the service has checked its signature.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) request: Request<Bytes>,
    pub(super) is_signed: bool,
}

/// The request of an event. The inner error is the answer to a request that cannot be read.
pub(super) fn called(payload: &RawValue) -> Result<Result<Called, ApiError>, Failure> {
    let event: Event = serde_json::from_str(payload.get()).map_err(|error| {
        Failure::event(format!("this function answers requests of its URL, and the event is not one: {error}"))
    })?;
    Ok(request(event))
}

fn request(event: Event) -> Result<Called, ApiError> {
    let unusable = |what: &str| ApiError::invalid(format!("the {what} of the request cannot be read; correct it"));
    let target = match (event.raw_path, event.raw_query_string) {
        (path, _) if !path.starts_with('/') => return Err(unusable("path")),
        (path, query) if query.is_empty() => path,
        (path, query) => format!("{path}?{query}"),
    };
    let uri: Uri = target.parse().map_err(|_| unusable("path"))?;
    let method: Method = event.request_context.http.method.parse().map_err(|_| unusable("method"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in event.headers {
        let name: HeaderName = name.parse().map_err(|_| unusable("headers"))?;
        // The body is whole, whatever a proxy said about its transport.
        if name != http::header::CONTENT_LENGTH && name != http::header::TRANSFER_ENCODING {
            headers.append(name, HeaderValue::from_str(&value).map_err(|_| unusable("headers"))?);
        }
    }
    let body = event.body.unwrap_or_default();
    let body = if event.is_base64_encoded {
        STANDARD.decode(body).map_err(|_| unusable("body"))?.into()
    } else {
        Bytes::from(body)
    };
    let is_signed = event.request_context.authorizer.is_some_and(|authorizer| authorizer.iam.is_some());
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(Called { request, is_signed })
}

/// The answer as the service takes it. The error is the answer instead of one that is too large.
pub(super) fn answer(response: Response<Bytes>) -> Result<Value, ApiError> {
    let (parts, body) = response.into_parts();
    let (body, is_base64) = match String::from_utf8(body.into()) {
        Ok(text) => (text, false),
        Err(binary) => (STANDARD.encode(binary.into_bytes()), true),
    };
    if as_json(&body) > MAX_BODY {
        return Err(too_large());
    }
    Ok(json!({
        "statusCode": parts.status.as_u16(),
        "headers": headers(&parts.headers),
        "body": body,
        "isBase64Encoded": is_base64,
    }))
}

/// The refusal of a request whose answer the service cannot carry.
pub(super) fn too_large() -> ApiError {
    ApiError::invalid(format!(
        "the answer is larger than the {MAX_BODY} bytes that a function of AWS Lambda can give; ask for fewer records \
         with `limit`, or for fewer fields with `include`"
    ))
}

/// The headers of an answer. The service takes one value for each name.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let mut map = Map::new();
    for name in headers.keys() {
        let values: Vec<_> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        map.insert(name.as_str().to_owned(), values.join(", ").into());
    }
    map
}

/// The length of a text as a string of JSON, which escapes quotes and control characters.
fn as_json(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    2 + text.bytes().map(escaped).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(change: impl FnOnce(&mut Value)) -> Box<RawValue> {
        let mut event = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/api/v2/x%20y",
            "rawQueryString": "limit=1&offset=2",
            "headers": { "x-chroma-token": "t", "content-length": "3" },
            "requestContext": {
                "accountId": "anonymous",
                "timeEpoch": 1,
                "http": { "method": "POST", "path": "/api/v2/x%20y" },
            },
            "body": "{ }",
            "isBase64Encoded": false,
        });
        change(&mut event);
        serde_json::value::to_raw_value(&event).unwrap()
    }

    fn read(change: impl FnOnce(&mut Value)) -> Called {
        called(&event(change)).unwrap().unwrap()
    }

    #[test]
    fn an_event_is_read_as_a_request() {
        let Called { request, is_signed } = read(|_| ());
        assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/api/v2/x%20y"));
        assert_eq!(request.uri().query(), Some("limit=1&offset=2"));
        assert_eq!(request.headers()["x-chroma-token"], "t");
        assert!(!request.headers().contains_key("content-length"), "a proxy may have named another length");
        assert_eq!((&request.body()[..], is_signed), (&b"{ }"[..], false));
        let encoded = read(|event| {
            event["body"] = "e30=".into();
            event["isBase64Encoded"] = true.into();
        });
        assert_eq!(&encoded.request.body()[..], b"{}");
        let signed = read(|event| event["requestContext"]["authorizer"] = json!({ "iam": { "userId": "u" } }));
        assert!(signed.is_signed);
        let other = read(|event| event["requestContext"]["authorizer"] = json!({}));
        assert!(!other.is_signed, "an authoriser of another kind checks no signature");
        assert!(read(|event| drop(event.as_object_mut().unwrap().remove("body"))).request.body().is_empty());
    }

    /// Story: the mapping of a well-known crate panicked on such paths, so any client could end the
    /// program.
    #[test]
    fn requests_that_cannot_be_read_get_an_answer() {
        for (field, value) in [
            ("rawPath", json!("/a b")),
            ("rawPath", json!("/\u{1}")),
            ("rawPath", json!("no slash")),
            ("rawPath", json!("")),
            ("rawQueryString", json!("a= b")),
        ] {
            assert!(called(&event(|event| event[field] = value.clone())).unwrap().is_err(), "{field} {value}");
        }
        assert!(called(&event(|event| event["isBase64Encoded"] = true.into())).unwrap().is_err());
        assert!(called(&event(|event| event["headers"]["a b"] = "c".into())).unwrap().is_err());
        assert!(called(&event(|event| event["headers"]["a"] = "c\nd".into())).unwrap().is_err());
        assert!(called(&event(|event| event["requestContext"]["http"]["method"] = "A B".into())).unwrap().is_err());
        for other in ["{}", "null", r#"{"Records":[]}"#, r#"{"collections":["a"]}"#] {
            let other: Box<RawValue> = serde_json::from_str(other).unwrap();
            assert!(called(&other).unwrap_err().to_string().contains("its URL"), "{other}");
        }
    }

    #[test]
    fn an_answer_beyond_the_limit_says_so() {
        let of = |body: Vec<u8>| answer(Response::new(body.into()));
        let text = of(b"{\"a\":\"\xc3\xa4\"}".to_vec()).unwrap();
        assert_eq!((&text["body"], &text["isBase64Encoded"]), (&json!("{\"a\":\"ä\"}"), &json!(false)));
        let binary = of(vec![0xff, 0]).unwrap();
        assert_eq!((&binary["body"], &binary["isBase64Encoded"]), (&json!("/wA="), &json!(true)));
        let most = MAX_BODY - 2;
        assert!(of(vec![b'x'; most]).is_ok());
        assert!(of(vec![b'x'; most + 1]).is_err());
        assert!(of(vec![b'"'; most / 2]).is_ok());
        assert!(of(vec![b'"'; most / 2 + 1]).is_err(), "the service counts the escaped form");
        assert!(of(vec![0xff; most]).is_err(), "and base64");
        let text: String = (0..=0x7f_u8).map(char::from).collect();
        assert_eq!(as_json(&text), serde_json::to_string(&text).unwrap().len());
    }
}
