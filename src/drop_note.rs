//! The note of a drop: it lies in the store from the beginning of a drop to its end.
//!
//! A drop deletes the collection register first and the heads next. While the note is there, their absence is no damage.

use bytes::Bytes;
use deltafold_format::{CollectionName, Uid};
use serde_json::{Value, json};

use crate::error::Result;
use crate::retry;
use crate::store::{Key, Outcome, Store};

/// Where the note lies: under a name that no collection can have, so that no drop deletes it with the rest.
fn key(name: &CollectionName) -> Key {
    Key::new(format!("DROP/{name}")).expect("collection names hold only characters of keys")
}

/// Writes the note. One that is there already stays: two drops of one name do the same.
pub(crate) async fn write(store: &dyn Store, name: &CollectionName, uid: Option<Uid>) -> Result<()> {
    let key = key(name);
    let text = Bytes::from(json!({ "uid": uid.map(|uid| uid.to_string()) }).to_string());
    retry::transient(|| async {
        match store.create(&key, vec![text.clone()]).await? {
            Outcome::Done(_) | Outcome::Refused => Ok(()),
            Outcome::Unknown(error) => Err(error),
        }
    })
    .await?;
    Ok(retry::transient(|| store.settle(&key)).await?)
}

/// Removes the note, at the end of a drop.
pub(crate) async fn remove(store: &dyn Store, name: &CollectionName) -> Result<()> {
    let key = key(name);
    Ok(retry::transient(|| store.delete(std::slice::from_ref(&key))).await?)
}

/// Whether a drop has begun and not ended. Where the collection's uid is known, a note of another collection of this name
/// does not count. One GET.
pub(crate) async fn is_dropping(store: &dyn Store, name: &CollectionName, uid: Option<Uid>) -> Result<bool> {
    let key = key(name);
    let Some(object) = retry::transient(|| store.get(&key)).await? else { return Ok(false) };
    // A note that cannot be read says no more than that there is one.
    let noted: Option<Uid> = serde_json::from_slice::<Value>(&object.bytes)
        .ok()
        .and_then(|note| note["uid"].as_str().and_then(|uid| uid.parse().ok()));
    Ok(match (noted, uid) {
        (Some(noted), Some(uid)) => noted == uid,
        _ => true,
    })
}
