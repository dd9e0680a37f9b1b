//! Beginning anew: queues are purged and the collection is dropped, in the order that is safe,
//! however often that is broken off.

use bytes::Bytes;
use deltafold_format::{CollectionName, HeadPlace};
use serde_json::{Value, json};

use super::{Collection, DropReport};
use crate::error::{Error, Repr, Result};
use crate::retry;
use crate::store::{Key, Outcome, Store};

/// What a reset is about. A note of it lies in the store from its beginning to its end, as nothing
/// else is left that says where the heads were once the collection's register is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// Where the collection's heads lie.
    pub heads: HeadPlace,
    /// The queues that feed it, by URL.
    pub queues: Vec<String>,
}

/// Where the note lies: under a name that no collection can have, so that no drop takes it along.
fn note_key(name: &CollectionName) -> Key {
    Key::new(format!("RESET/{name}")).expect("collection names hold only characters of keys")
}

impl Reset {
    /// What an earlier reset of the collection was about that has not come to its end. One GET.
    ///
    /// # Errors
    ///
    /// `Corrupt` where the note cannot be read: delete it, and say anew what is to be reset.
    pub async fn noted(store: &dyn Store, name: &CollectionName) -> Result<Option<Self>> {
        let key = note_key(name);
        let Some(object) = retry::transient(|| store.get(&key)).await? else { return Ok(None) };
        match Self::parse(&object.bytes) {
            Some(note) => Ok(Some(note)),
            None => Err(Repr::ResetNote(key).into()),
        }
    }

    /// Notes what is to be done, purges the queues, drops the collection, rests, and removes the
    /// note. Purging goes first, so that nobody applies an old change to what comes next; `rest` is
    /// there for those who still work on an old message. Broken off anywhere, it is done by running
    /// it again. Without queues 3 requests and those of [`Collection::drop`].
    ///
    /// # Errors
    ///
    /// `Conflict` while another reset of the collection is at work; otherwise as the store and
    /// `purge` say. That the collection is gone already is none.
    pub async fn run<E: From<Error>>(
        &self,
        store: &dyn Store,
        with_heads: &dyn Store,
        name: &CollectionName,
        purge: impl Future<Output = Result<(), E>>,
        rest: impl Future<Output = ()>,
        each: impl FnMut(DropReport),
    ) -> Result<DropReport, E> {
        let key = note_key(name);
        self.keep(store, &key).await?;
        purge.await?;
        let dropped = match Collection::drop(with_heads, name, each).await {
            Err(error) if error.kind() == crate::ErrorKind::NotFound => DropReport::default(),
            dropped => dropped?,
        };
        rest.await;
        retry::transient(|| store.delete(std::slice::from_ref(&key))).await.map_err(Error::from)?;
        Ok(dropped)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let note: Value = serde_json::from_slice(bytes).ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let heads = match note["heads"]["place"].as_str()? {
            "store" => HeadPlace::Store,
            "dynamodb" => {
                HeadPlace::DynamoDb { table: text(&note["heads"]["table"])?, region: text(&note["heads"]["region"])? }
            }
            _ => return None,
        };
        let queues = note["queues"].as_array()?.iter().map(text).collect::<Option<_>>()?;
        Some(Self { heads, queues })
    }

    /// Writes the note, over one that is there.
    async fn keep(&self, store: &dyn Store, key: &Key) -> Result<()> {
        let heads = match &self.heads {
            HeadPlace::Store => json!({ "place": "store" }),
            HeadPlace::DynamoDb { table, region } => json!({ "place": "dynamodb", "table": table, "region": region }),
        };
        let text = Bytes::from(json!({ "heads": heads, "queues": self.queues }).to_string());
        // An answer that is lost does not matter: the note says the same whoever wrote it last.
        let mut tries = 0;
        loop {
            let there = retry::transient(|| store.get(key)).await?;
            if there.as_ref().is_some_and(|object| object.bytes == text) {
                return Ok(retry::transient(|| store.settle(key)).await?);
            }
            let chunks = vec![text.clone()];
            let written = match &there {
                Some(object) => retry::transient(|| store.replace(key, &object.tag, chunks.clone())).await?,
                None => retry::transient(|| store.create(key, chunks.clone())).await?,
            };
            tries += 1;
            match written {
                Outcome::Done(_) => return Ok(()),
                Outcome::Refused if tries < ATTEMPTS => {}
                Outcome::Unknown(_) if tries < ATTEMPTS => {}
                Outcome::Refused => {
                    return Err(Repr::Conflict("another reset of this collection is at work".to_owned()).into());
                }
                Outcome::Unknown(error) => return Err(error.into()),
            }
        }
    }
}

/// How often the note is tried to be written.
const ATTEMPTS: u32 = 5;
