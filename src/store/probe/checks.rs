//! The checks, one for each promise.

use futures::future::join_all;

use super::Promise;
use super::round::{Found, Round, Write};
use crate::store::{Key, RequestKind, StoreError, Tag, Unless};

/// Concurrent writers of one name in a race.
const RACERS: u8 = 8;

/// The smallest object that a store sends in parts ahead of its name.
const UPLOAD_BYTES: usize = 1 << 20;

pub(super) async fn try_once(round: &Round<'_>, promise: Promise) -> Result<Found, StoreError> {
    match promise {
        Promise::Creates => {
            let created = round.create(&round.key("log/1"), "first").await?;
            Ok(Found::of(created.is_some(), "it says that the name is taken"))
        }
        Promise::ReadsCreated => reads_created(round).await,
        Promise::ReadsRanges => reads_ranges(round).await,
        Promise::Lists => lists(round).await,
        Promise::CreatesOnce => creates_once(round).await,
        Promise::CreatesForOne => race(round, &round.key("log/1"), Write::Create).await,
        Promise::UploadsOnce => uploads_once(round).await,
        Promise::Deletes => deletes(round).await,
        Promise::ReadsUnless => reads_unless(round).await,
        Promise::ReadsChanged => reads_changed(round).await,
        Promise::Replaces => replaces(round).await,
        Promise::ReplacesUnchanged => replaces_unchanged(round).await,
        Promise::ReplacesPresent => replaces_present(round).await,
        Promise::ReplacesForOne => {
            let key = round.key("head");
            let Some(tag) = round.create(&key, "1").await? else { return Ok(Found::Undecided) };
            race(round, &key, Write::Replace(&tag)).await
        }
        Promise::TellsTime => round.answered(|| round.store.now()).await.map(|_| Found::Kept),
        // The probe tries this after all others.
        Promise::Removes => Ok(Found::Nothing),
    }
}

async fn reads_created(round: &Round<'_>) -> Result<Found, StoreError> {
    let key = round.key("log/1");
    if round.create(&key, "first").await?.is_none() {
        return Ok(Found::Undecided);
    }
    Ok(match round.read(&key).await? {
        None => Found::Broken("it is not there"),
        Some(object) => Found::of(object.bytes == "first", "it has other bytes"),
    })
}

async fn reads_ranges(round: &Round<'_>) -> Result<Found, StoreError> {
    let key = round.key("log/1");
    if round.create(&key, "first").await?.is_none() {
        return Ok(Found::Undecided);
    }
    let range = round.answered(|| round.store.get_range(&key, 1, 3)).await?;
    Ok(Found::of(range.as_deref() == Some(b"ir"), "the range has other bytes"))
}

async fn lists(round: &Round<'_>) -> Result<Found, StoreError> {
    let keys = ["log/1", "log/2", "log/3"].map(|rest| round.key(rest));
    for key in keys.iter().rev() {
        if round.create(key, "first").await?.is_none() {
            return Ok(Found::Undecided);
        }
    }
    let [first, ..] = &keys;
    let prefix = first.as_str().trim_end_matches('1');
    let listed = round.answered(|| round.store.list_after(prefix, None, 10)).await?;
    let listed: Vec<_> = listed.into_iter().filter(|listed| listed.bytes == 5).map(|listed| listed.key).collect();
    if !keys.iter().all(|key| listed.contains(key)) {
        return Ok(Found::Broken("the list leaves some out"));
    }
    Ok(Found::of(listed == keys, "the list is not in the order of the keys"))
}

async fn creates_once(round: &Round<'_>) -> Result<Found, StoreError> {
    let key = round.key("log/1");
    if round.create(&key, "first").await?.is_none() {
        return Ok(Found::Undecided);
    }
    second_is_refused(round, "log/1", "first", round.create(&key, "second").await?).await
}

/// Judges a second write over an object that holds `text`.
async fn second_is_refused(
    round: &Round<'_>,
    rest: &str,
    text: &str,
    second: Option<Tag>,
) -> Result<Found, StoreError> {
    let kept = round.holds(&round.key(rest), text).await?;
    Ok(match (second, kept) {
        (None, true) => Found::Kept,
        (_, false) => Found::Broken("the second write went over the first: the condition is ignored"),
        (Some(_), true) => Found::Broken("it reports a write that it did not make"),
    })
}

