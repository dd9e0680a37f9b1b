//! Readers and followers of the log.

use std::collections::BTreeMap;
use std::ops::Bound;

use deltafold::format::{Position, Sequence, ShardId, Version};
use deltafold::{At, Entry, Error, ErrorKind, FollowOptions, Order, Reader, ScanOptions};
use futures::{StreamExt, TryStreamExt};

use super::Context;
use crate::checks::{BACK, ERRORS, FOLLOWED, SNAPSHOT, VISIBLE};
use crate::oracle::same;
use deltafold_testing::model::{Model, untied};

type Tails = BTreeMap<ShardId, Sequence>;

fn tails(reader: &Reader) -> Tails {
    reader.positions().into_iter().map(|position| (position.shard, position.tail)).collect()
}

impl Context {
    fn acked(&self) -> Tails {
        self.world.state().oracle.acked_now()
    }

    /// Checks that a reader sees all ops acknowledged before, and nothing that does not exist.
    fn sees(&self, reader: &Reader, acked: &Tails) {
        let state = self.world.state();
        let unseen = tails(reader).into_iter().find_map(|(shard, tail)| {
            let (least, most) = (acked.get(&shard).copied()?, state.oracle.shards.get(&shard)?.last());
            (tail < least || tail > most).then_some((shard, tail, least, most))
        });
        drop(state);
        if let Some((shard, tail, least, most)) = unseen {
            let detail = format!(
                "of shard {shard} it sees the log up to {}; {} was acknowledged before, {} is its end",
                tail.get(),
                least.get(),
                most.get()
            );
            self.world.fail(VISIBLE, detail);
        }
    }

    /// Checks that only a swept version is superseded.
    fn superseded(&self, reader: &Reader, error: &Error) {
        let state = self.world.state();
        let swept = reader.positions().iter().any(|position| {
            state.oracle.shards.get(&position.shard).is_some_and(|shard| position.version < shard.floor())
        });
        drop(state);
        if swept {
            self.note(|| "its version was swept".to_owned());
        } else {
            self.world.fail(ERRORS, format!("reading a version that was not swept: {error}"));
        }
    }

    fn reading_failed(&self, reader: &Reader, error: &Error) {
        if error.kind() == ErrorKind::Superseded {
            self.superseded(reader, error);
        } else {
            self.explained("reading", error, &[]);
        }
    }
}

/// Reads everything in one of several ways, and compares it with the log. Returns false if the
/// reader is of no more use.
pub(crate) async fn check_reader(context: &Context, reader: &Reader, way: u64) -> bool {
    let model = context.world.state().oracle.model(&tails(reader));
    let answer = match way {
        0 => compare_scan(context, reader, &model, ScanOptions::default()).await,
        1 => compare_scan(context, reader, &model, ScanOptions::default().order(Order::Insertion)).await,
        2 => {
            let start = format!("k{}", context.below(10));
            let options = ScanOptions::default()
                .start(Bound::Included(start))
                .limit(context.once_in(2).then(|| usize::try_from(context.below(6)).unwrap_or(0)))
                .embeddings(context.once_in(2));
            compare_scan(context, reader, &model, options).await
        }
        3 => count(context, reader, &model).await,
        _ => get(context, reader, &model).await,
    };
    match answer {
        Ok(()) => true,
        Err(error) => {
            context.reading_failed(reader, &error);
            false
        }
    }
}

async fn compare_scan(context: &Context, reader: &Reader, model: &Model, options: ScanOptions) -> Result<(), Error> {
    let found: Vec<Entry> = reader.scan(options.clone()).try_collect().await?;
    let all = if options.order == Order::Id { model.by_id() } else { model.by_insertion() };
    let from = |entry: &Entry| match &options.start {
        Bound::Included(start) => entry.id >= *start,
        _ => true,
    };
    let mut expected: Vec<Entry> = all.into_iter().filter(from).take(options.limit.unwrap_or(usize::MAX)).collect();
    if !options.embeddings {
        expected.iter_mut().for_each(|entry| entry.record.embedding = None);
    }
    context.note(|| format!("reads {} records", found.len()));
    context.check(same(&found, &expected));
    Ok(())
}

async fn count(context: &Context, reader: &Reader, model: &Model) -> Result<(), Error> {
    let (found, expected) = (reader.count().await?, model.records.len() as u64);
    if found != expected {
        context.world.fail(SNAPSHOT, format!("it counts {found} records instead of {expected}"));
    }
    Ok(())
}

async fn get(context: &Context, reader: &Reader, model: &Model) -> Result<(), Error> {
    for _ in 0..3 {
        let id = format!("k{}", context.below(10));
        let found = reader.get(&id).await?.map(untied);
        if found.as_ref() != model.records.get(&id) {
            context.world.fail(SNAPSHOT, format!("{id} is {found:?} instead of {:?}", model.records.get(&id)));
        }
        let there = reader.contains(&id).await?;
        if there != model.records.contains_key(&id) {
            context.world.fail(SNAPSHOT, format!("{id} is said to be {}", if there { "there" } else { "absent" }));
        }
    }
    Ok(())
}

