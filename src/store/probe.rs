//! Whether a store keeps the contract, found out by trying. Some services accept the conditions of a write and ignore them: a collection there would lose updates
//! without a word, so it is not made there.

use bytes::Bytes;
use futures::future::join_all;

use super::{Key, Outcome, Store, StoreError, Tag, Unless};
use crate::env::{Env, System};
use crate::retry;

/// How many create one name at the same moment.
const RACERS: u8 = 8;

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Every check, in order.
    pub checks: Vec<Check>,
}

/// One promise of the contract, tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The promise, in a few words.
    pub promise: &'static str,
    /// What the store did instead; `None` where it kept the promise.
    pub broken: Option<String>,
}

impl Probe {
    /// Whether every promise was kept.
    pub fn is_sound(&self) -> bool {
        self.broken().is_none()
    }

    /// The first promise that was not kept.
    pub fn broken(&self) -> Option<(&'static str, &str)> {
        self.checks.iter().find_map(|check| check.broken.as_deref().map(|broken| (check.promise, broken)))
    }
}

/// Tries what Deltafold relies on, with objects of its own under a name that no collection can have, and removes them. About thirty requests.
///
/// # Errors
///
/// The store could not be asked: no permission, no such bucket, no connection.
pub async fn probe(store: &dyn Store) -> Result<Probe, StoreError> {
    let mut probing =
        Probing { store, name: format!("PROBE-{}", System.nonce()), checks: Vec::new(), made: Vec::new() };
    let result = probing.run().await;
    let Probing { checks, made, .. } = probing;
    // One by one: what cannot be removed must not keep the others.
    let mut removed = Ok(());
    for key in &made {
        removed = removed.and(retry::transient(|| store.delete(std::slice::from_ref(key))).await);
    }
    // Why it could not be asked says more than that something could not be removed.
    result.and(removed)?;
    Ok(Probe { checks })
}

struct Probing<'a> {
    store: &'a dyn Store,
    name: String,
    checks: Vec<Check>,
    made: Vec<Key>,
}

fn content(text: &str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(text.as_bytes())]
}

