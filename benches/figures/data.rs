//! Records like those of a text collection: an embedding and a handful of metadata.

use std::collections::BTreeMap;

use deltafold::Writer;
use deltafold::format::{Metadata, Op, Patch, Record, Value};

pub(crate) const DIMENSION: u32 = 384;

/// A small, fast, seeded source of numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

pub(crate) fn id(number: usize) -> String {
    format!("document-{number:09}")
}

fn embedding(random: &mut Random) -> Vec<f32> {
    (0..DIMENSION).map(|_| (random.next() >> 40) as f32 / (1 << 24) as f32 - 0.5).collect()
}

fn metadata(number: usize, random: &mut Random) -> Metadata {
    BTreeMap::from([
        ("source".to_owned(), Value::String(format!("feed-{}", number % 97))),
        ("language".to_owned(), Value::String(["en", "de", "fr", "nl"][random.below(4)].to_owned())),
        ("page".to_owned(), Value::I64(random.below(5_000) as i64)),
        ("score".to_owned(), Value::F64(random.below(10_000) as f64 / 10_000.0)),
        ("reviewed".to_owned(), Value::Bool(random.below(2) == 1)),
        ("title".to_owned(), Value::String(format!("Chapter {} of volume {}", random.below(100), random.below(1_000)))),
    ])
}

/// A whole record of 384 dimensions.
pub(crate) fn put(number: usize, random: &mut Random) -> Op {
    let record = Record { embedding: Some(embedding(random)), metadata: metadata(number, random), document: None };
    Op::put(id(number), record)
}

/// A whole record with a document of 1,500 characters, made of words like a text.
#[cfg(feature = "s3")]
pub(crate) fn put_document(number: usize, random: &mut Random) -> Op {
    let mut document = String::with_capacity(1_520);
    while document.len() < 1_500 {
        // Few words are frequent and many are rare.
        let rare = random.below(10_000);
        let word = random.below(1 + rare);
        document.push_str(&format!("{:x} ", 0x1000 + word * word));
    }
    let metadata = metadata(number, random);
    Op::put(id(number), Record { embedding: Some(embedding(random)), metadata, document: Some(document) })
}

/// A patch of some metadata.
pub(crate) fn patch(number: usize, random: &mut Random) -> Op {
    let metadata = BTreeMap::from([
        ("page".to_owned(), Some(Value::I64(random.below(5_000) as i64))),
        ("score".to_owned(), Some(Value::F64(random.below(10_000) as f64 / 10_000.0))),
        ("reviewed".to_owned(), Some(Value::Bool(random.below(2) == 1))),
    ]);
    Op::patch(id(number), Patch { metadata, ..Patch::default() })
}

/// A patch of 200 bytes of metadata.
pub(crate) fn patch_200(number: usize, random: &mut Random) -> Op {
    let note: String = (0..12).map(|_| format!("{:016x}", random.next())).collect();
    let metadata = BTreeMap::from([("note".to_owned(), Some(Value::String(note)))]);
    Op::patch(id(number), Patch { metadata, ..Patch::default() })
}

/// The patches of each caller, made before the clock starts: callers bring their ops.
pub(crate) fn patches_of_callers(callers: usize, rounds: usize, seed: u64) -> Vec<Vec<Op>> {
    let of_caller = |caller: usize| {
        let mut random = Random(seed + caller as u64);
        (0..rounds).map(|number| patch_200(caller * rounds + number, &mut random)).collect()
    };
    (0..callers).map(of_caller).collect()
}

/// Appends the ops of all callers at once, one op a call.
pub(crate) async fn append_at_once(writer: &Writer, callers: Vec<Vec<Op>>) {
    let append = |ops: Vec<Op>| {
        let writer = writer.clone();
        tokio::spawn(async move {
            for op in ops {
                writer.append(vec![op]).await.expect("an ack");
            }
        })
    };
    let callers: Vec<_> = callers.into_iter().map(append).collect();
    for caller in callers {
        caller.await.expect("no panic");
    }
}
