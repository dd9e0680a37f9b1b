//! One try of a promise, on fresh keys, which decides lost answers by a read.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::retry;
use crate::store::{Key, Object, Outcome, Store, StoreError, StoreErrorKind, Tag};

/// The finding of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Kept,
    /// Kept, at a higher cost.
    Costs(&'static str),
    Broken(&'static str),
    /// An earlier write may have landed late. Fresh keys will tell.
    Undecided,
    /// The promise does not apply to the store.
    Nothing,
}

impl Found {
    /// Kept, or broken in this way.
    pub(super) fn of(kept: bool, broken: &'static str) -> Self {
        if kept { Self::Kept } else { Self::Broken(broken) }
    }
}

/// All rounds of a probe.
#[derive(Debug)]
pub(super) struct Rounds<'a> {
    store: &'a dyn Store,
    name: String,
    number: AtomicU32,
    made: Mutex<Vec<Key>>,
    /// The limit of attempts at a request that has no answer.
    attempts: u32,
}

impl<'a> Rounds<'a> {
    pub(super) fn new(store: &'a dyn Store, name: String) -> Self {
        Self { store, name, number: AtomicU32::new(0), made: Mutex::default(), attempts: u32::MAX }
    }

    /// Shortens the retries of requests without an answer, after one used up all the time.
    pub(super) fn hurry(&mut self) {
        self.attempts = 3;
    }

    /// A round with keys of its own.
    pub(super) fn next(&self) -> Round<'_> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (folder, attempts) = (format!("{}/{number:04}", self.name), self.attempts);
        Round { store: self.store, folder, made: &self.made, attempts }
    }

    /// The keys that may have an object.
    pub(super) fn made(&self) -> Vec<Key> {
        std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug)]
pub(super) struct Round<'a> {
    pub(super) store: &'a dyn Store,
    folder: String,
    made: &'a Mutex<Vec<Key>>,
    attempts: u32,
}

/// The kind of a write.
#[derive(Debug, Clone, Copy)]
pub(super) enum Write<'a> {
    Create,
    Replace(&'a Tag),
    /// As an upload in parts. Counts as refused where the store has none.
    Upload,
}

fn content(text: &str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(text.as_bytes())]
}

impl Round<'_> {
    pub(super) fn key(&self, rest: &str) -> Key {
        let key = Key::new(format!("{}/{rest}", self.folder)).expect("letters, digits and dashes between slashes");
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !made.contains(&key) {
            made.push(key.clone());
        }
        key
    }

    /// The tag of the created object; `None` where the store refused.
    pub(super) async fn create(&self, key: &Key, text: &str) -> Result<Option<Tag>, StoreError> {
        self.write(key, text, Write::Create).await
    }

    /// The tag of the replaced object; `None` where the store refused.
    pub(super) async fn replace(&self, key: &Key, tag: &Tag, text: &str) -> Result<Option<Tag>, StoreError> {
        self.write(key, text, Write::Replace(tag)).await
    }

    pub(super) async fn read(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.answered(|| self.store.get(key)).await
    }

    /// Repeats the call until there is an answer, or the attempts are used up.
    pub(super) async fn answered<T, F>(&self, call: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let made = AtomicU32::new(1);
        let again = |error: &StoreError| {
            error.kind() == StoreErrorKind::Transient && made.fetch_add(1, Ordering::Relaxed) < self.attempts
        };
        retry::while_transient(call, again).await
    }

    /// Whether the object has exactly these bytes.
    pub(super) async fn holds(&self, key: &Key, text: &str) -> Result<bool, StoreError> {
        Ok(self.read(key).await?.is_some_and(|object| object.bytes == text.as_bytes()))
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.answered(|| self.store.delete(std::slice::from_ref(key))).await
    }

    /// Writes until the outcome is known. No other write has this text.
    ///
    /// A refusal may be a self-conflict with an earlier attempt, and a write without an answer may
    /// have landed. A read decides both.
    pub(super) async fn write(&self, key: &Key, text: &str, write: Write<'_>) -> Result<Option<Tag>, StoreError> {
        let written = self.answered(|| async {
            let outcome = match write {
                Write::Create => self.store.create(key, content(text)).await?,
                Write::Replace(tag) => self.store.replace(key, tag, content(text)).await?,
                Write::Upload => match self.store.stage(key, &content(text)).await? {
                    Some(staged) => staged.create().await?,
                    None => Outcome::Refused,
                },
            };
            match outcome {
                Outcome::Done(tag) => Ok(Some(tag)),
                Outcome::Refused => Ok(None),
                Outcome::Unknown(error) => Err(error),
            }
        });
        let written = written.await;
        if let Ok(Some(tag)) = written {
            return Ok(Some(tag));
        }
        let there = match (self.read(key).await, &written) {
            (Ok(there), _) => there,
            // The error of the write is more precise.
            (Err(_), Err(error)) => return Err(error.clone()),
            (Err(error), Ok(_)) => return Err(error),
        };
        match there.filter(|object| object.bytes == text.as_bytes()) {
            Some(own) => Ok(Some(own.tag)),
            None => written,
        }
    }
}