impl Probing<'_> {
    fn key(&mut self, rest: &str) -> Key {
        let key = Key::new(format!("{}/0000/{rest}", self.name)).expect("letters, digits and dashes between slashes");
        if !self.made.contains(&key) {
            self.made.push(key.clone());
        }
        key
    }

    fn check(&mut self, promise: &'static str, broken: Option<&str>) {
        self.checks.push(Check { promise, broken: broken.map(str::to_owned) });
    }

    async fn create(&self, key: &Key, text: &str) -> Result<Option<Tag>, StoreError> {
        settled(|| self.store.create(key, content(text))).await
    }

    async fn replace(&self, key: &Key, tag: &Tag, text: &str) -> Result<Option<Tag>, StoreError> {
        settled(|| self.store.replace(key, tag, content(text))).await
    }

    async fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        Ok(retry::transient(|| self.store.get(key)).await?.map(|object| object.bytes))
    }

    async fn run(&mut self) -> Result<(), StoreError> {
        self.objects().await?;
        self.registers().await?;
        let clock = retry::transient(|| self.store.now()).await.map(drop);
        self.check("it tells the time", clock.err().map(|error| error.to_string()).as_deref());
        Ok(())
    }

    async fn objects(&mut self) -> Result<(), StoreError> {
        let key = self.key("log/1");
        let created = self.create(&key, "first").await?;
        self.check("an object can be created", created.is_none().then_some("it says that the name is taken"));
        let read = self.read(&key).await?;
        self.check(
            "what was created is there for the next read",
            (read.as_deref() != Some(b"first")).then_some("it is not there, or has other bytes"),
        );
        let range = retry::transient(|| self.store.get_range(&key, 1, 3)).await?;
        self.check("a range can be read", (range.as_deref() != Some(b"ir")).then_some("the range has other bytes"));
        let prefix = key.as_str().to_owned();
        let listed = retry::transient(|| self.store.list_after(&prefix, None, 10)).await?;
        let there = listed.iter().any(|listed| listed.key == key && listed.bytes == 5);
        self.check("what was created is in the next list", (!there).then_some("the list does not show it"));
        let again = self.create(&key, "second").await?;
        let kept = self.read(&key).await?.as_deref() == Some(b"first");
        self.check(
            "a name is created once (If-None-Match: *)",
            match (again, kept) {
                (None, true) => None,
                (_, false) => Some("the second create wrote over the first: the condition is ignored"),
                (Some(_), true) => Some("it reports that it created what was there"),
            },
        );
        let key = self.key("log/2");
        let texts: Vec<String> = (0..RACERS).map(|racer| format!("racer {racer}")).collect();
        let races = join_all(texts.iter().map(|text| self.create(&key, text))).await;
        let won: Vec<&String> =
            texts.iter().zip(&races).filter(|(_, won)| matches!(won, Ok(Some(_)))).map(|(text, _)| text).collect();
        let there = self.read(&key).await?;
        self.check(
            "of many that create one name at once, one wins",
            match won.as_slice() {
                [winner] if there.as_deref() == Some(winner.as_bytes()) => None,
                [_] => Some("the bytes are not those of the one that was told so"),
                // The winner's answer may have been lost.
                [] if there.is_some() => None,
                _ => Some("several were told that they did: the condition is not judged when the write commits"),
            },
        );
        let key = self.key("log/3");
        self.create(&key, "x").await?;
        retry::transient(|| self.store.delete(std::slice::from_ref(&key))).await?;
        let gone = self.read(&key).await?.is_none();
        self.check("what was deleted is gone for the next read", (!gone).then_some("it is still there"));
        Ok(())
    }

    async fn registers(&mut self) -> Result<(), StoreError> {
        let key = self.key("head");
        let Some(first) = self.create(&key, "1").await? else {
            self.check("a register can be created", Some("it says that the name is taken"));
            return Ok(());
        };
        let unchanged = matches!(retry::transient(|| self.store.get_unless(&key, &first)).await?, Unless::Unchanged);
        self.check(
            "a read can be for what has changed (If-None-Match on GET)",
            (!unchanged).then_some("it sends what has not changed"),
        );
        let second = self.replace(&key, &first, "2").await?;
        let there = self.read(&key).await?.as_deref() == Some(b"2");
        self.check(
            "a register can be replaced (If-Match)",
            (second.is_none() || !there).then_some("it refuses, though the register is what it was"),
        );
        let stale = self.replace(&key, &first, "3").await?;
        let kept = self.read(&key).await?.as_deref() == Some(b"2");
        self.check(
            "a register that has changed is not replaced (If-Match)",
            match (stale, kept) {
                (None, true) => None,
                (_, false) => Some("it was written over: the condition is ignored"),
                (Some(_), true) => Some("it reports that it replaced what it did not"),
            },
        );
        let absent = self.key("claim");
        let replaced = self.replace(&absent, &first, "x").await?;
        let there = self.read(&absent).await?.is_some();
        self.check(
            "a register that is not there is not replaced",
            (replaced.is_some() || there).then_some("it was made"),
        );
        Ok(())
    }
}

/// The tag that a write left; `None` where it was refused. An unknown outcome is tried again: whoever is refused then by itself learns it by reading.
async fn settled<F: Future<Output = Result<Outcome, StoreError>>>(
    mut write: impl FnMut() -> F,
) -> Result<Option<Tag>, StoreError> {
    retry::transient(|| {
        let write = write();
        async {
            match write.await? {
                Outcome::Done(tag) => Ok(Some(tag)),
                Outcome::Refused => Ok(None),
                Outcome::Unknown(error) => Err(error),
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;

    #[tokio::test]
    async fn a_store_that_keeps_the_contract_is_found_sound_and_left_clean() {
        let store = Memory::new();
        let probe = probe(&store).await.unwrap();
        assert!(probe.is_sound(), "{probe:?}");
        assert!(probe.checks.len() >= 12);
        assert!(store.list_after("", None, 10).await.unwrap().is_empty());
    }
}
