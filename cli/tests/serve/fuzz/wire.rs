//! Connections: a client that reads answers without trust, and requests whose frame is wrong.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use deltafold_testing::random::Random;
use serde_json::Value;

use super::Request;
use super::body::{call, framed};
use super::victim::Victim;

/// After this time without a byte the test gives up. The server cuts silent clients before.
const PATIENCE: Duration = Duration::from_secs(90);

fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// An answer at the start of some bytes: its status, its body, and the bytes behind it.
fn answer(bytes: &[u8], to_head: bool) -> Option<(u16, &[u8], &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap_or_else(|_| panic!("an answer's head is not text"));
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap();
    assert!(first.starts_with("HTTP/1."), "no answer: {first:?}");
    let status: u16 = first[9..12].parse().unwrap();
    let length =
        lines.filter_map(|line| line.split_once(": ")).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    // An answer to HEAD has no body, though it has the length of one.
    let length: usize = length.filter(|_| !to_head).map_or(0, |(_, length)| length.parse().unwrap());
    let rest = &bytes[end + 4..];
    (rest.len() >= length).then(|| (status, &rest[..length], &rest[length..]))
}

/// A client that keeps its connection.
pub(crate) struct Wire {
    address: SocketAddr,
    stream: TcpStream,
}

impl Wire {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, stream: connected(address) }
    }

    /// A good request, and its answer.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.stream.write_all(&framed(method, path, text.as_bytes())).unwrap();
        let mut bytes = Vec::new();
        loop {
            if let Some((status, body, _)) = answer(&bytes, false) {
                return (status, serde_json::from_slice(body).unwrap());
            }
            let mut block = [0; 16 << 10];
            let read = self.stream.read(&mut block).unwrap();
            assert!(read > 0, "{}: {method} {path} has no answer", self.address);
            bytes.extend(&block[..read]);
        }
    }

    /// A good request that must succeed.
    pub(crate) fn good(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, body);
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// Sends a request on a connection of its own. Returns the statuses of all answers to it.
    pub(crate) fn exchange(address: SocketAddr, request: &Request) -> Vec<u16> {
        let mut stream = connected(address);
        let piece = request.bytes.len().div_ceil(request.pieces).max(1);
        for piece in request.bytes.chunks(piece) {
            // The server may have refused it before its end.
            if stream.write_all(piece).is_err() {
                break;
            }
        }
        if !request.whole {
            let _ = stream.shutdown(Shutdown::Write);
        }
        let to_head = request.bytes.starts_with(b"HEAD ");
        let mut bytes = Vec::new();
        let mut block = vec![0; 64 << 10];
        loop {
            if request.whole
                && let Some((status, ..)) = answer(&bytes, to_head)
            {
                return vec![status];
            }
            match stream.read(&mut block) {
                Ok(0) => break,
                Ok(read) => bytes.extend(&block[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("the server neither answers nor closes the connection: {error}: {request:?}"),
            }
        }
        let mut statuses = Vec::new();
        let mut rest = &bytes[..];
        while let Some((status, _, behind)) = answer(rest, to_head) {
            // Answers of this kind come before the one that counts.
            if status >= 200 {
                statuses.push(status);
            }
            rest = behind;
        }
        statuses
    }
}

/// A frame that is broken: lengths, chunks, pipelines, versions, and ends.
pub(crate) fn of_wrong_framing(random: &mut Random, victim: &Victim) -> Request {
    let (method, path, body) = call(random, victim);
    let body = body.to_string();
    // A read changes nothing, however its frame is understood.
    let read = format!("{}/get", victim.path);
    let line = format!("POST {read} HTTP/1.1\r\nhost: localhost\r\n");
    let chunked = |chunks: &str| format!("{line}transfer-encoding: chunked\r\n\r\n{chunks}").into_bytes();
    let good = framed("POST", &read, b"{}");
    let bytes = match random.below(16) {
        // A write that breaks off is none.
        0 | 1 => {
            let whole = framed(method, &path, body.as_bytes());
            whole[..random.index(whole.len())].to_vec()
        }
        2 => format!("{line}content-length: {}\r\n\r\n{{}}", 3 + random.below(1 << 40)).into_bytes(),
        3 => format!("{line}content-length: {}\r\n\r\n{{}}", random.below(2)).into_bytes(),
        4 => format!("{line}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}").into_bytes(),
        5 => {
            format!("{line}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n").into_bytes()
        }
        6 => chunked("ffffffffffffffffff\r\n{}"),
        7 => chunked("-1\r\n{}\r\n0\r\n\r\n"),
        8 => chunked(&format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(random.index(100_000)))),
        9 => chunked(&format!("2\r\n{{}}\r\n0\r\n{}\r\n", "trailer: x\r\n".repeat(random.index(5_000)))),
        10 => chunked(&"1\r\n \r\n".repeat(random.index(20_000))),
        11 => [good.repeat(random.index(8)), hostile_line(random), good].concat(),
        12 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00".to_vec(),
        13 => format!("POST {read} HTTP/{}\r\n\r\n", ["0.9", "1.0", "1.2", "2", "9999", "x"][random.index(6)])
            .into_bytes(),
        14 => [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), vec![7; random.index(600)]].concat(),
        _ => format!("POST {read}\nhost: localhost\n\n{{}}").into_bytes(),
    };
    Request { bytes, whole: false, pieces: 1 + random.index(5) }
}

fn hostile_line(random: &mut Random) -> Vec<u8> {
    (0..random.below(300)).map(|_| random.below(256) as u8).collect()
}