/// Opens readers, reads, refreshes and reads again, until the history stops.
pub(crate) async fn reads(context: Context) {
    let collection = context.open().await;
    while !context.world.is_stopped() {
        let acked = context.acked();
        let (at, latest) = some_state(&context);
        let warm = latest && context.once_in(3);
        let opened = if warm { collection.warm_reader().await } else { collection.reader_at(at.clone()).await };
        let mut reader = match opened {
            Ok(reader) => reader,
            Err(error) => {
                // A version that is not the latest may have been swept or unpinned meanwhile.
                let gone: &[ErrorKind] = if latest { &[] } else { &[ErrorKind::NotFound, ErrorKind::Superseded] };
                context.explained("opening a reader", &error, gone);
                context.sleep_up_to(1_000).await;
                continue;
            }
        };
        if latest {
            context.sees(&reader, &acked);
        } else {
            fixed(&context, &reader, &at);
        }
        context.note(|| format!("opens a reader of {at:?}: {}", words(&reader)));
        for _ in 0..1 + context.below(4) {
            if !check_reader(&context, &reader, context.below(5)).await {
                break;
            }
            context.sleep_up_to(if context.once_in(5) { 20_000 } else { 1_500 }).await;
            if context.once_in(2) && !refresh(&context, &mut reader, latest).await {
                break;
            }
        }
        context.sleep_up_to(2_000).await;
    }
}

fn words(reader: &Reader) -> String {
    let words = reader.positions().into_iter().map(|position| {
        format!("shard {} at version {} and segment {}", position.shard, position.version.get(), position.tail.get())
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Usually the latest state; sometimes a published version or a pin.
fn some_state(context: &Context) -> (At, bool) {
    let state = context.world.state();
    let shards = &state.oracle.shards;
    match context.below(6) {
        0 => {
            let versions = shards.values().map(|shard| {
                let (least, most) = (shard.floor().get(), shard.version().get());
                Version::new(least + context.below(most - least + 1))
            });
            (At::Versions(versions.collect()), false)
        }
        1 => {
            let pins: Vec<String> = state.oracle.pins();
            match pins.is_empty() {
                true => (At::Latest, true),
                false => (At::Pin(pins[usize::try_from(context.below(pins.len() as u64)).unwrap_or(0)].clone()), false),
            }
        }
        _ => (At::Latest, true),
    }
}

/// Checks that a reader of a version holds the ops folded into it.
fn fixed(context: &Context, reader: &Reader, at: &At) {
    let state = context.world.state();
    let wrong = reader.positions().iter().enumerate().find_map(|(number, position)| {
        let folded = state.oracle.shards.get(&position.shard)?.folded_at(position.version);
        let asked = match at {
            At::Versions(versions) => versions.get(number).copied(),
            _ => Some(position.version),
        };
        (folded != Some(position.tail) || asked != Some(position.version)).then_some(*position)
    });
    drop(state);
    if let Some(position) = wrong {
        context.world.fail(SNAPSHOT, format!("a reader of {at:?} is at {position:?}"));
    }
}

/// Returns false if the refresh failed.
async fn refresh(context: &Context, reader: &mut Reader, latest: bool) -> bool {
    let (acked, before) = (context.acked(), reader.positions());
    match reader.refresh().await {
        Ok(_) => {
            let after = reader.positions();
            context.note(|| format!("refreshes: {}", words(reader)));
            let back = |(before, after): (&deltafold::ReadPosition, &deltafold::ReadPosition)| {
                after.version < before.version || after.tail < before.tail || after.folded < before.folded
            };
            if before.iter().zip(&after).any(back) {
                context.world.fail(BACK, format!("from {before:?} to {after:?}"));
            }
            if latest {
                context.sees(reader, &acked);
            } else if before != after {
                context.world.fail(SNAPSHOT, format!("a reader of a version moved from {before:?} to {after:?}"));
            }
            true
        }
        Err(error) => {
            context.explained("refreshing", &error, &[]);
            false
        }
    }
}

/// Follows the log of a shard, and begins anew when a sweep overtakes it.
pub(crate) async fn follows(context: Context) {
    let collection = context.open().await;
    let shards = context.world.state().plan.shards;
    let shard = ShardId::new(u16::try_from(context.below(u64::from(shards))).unwrap_or(0)).unwrap();
    let mut seen = Position::ZERO;
    while !context.world.is_stopped() {
        let acked = context.acked().get(&shard).copied().unwrap_or_default();
        let options = FollowOptions::default().after(seen).until_tail(true);
        let mut ops = collection.follow(shard, options).unwrap();
        let ended = loop {
            let next = ops.next().await;
            let state = context.world.state();
            let expected = state.oracle.op_behind(shard, seen);
            match next {
                None => break Ok(()),
                Some(Err(error)) => break Err((error, state.oracle.shards.get(&shard).map(|shard| shard.truncated()))),
                Some(Ok((position, op))) => {
                    if expected != Some((position, &op)) {
                        let detail = format!("behind {seen:?} comes {op:?} at {position:?} instead of {expected:?}");
                        drop(state);
                        context.world.fail(FOLLOWED, detail);
                        return;
                    }
                    seen = position;
                }
            }
        };
        match ended {
            Ok(()) if seen.sequence() < acked => {
                let detail =
                    format!("it ends with {}, and {} was acknowledged before", seen.sequence().get(), acked.get());
                context.world.fail(FOLLOWED, detail);
            }
            Ok(()) => context.note(|| format!("has followed shard {shard} to segment {}", seen.sequence().get())),
            Err((error, truncated)) if error.kind() == ErrorKind::Superseded => {
                let truncated = truncated.unwrap_or(Sequence::FIRST);
                // Once the segment seen last is gone, nothing shows whether all of it was seen.
                if seen.sequence() >= truncated {
                    context.world.fail(ERRORS, format!("following behind the swept segments: {error}"));
                }
                seen = Position::new(truncated, 0).map_or(seen, |first| Position::from_bits(first.to_bits() - 1));
                context.note(|| format!("begins anew with segment {}", truncated.get()));
            }
            Err((error, _)) => context.explained("following", &error, &[]),
        }
        context.sleep_up_to(3_000).await;
    }
}
