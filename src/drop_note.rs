//! The note of a drop. It lies in the store from the beginning of the drop to its end.
//!
//! A drop deletes the collection register first and the heads next. While the note is there, their
//! absence is not damage.

use bytes::Bytes;
use deltafold_format::{CollectionName, Uid};
use serde_json::{Value, json};

use crate::env::{Env, System};
use crate::error::Result;
use crate::retry;
use crate::store::{Key, Outcome, Store};

/// The key of the note: under a name that no collection can have, so that no drop deletes it with
/// the rest.
fn key(name: &CollectionName) -> Key {
    Key::new(format!("DROP/{name}")).expect("collection names hold only characters of keys")
}

/// The stored note of one drop. No two drops that each came to an end had the same note.
#[derive(Debug)]
pub(crate) struct Note {
    key: Key,
    text: Bytes,
    /// Whether this drop wrote it, not an earlier one.
    ours: bool,
}

impl Note {
    /// Writes the note. An existing one stays and becomes this drop's too: the drop resumes an
    /// interrupted one, or does the same as another under way.
    pub(crate) async fn write(store: &dyn Store, name: &CollectionName, uid: Option<Uid>) -> Result<Self> {
        let key = key(name);
        let (uid, id) = (uid.map(|uid| uid.to_string()), System.nonce().to_string());
        let text = Bytes::from(json!({ "uid": uid, "drop": id }).to_string());
        let (text, ours) = loop {
            let created = retry::transient(|| async {
                match store.create(&key, vec![text.clone()]).await? {
                    Outcome::Done(_) => Ok(true),
                    Outcome::Refused => Ok(false),
                    Outcome::Unknown(error) => Err(error),
                }
            })
            .await?;
            if created {
                break (text, true);
            }
            // Another drop may have ended since; then this one begins. A refusal may also be a
            // self-conflict with our own note.
            if let Some(object) = retry::transient(|| store.get(&key)).await? {
                let ours = object.bytes == text;
                break (object.bytes, ours);
            }
        };
        retry::transient(|| store.settle(&key)).await?;
        Ok(Self { key, text, ours })
    }

    /// Whether the note is still there. Until it goes, no collection can be created under the name.
    /// So all objects seen before belong to the dropped collection. One GET.
    pub(crate) async fn stands(&self, store: &dyn Store) -> Result<bool> {
        let object = retry::transient(|| store.get(&self.key)).await?;
        Ok(object.is_some_and(|object| object.bytes == self.text))
    }

    /// Removes the note of a drop that has not begun, unless another drop wrote it.
    pub(crate) async fn withdraw(self, store: &dyn Store) -> Result<()> {
        if self.ours && self.stands(store).await? { self.remove(store).await } else { Ok(()) }
    }

    /// Removes the note, at the end of a drop.
    pub(crate) async fn remove(self, store: &dyn Store) -> Result<()> {
        Ok(retry::transient(|| store.delete(std::slice::from_ref(&self.key))).await?)
    }
}

/// Whether a drop has begun and not ended. If the collection's uid is known, a note of another
/// collection of this name does not count. One GET.
pub(crate) async fn is_dropping(store: &dyn Store, name: &CollectionName, uid: Option<Uid>) -> Result<bool> {
    let key = key(name);
    let Some(object) = retry::transient(|| store.get(&key)).await? else { return Ok(false) };
    // An unreadable note proves only that there is one.
    let noted: Option<Uid> = serde_json::from_slice::<Value>(&object.bytes)
        .ok()
        .and_then(|note| note["uid"].as_str().and_then(|uid| uid.parse().ok()));
    Ok(match (noted, uid) {
        (Some(noted), Some(uid)) => noted == uid,
        _ => true,
    })
}
