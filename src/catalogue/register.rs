//! Registers of the catalogue: read by conditional GETs, changed by compare-and-set.
//!
//! A register is text: a line of JSON with the format and a checksum, then the content as JSON. It
//! lists the nonces of its last changes, so that a writer whose answer was lost can tell whether
//! its change landed. Nonces also keep any two contents of one register different.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lru::LruCache;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::error::{CatalogueError, Result};
use crate::env::{self, Env, Stopwatch};
use crate::error::{Error, Repr};
use crate::retry;
use crate::store::{Key, Object, Outcome, Store, StoreError, StoreErrorKind, Tag, Unless};

/// The version of the format.
const FORMAT: u32 = 1;
/// Changes that a register remembers.
const REMEMBERED: usize = 64;
/// Registers kept in memory.
const KEPT: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");

/// The first line of a register.
#[derive(Debug, Serialize, Deserialize)]
struct Title {
    format: u32,
    xxh3: String,
}

/// The rest of a register.
#[derive(Debug, Serialize, Deserialize)]
struct Body<T> {
    changes: Vec<String>,
    content: T,
}

/// A register as read.
#[derive(Debug, Clone)]
struct Kept {
    tag: Tag,
    body: Bytes,
    read: Stopwatch,
}

/// The registers of a store.
#[derive(Debug)]
pub(super) struct Registers {
    store: Arc<dyn Store>,
    env: Arc<dyn Env>,
    staleness: Duration,
    kept: Mutex<LruCache<Key, Kept>>,
}

impl Registers {
    pub(super) fn new(store: Arc<dyn Store>, env: Arc<dyn Env>, staleness: Duration) -> Self {
        Self { store, env, staleness, kept: Mutex::new(LruCache::new(KEPT)) }
    }

    /// The content of a register; `None` where it is absent. One conditional GET.
    pub(super) async fn read<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        let kept = match kept {
            Some(kept) if kept.read.elapsed() < self.staleness => kept,
            kept => match self.fetch(key, kept).await? {
                Some(kept) => kept,
                None => return Ok(None),
            },
        };
        Ok(Some(decode::<T>(key, &kept.body)?.content))
    }

    async fn fetch(&self, key: &Key, kept: Option<Kept>) -> Result<Option<Kept>> {
        let read = Stopwatch::start();
        let new = match &kept {
            Some(kept) => match retry::transient(|| self.store.get_unless(key, &kept.tag)).await? {
                Unless::Unchanged => Some(Kept { read, ..kept.clone() }),
                Unless::Changed(object) => Some(self.settled(key, object, read).await?),
                Unless::Absent => None,
            },
            None => match retry::transient(|| self.store.get(key)).await? {
                Some(object) => Some(self.settled(key, object, read).await?),
                None => None,
            },
        };
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match &new {
            Some(kept) => drop(all.put(key.clone(), kept.clone())),
            None => drop(all.pop(key)),
        }
        Ok(new)
    }

    /// Answers rest on the register, so its state must outlast a power failure first.
    async fn settled(&self, key: &Key, object: Object, read: Stopwatch) -> Result<Kept> {
        retry::transient(|| self.store.settle(key)).await?;
        let body = checked(key, object.bytes)?;
        Ok(Kept { tag: object.tag, body, read })
    }

    /// Changes a register by compare-and-set: `change` gets the present content, or the default
    /// where there is none. It runs again after a lost race. Where it returns an error, nothing is
    /// written.
    pub(super) async fn change<T, R>(&self, key: &Key, mut change: impl FnMut(&mut T) -> Result<R>) -> Result<R>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        let nonce = self.env.nonce().to_string();
        let mut in_doubt: Option<(R, StoreError)> = None;
        let mut pauses = retry::pauses();
        loop {
            let object = retry::transient(|| self.store.get(key)).await?;
            let (tag, mut body) = match object {
                Some(object) => {
                    let body = decode::<T>(key, &checked(key, object.bytes)?)?;
                    (Some(object.tag), body)
                }
                None => (None, Body { changes: Vec::new(), content: T::default() }),
            };
            // An earlier attempt has landed, though its answer was lost.
            if body.changes.contains(&nonce) {
                retry::transient(|| self.store.settle(key)).await?;
                if let Some((result, _)) = in_doubt {
                    return Ok(result);
                }
            }
            if tag.is_some() {
                retry::transient(|| self.store.settle(key)).await?;
            }
            let result = change(&mut body.content)?;
            body.changes.push(nonce.clone());
            let excess = body.changes.len().saturating_sub(REMEMBERED);
            body.changes.drain(..excess);
            let text = encode(key, &body)?;
            let outcome = match &tag {
                Some(tag) => self.store.replace(key, tag, vec![text.clone()]).await,
                None => self.store.create(key, vec![text.clone()]).await,
            };
            match outcome {
                Ok(Outcome::Done(tag)) => {
                    let kept = Kept { tag, body: checked(key, text)?, read: Stopwatch::start() };
                    self.kept.lock().unwrap_or_else(PoisonError::into_inner).put(key.clone(), kept);
                    return Ok(result);
                }
                Ok(Outcome::Refused) => {}
                Ok(Outcome::Unknown(error)) => in_doubt = Some((result, error)),
                Err(error) if error.kind() == StoreErrorKind::Transient => {}
                Err(error) => return Err(error.into()),
            }
            match pauses.next() {
                Some(pause) => env::sleep(pause).await,
                None => {
                    return Err(match in_doubt {
                        Some((_, error)) => lost_answer(key, &error).into(),
                        None => CatalogueError::Contended(key.to_string()),
                    });
                }
            }
        }
    }

    /// Deletes registers that nothing names any more.
    pub(super) async fn delete(&self, keys: &[Key]) -> Result<()> {
        retry::transient(|| self.store.delete(keys)).await?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            drop(kept.pop(key));
        }
        Ok(())
    }
}