/// Starts concurrent writes to one name.
async fn race(round: &Round<'_>, key: &Key, write: Write<'_>) -> Result<Found, StoreError> {
    let texts: Vec<String> = (0..RACERS).map(|racer| format!("racer {racer}")).collect();
    let written = join_all(texts.iter().map(|text| round.write(key, text, write))).await;
    let there = round.read(key).await?;
    let holds = |text: &String| there.as_ref().is_some_and(|object| object.bytes == text.as_bytes());
    let won: Vec<&String> =
        texts.iter().zip(&written).filter(|(_, won)| matches!(won, Ok(Some(_)))).map(|(text, _)| text).collect();
    match won.as_slice() {
        [winner] => Ok(Found::of(holds(winner), "the bytes are not those of the one that was told so")),
        [] => match written.into_iter().find_map(Result::err) {
            // The winner's answer was lost.
            Some(_) if texts.iter().any(holds) => Ok(Found::Kept),
            Some(error) => Err(error),
            None => Ok(Found::Undecided),
        },
        _ => Ok(Found::Broken("several were told that they did: the condition is not judged when the write commits")),
    }
}

async fn uploads_once(round: &Round<'_>) -> Result<Found, StoreError> {
    let key = round.key("log/1");
    let large = "x".repeat(UPLOAD_BYTES);
    if round.create(&key, "first").await?.is_none() {
        return Ok(Found::Undecided);
    }
    let before = uploads(round);
    let second = round.write(&key, &large, Write::Upload).await?;
    if uploads(round) == before {
        return Ok(Found::Nothing);
    }
    second_is_refused(round, "log/1", "first", second).await
}

/// Uploads begun so far.
fn uploads(round: &Round<'_>) -> u64 {
    round.store.requests().of(RequestKind::UploadStart).calls
}

async fn deletes(round: &Round<'_>) -> Result<Found, StoreError> {
    let key = round.key("log/1");
    if round.create(&key, "x").await?.is_none() {
        return Ok(Found::Undecided);
    }
    round.delete(&key).await?;
    if round.read(&key).await?.is_none() {
        let listed = round.answered(|| round.store.list_after(key.as_str(), None, 10)).await?;
        return Ok(Found::of(listed.is_empty(), "the list still shows it"));
    }
    // An earlier attempt of the create may have landed behind the delete.
    round.delete(&key).await?;
    Ok(if round.read(&key).await?.is_none() { Found::Undecided } else { Found::Broken("it is still there") })
}

async fn reads_unless(round: &Round<'_>) -> Result<Found, StoreError> {
    let key = round.key("head");
    let Some(tag) = round.create(&key, "1").await? else { return Ok(Found::Undecided) };
    Ok(match round.answered(|| round.store.get_unless(&key, &tag)).await? {
        Unless::Unchanged => Found::Kept,
        Unless::Changed(object) if object.tag == tag => {
            Found::Costs("it sends what has not changed: each look at a head takes its bytes, a few hundred")
        }
        Unless::Changed(_) => Found::Broken("it names another tag (ETag) than the answer to the write did"),
        Unless::Absent => Found::Broken("it says that nothing is there"),
    })
}

async fn reads_changed(round: &Round<'_>) -> Result<Found, StoreError> {
    let key = round.key("head");
    let Some(tag) = round.create(&key, "1").await? else { return Ok(Found::Undecided) };
    // Deletes and creates it, since a store may not support replace.
    round.delete(&key).await?;
    if round.create(&key, "2").await?.is_none() {
        return Ok(Found::Undecided);
    }
    Ok(match round.answered(|| round.store.get_unless(&key, &tag)).await? {
        Unless::Changed(object) => Found::of(object.bytes == "2", "it sends the state before the write"),
        Unless::Unchanged => Found::Broken("it says that nothing has changed"),
        Unless::Absent => Found::Broken("it says that nothing is there"),
    })
}

async fn replaces(round: &Round<'_>) -> Result<Found, StoreError> {
    let key = round.key("head");
    let Some(mut tag) = round.create(&key, "1").await? else { return Ok(Found::Undecided) };
    // Twice, as the second replace proves that the tag of the first answer works.
    for text in ["2", "3"] {
        match round.replace(&key, &tag, text).await? {
            Some(next) => tag = next,
            None => return Ok(Found::Broken("it refuses, though the register is unchanged")),
        }
        if !round.holds(&key, text).await? {
            return Ok(Found::Broken("the next read does not see it"));
        }
    }
    Ok(Found::Kept)
}

async fn replaces_unchanged(round: &Round<'_>) -> Result<Found, StoreError> {
    let key = round.key("head");
    let Some(first) = round.create(&key, "1").await? else { return Ok(Found::Undecided) };
    if round.replace(&key, &first, "2").await?.is_none() {
        return Ok(Found::Undecided);
    }
    second_is_refused(round, "head", "2", round.replace(&key, &first, "3").await?).await
}

async fn replaces_present(round: &Round<'_>) -> Result<Found, StoreError> {
    let Some(tag) = round.create(&round.key("head"), "1").await? else { return Ok(Found::Undecided) };
    let absent = round.key("claim");
    let replaced = round.replace(&absent, &tag, "2").await?;
    let there = round.read(&absent).await?.is_some();
    Ok(Found::of(replaced.is_none() && !there, "it was made"))
}
