//! Keys, contents and outcomes, as tests of stores write them.

use bytes::Bytes;
use deltafold::store::{Key, Outcome, Store, Tag};

pub fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

pub fn chunks(text: &str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(text.as_bytes())]
}

pub async fn create(store: &dyn Store, name: &str, content: &str) -> Tag {
    done(store.create(&key(name), chunks(content)).await.unwrap())
}

pub fn done(outcome: Outcome) -> Tag {
    match outcome {
        Outcome::Done(tag) => tag,
        other => panic!("{other:?} where it had to be done"),
    }
}

/// Adds 1 to a counter, `times` times.
pub async fn increment(store: &dyn Store, name: &str, times: usize) {
    for _ in 0..times {
        loop {
            let object = store.get(&key(name)).await.unwrap().unwrap();
            let count: u64 = std::str::from_utf8(&object.bytes).unwrap().parse().unwrap();
            match store.replace(&key(name), &object.tag, chunks(&(count + 1).to_string())).await.unwrap() {
                Outcome::Done(_) => break,
                Outcome::Refused => {}
                Outcome::Unknown(error) => panic!("{error}"),
            }
        }
    }
}