fn lost_answer(key: &Key, error: &StoreError) -> Error {
    Repr::Unknown { what: format!("the change of register `{key}`"), error: error.to_string() }.into()
}

/// The content of a register without its first line, once the checksum fits.
fn checked(key: &Key, bytes: Bytes) -> Result<Bytes> {
    let damaged = |why: &str| CatalogueError::Engine(Error::corrupt(key, why));
    let end = memchr::memchr(b'\n', &bytes).ok_or_else(|| damaged("its first line is missing"))?;
    let body = bytes.slice(end + 1..);
    let title: Title = serde_json::from_slice(bytes.get(..end).unwrap_or_default())
        .map_err(|_| damaged("its first line cannot be read"))?;
    if title.format == 0 {
        return Err(damaged("it has no format"));
    }
    if title.format > FORMAT {
        let why = format!("it has format {}, and this program knows {FORMAT}: update this program", title.format);
        return Err(damaged(&why));
    }
    if title.xxh3 != format!("{:016x}", xxh3_64(&body)) {
        return Err(damaged("its checksum does not fit"));
    }
    Ok(body)
}

fn decode<T: DeserializeOwned>(key: &Key, body: &[u8]) -> Result<Body<T>> {
    serde_json::from_slice(body)
        .map_err(|error| Error::corrupt(key, format!("its content cannot be read: {error}")).into())
}

fn encode<T: Serialize>(key: &Key, body: &Body<T>) -> Result<Bytes> {
    let unwritable = |error: serde_json::Error| Error::corrupt(key, format!("its content cannot be written: {error}"));
    let body = serde_json::to_vec(body).map_err(unwritable)?;
    let title = Title { format: FORMAT, xxh3: format!("{:016x}", xxh3_64(&body)) };
    let mut text = serde_json::to_vec(&title).map_err(unwritable)?;
    text.push(b'\n');
    text.extend_from_slice(&body);
    Ok(text.into())
}

#[cfg(test)]
mod tests;
