//! Requests whose method, target or headers are wrong.

use deltafold_testing::random::Random;

use super::Request;
use super::body::{call, framed};
use super::victim::Victim;

const METHODS: &[&str] = &[
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "get",
    "PROPFIND",
    "X",
    "P\u{d6}ST",
];

/// Parts of a path. The server must take none of them for another part, or for a path of its store.
const PARTS: &[&str] = &[
    "",
    ".",
    "..",
    "...",
    "%2e%2e",
    "..%2f..%2f..%2fetc%2fpasswd",
    "a%2Fb",
    "%00",
    "a%00b",
    "%ff",
    "%c0%ae",
    "%",
    "%zz",
    "%25%32%65",
    "{collection}",
    "*",
    "~",
    "'",
    "\"",
    "<script>",
    "a b",
    "\t",
    "\u{e9}",
    "\u{202e}",
    "null",
    "undefined",
    "by-id",
    "collections_count",
    "00000000-0000-0000-0000-000000000000",
    "{00000000-0000-0000-0000-000000000000}",
    "urn:uuid:00000000-0000-0000-0000-000000000000",
    "00000000000000000000000000000000",
    "victim",
    "default_tenant",
    "http.x.y",
    "add",
    "get",
];

const QUERIES: &[&str] = &[
    "?limit=-1",
    "?limit=18446744073709551616",
    "?limit=18446744073709551615&offset=18446744073709551615",
    "?limit=x",
    "?limit=1&limit=2",
    "?offset=1e3",
    "?limit",
    "?%zz",
    "?=&=&&",
    "?limit=%31",
    "?limit=1;offset=2",
    "??",
    "?\u{e9}",
    "?read_level=none",
    "#fragment",
];

const OTHERS: &[&str] = &[
    "/",
    "//",
    "*",
    "",
    "/api",
    "/api/v1",
    "/api/v1/collections",
    "/api/v2/",
    "/api/v2/reset",
    "/api/v2//tenants",
    "/metrics",
    "/metrics/",
    "/healthz?x",
    "/readyz",
    "/openapi.json",
    "/api/deltafold",
    "/api/v2/auth/identity",
    "http://other/api/v2/version",
    "http://[::1",
    "https://server:99999/",
    "server:80",
    "/../../etc/passwd",
    "/api/v2/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/.git/config",
    "/favicon.ico",
];

fn one<'a>(random: &mut Random, of: &[&'a str]) -> &'a str {
    of[random.index(of.len())]
}

/// A target that names no call, or a method that its call does not have.
pub(crate) fn of_wrong_target(random: &mut Random, victim: &Victim) -> Request {
    let (mut method, path, body) = call(random, victim);
    let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    let mut path = match random.below(5) {
        0 => one(random, OTHERS).to_owned(),
        1 => path,
        _ => {
            for _ in 0..=random.below(2) {
                let at = random.index(parts.len());
                match random.below(5) {
                    0 => parts.insert(at, one(random, PARTS).to_owned()),
                    1 if parts.len() > 2 => drop(parts.remove(at)),
                    2 => parts[at] = one(random, PARTS).repeat(1 + random.index(3_000)),
                    _ => parts[at] = one(random, PARTS).to_owned(),
                }
            }
            parts.join("/")
        }
    };
    if random.once_in(3) {
        path.push_str(one(random, QUERIES));
    }
    if random.once_in(2) {
        method = one(random, METHODS);
    }
    let text = if random.once_in(3) { String::new() } else { body.to_string() };
    Request { bytes: framed(method, &path, text.as_bytes()), whole: true, pieces: 1 }
}

const HEADERS: &[&str] = &[
    "content-type: text/plain",
    "content-type: application/xml",
    "content-type: application/json; charset=utf-16",
    "content-type: multipart/form-data; boundary=x",
    "content-type:",
    "content-encoding: gzip",
    "content-encoding: br, deflate",
    "accept: image/png",
    "accept-encoding: *;q=-1",
    "accept-language: \u{e9}",
    "host: ",
    "host: a, b",
    "host: ..",
    "connection: close",
    "connection: upgrade",
    "upgrade: websocket",
    "upgrade: h2c",
    "expect: 100-continue",
    "expect: 200-ok",
    "range: bytes=0-",
    "if-match: *",
    "x-request-id: \u{e9}\u{ff}",
    "x-request-id: ",
    "x-forwarded-for: ../..",
    "traceparent: 00-\u{e9}",
    "traceparent: x",
    "authorization: Bearer",
    "authorization: Basic !!!",
    "authorization: Digest x",
    "authorization: ",
    "x-chroma-token: \u{e9}",
    "cookie: a=b",
    "te: trailers",
    "trailer: content-length",
    "name without colon",
    ": no name",
    "bad name: x",
    " folded: x",
    "x\u{0}y: z",
    "x: a\u{0}b",
    "x: a\rb",
    "x-long-name-\u{7f}: x",
    "proxy-connection: keep-alive",
    "keep-alive: timeout=99999999999",
    "transfer-encoding: identity",
    "content-length: 0",
    "content-length: -1",
    "content-length: 1e3",
    "content-length: 18446744073709551616",
    "content-length: 5, 6",
    "transfer-encoding: chunked",
    "transfer-encoding: gzip, chunked",
];

/// Headers that contradict each other, break the form, or come in floods.
pub(crate) fn of_wrong_headers(random: &mut Random, victim: &Victim) -> Request {
    // A read changes nothing, however its frame is understood.
    let path = format!("{}/get", victim.path);
    let body = b"{\"ids\": [\"id-1\"]}";
    let mut head =
        format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len()).into_bytes();
    match random.below(6) {
        0 => {
            for n in 0..[50, 99, 101, 500, 3_000][random.index(5)] {
                head.extend(format!("x-{n}: {n}\r\n").into_bytes());
            }
        }
        1 => {
            let long = "x".repeat([8_000, 60_000, 70_000, 300_000][random.index(4)]);
            head.extend(format!("x-long: {long}\r\n").into_bytes());
        }
        2 => {
            let long = "x".repeat([200, 60_000, 70_000][random.index(3)]);
            head.extend(format!("{long}: x\r\n").into_bytes());
        }
        _ => {
            for _ in 0..=random.below(4) {
                head.extend(format!("{}\r\n", one(random, HEADERS)).into_bytes());
            }
        }
    }
    head.extend(b"\r\n");
    Request { bytes: [&head[..], body].concat(), whole: false, pieces: 1 + random.index(3) }
}
