//! Malformed requests, made from a seed, against the program.
//!
//! The server must refuse each of them by a status below 500, and a refused one changes nothing.
//! `DELTAFOLD_FUZZ_REQUESTS` sets the number of requests, and `DELTAFOLD_SEED` repeats a run.

mod body;
mod head;
mod values;
mod victim;
mod wire;

use deltafold_testing::random::Random;

use self::victim::Victim;
use self::wire::Wire;
use crate::program::{Program, command};

/// Requests of a run in which the environment names no other number.
const REQUESTS: usize = 500;
/// Limit on the peak memory of the server. A debug build without requests takes a tenth of it.
const MEMORY_MIB: u64 = 256;

/// A request as bytes on a connection.
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    /// Whether the server has all that it waits for, so that an answer must come.
    pub(crate) whole: bool,
    /// Number of writes that bring it.
    pub(crate) pieces: usize,
}

impl Request {
    /// Whether it cannot change anything, however the server understands it.
    fn only_reads(&self) -> bool {
        let line = self.bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
        line.starts_with(b"POST") && (line.ends_with(b"/get HTTP/1.1") || line.ends_with(b"/query HTTP/1.1"))
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.bytes.get(..2_000).unwrap_or(&self.bytes);
        write!(f, "{} bytes, whole: {}: {}", self.bytes.len(), self.whole, shown.escape_ascii())
    }
}

fn request(random: &mut Random, victim: &Victim) -> Request {
    match random.below(20) {
        0..10 => body::of_wrong_shape(random, victim),
        10..13 => body::of_wrong_bytes(random, victim),
        13..16 => head::of_wrong_target(random, victim),
        16..18 => head::of_wrong_headers(random, victim),
        _ => wire::of_wrong_framing(random, victim),
    }
}

#[test]
fn malformed_requests_are_refused_and_change_nothing() {
    let given = std::env::var("DELTAFOLD_FUZZ_REQUESTS").ok();
    let count = given.map_or(REQUESTS, |count| count.parse().unwrap());
    let mut random = Random::from_environment();
    let folder = tempfile::tempdir().unwrap();
    let errors = folder.path().join("errors");
    let mut command = command(folder.path().join("store").to_str().unwrap());
    command.stderr(std::fs::File::create(&errors).unwrap());
    let program = Program::start(command, &["--fold-segments", "8"]);
    let mut wire = Wire::new(program.address);
    let mut victim = Victim::made(&mut wire);
    let mut state = victim.state(&mut wire);
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for number in 0..count {
        let request = request(&mut random, &victim);
        let answers = Wire::exchange(program.address, &request);
        assert!(!answers.is_empty() || !request.whole, "request {number} has no answer: {request:?}");
        for status in &answers {
            assert!((200..500).contains(status), "request {number} is answered {status}: {request:?}");
            *statuses.entry(*status).or_default() += 1;
        }
        if answers.iter().any(|status| *status < 300) {
            victim = Victim::made(&mut wire);
            state = victim.state(&mut wire);
        } else if !request.only_reads() {
            assert_eq!(victim.state(&mut wire), state, "request {number} changed it: {request:?}");
        }
    }
    println!("answers by status: {statuses:?}");
    assert!(statuses.get(&400).is_some_and(|refused| *refused > count / 10), "hardly one was refused: {statuses:?}");
    let errors = std::fs::read_to_string(&errors).unwrap();
    assert!(!errors.contains("panicked"), "the server panicked: {errors}");
    let peak = program.peak_mib();
    println!("peak of the server: {peak} MiB");
    assert!(peak <= MEMORY_MIB, "the server took {peak} MiB");
    wire.good("POST", &format!("{}/query", victim.path), &serde_json::json!({ "query_embeddings": [[1, 0]] }));
}
