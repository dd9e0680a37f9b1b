//! Writers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deltafold::format::{Action, Change, Op, Patch, Record, Revision, ShardId, Value};
use deltafold::{Ack, ErrorKind, Result, Writer, WriterOptions};
use futures::future::{Either, join_all, select};

use super::Context;
use crate::oracle::Times;

/// The number of ids of the ops, besides those that name their append.
const IDS: u64 = 10;

/// Some ops, by shard. The first op of each shard names the append.
pub(crate) fn ops(context: &Context, shards: u16, revisions: bool, number: usize) -> Vec<(ShardId, Vec<Op>)> {
    let mut by_shard: BTreeMap<ShardId, Vec<Op>> = BTreeMap::new();
    let append = i64::try_from(number).unwrap_or(i64::MAX);
    // No two ops have the same revision, as only the engine can rank those.
    let revision = |index: u64| {
        let number = number as u64;
        let before = if context.once_in(2) { number } else { context.below(40) };
        revisions.then(|| Revision::new(u128::from(before) << 64 | u128::from(number << 8 | index)))
    };
    for index in 0..1 + context.below(4) {
        let id = format!("k{}", context.below(IDS));
        let metadata =
            [(format!("m{}", context.below(3)), Value::I64(append * 10 + i64::try_from(index).unwrap_or(0)))];
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let embedding = context.once_in(2).then(|| vec![number as f32, index as f32]);
        let document = context.once_in(3).then(|| format!("d{number}"));
        let change = || Patch {
            embedding: embedding.clone().map_or(Change::Keep, Change::Set),
            metadata: metadata.clone().into_iter().map(|(key, value)| (key, Some(value))).collect(),
            document: if context.once_in(4) {
                Change::Clear
            } else {
                document.clone().map_or(Change::Keep, Change::Set)
            },
        };
        let record =
            || Record { embedding: embedding.clone(), metadata: metadata.clone().into(), document: document.clone() };
        let action = match context.below(8) {
            0 | 1 => Action::Put(record()),
            // A collection ordered by revision has no `add`.
            2 if revisions => Action::Put(record()),
            2 => Action::Add(record()),
            3 | 4 => Action::Upsert(change()),
            5 | 6 => Action::Patch(change()),
            _ => Action::Delete,
        };
        by_shard.entry(ShardId::of(&id, shards)).or_default().push(Op { id, action, revision: revision(index) });
    }
    let named = |shard: ShardId| {
        let mut ids = (0..).map(|try_| format!("a{number}-{try_}"));
        let id = ids.find(|id| ShardId::of(id, shards) == shard).expect("every shard has ids");
        let metadata = [("append".to_owned(), Value::I64(append))].into();
        Op { revision: revision(0xff), ..Op::put(id, Record { metadata, ..Record::default() }) }
    };
    by_shard.into_iter().map(|(shard, ops)| (shard, [vec![named(shard)], ops].concat())).collect()
}

fn flat(portions: Vec<(ShardId, Vec<Op>)>) -> Vec<Op> {
    portions.into_iter().flat_map(|(_, ops)| ops).collect()
}

impl Context {
    /// Begins an append: its number and its ops.
    pub(crate) fn issue(&self, times: Times) -> (usize, Vec<Op>) {
        let (shards, revisions) = {
            let plan = &self.world.state().plan;
            (plan.shards, plan.revisions)
        };
        let mut made = Vec::new();
        let number = self.world.state().oracle.issue(times, |number| {
            made = ops(self, shards, revisions, number);
            made.clone()
        });
        (number, flat(made))
    }

    /// Records the outcome of an append.
    pub(crate) fn answered(&self, number: usize, answer: &Result<Ack>) {
        match answer {
            Ok(ack) => {
                self.note(|| format!("append {number} is ACKNOWLEDGED: {}", words(ack)));
                let segments = (!ack.is_duplicate()).then(|| ack.segments());
                let checked = self.world.state().oracle.acked_at(number, segments);
                self.check(checked);
            }
            Err(error) => {
                self.note(|| format!("append {number} fails"));
                self.explained("appending", error, &[ErrorKind::Busy]);
                if error.kind() != ErrorKind::Unknown {
                    self.world.state().oracle.refused(number);
                }
            }
        }
    }

    fn writer_options(&self) -> WriterOptions {
        WriterOptions::default()
            .max_batch_ops(if self.once_in(2) { 1 + usize::try_from(self.below(12)).unwrap_or(0) } else { 8_192 })
            .linger(Duration::from_millis(if self.once_in(3) { self.below(100) } else { 0 }))
    }
}

fn words(ack: &Ack) -> String {
    if ack.is_duplicate() {
        return "a repetition".to_owned();
    }
    let segments = ack.segments().iter().map(|(shard, at)| format!("segment {} of shard {shard}", at.get()));
    segments.collect::<Vec<_>>().join(", ")
}

/// Appends `left` times, sometimes several at once, and abandons some half way.
pub(crate) async fn appends(context: Context, left: Arc<Mutex<u32>>) {
    let collection = context.open().await;
    let mut writer = collection.writer(context.writer_options()).unwrap();
    loop {
        let at_once = {
            let mut left = left.lock().unwrap();
            let at_once = (*left).min(1 + u32::try_from(context.below(3)).unwrap_or(0));
            *left -= at_once;
            at_once
        };
        if at_once == 0 {
            break;
        }
        join_all((0..at_once).map(|_| append(&context, &writer))).await;
        context.sleep_up_to(if context.once_in(6) { 30_000 } else { 400 }).await;
        if context.once_in(10) {
            writer = collection.writer(context.writer_options()).unwrap();
        }
    }
    // The process decides its abandoned appends before it ends, or leaves them in doubt.
    if context.once_in(2)
        && let Err(error) = writer.close().await
    {
        context.explained("closing", &error, &[]);
    }
}

async fn append(context: &Context, writer: &Writer) {
    let (number, ops) = context.issue(Times::Once);
    context.note(|| format!("append {number} begins: {} ops", ops.len()));
    let answer = std::pin::pin!(writer.append(ops));
    if context.once_in(12) {
        let patience = Box::pin(context.sleep_up_to(200));
        match select(answer, patience).await {
            Either::Left((answer, _)) => context.answered(number, &answer),
            Either::Right(_) => context.note(|| format!("append {number} is given up")),
        }
    } else {
        let answer = answer.await;
        context.answered(number, &answer);
    }
}

/// The positions of a source. Each position is one append, whichever writer sends it and however
/// often.
#[derive(Debug)]
pub(crate) struct AppendsOnce {
    pub(crate) name: String,
    appends: Mutex<Vec<(usize, Vec<Op>)>>,
    positions: u32,
}

impl AppendsOnce {
    pub(crate) fn new(name: String, positions: u32) -> Self {
        Self { name, appends: Mutex::default(), positions }
    }

    /// The append at a position, counted from 1.
    fn at(&self, context: &Context, position: u32) -> (usize, Vec<Op>) {
        let mut appends = self.appends.lock().unwrap();
        while appends.len() < position as usize {
            let next = u128::from(appends.len() as u64 + 1);
            appends.push(context.issue(Times::At(self.name.clone(), next)));
        }
        appends[position as usize - 1].clone()
    }
}

/// Appends the positions of a source in order. After each failure and each restart it begins anew
/// from an earlier position.
pub(crate) async fn follows_a_source(context: Context, source: Arc<AppendsOnce>, reached: Arc<Mutex<u32>>) {
    let collection = context.open().await;
    let mut writer = collection.writer(context.writer_options()).unwrap();
    let back = |at: u32| at.saturating_sub(u32::try_from(context.below(3)).unwrap_or(0)).max(1);
    let mut position = back(*reached.lock().unwrap() + 1);
    while position <= source.positions {
        // Several positions at once, handed over in order.
        let last = source.positions.min(position + u32::try_from(context.below(3)).unwrap_or(0));
        let batch: Vec<(u32, usize, Vec<Op>)> = (position..=last)
            .map(|at| {
                let (number, ops) = source.at(&context, at);
                (at, number, ops)
            })
            .collect();
        context.note(|| format!("positions {position} to {last} of `{}` begin", source.name));
        let sent = batch.iter().map(|(at, _, ops)| writer.append_from(&source.name, u128::from(*at), ops.clone()));
        let answers = join_all(sent.collect::<Vec<_>>()).await;
        let mut next = last + 1;
        for ((at, number, _), answer) in batch.iter().zip(&answers) {
            context.answered(*number, answer);
            match answer {
                // A position behind a failed one was acknowledged, because some shards have the
                // failed one. The source has not come that far.
                Ok(_) if *at > next => {}
                Ok(_) => {
                    let mut reached = reached.lock().unwrap();
                    *reached = (*reached).max(*at);
                }
                Err(_) => next = next.min(*at),
            }
        }
        if next <= last {
            next = back(next);
            if context.once_in(3) {
                writer = collection.writer(context.writer_options()).unwrap();
            }
        }
        position = next;
        context.sleep_up_to(if context.once_in(6) { 30_000 } else { 600 }).await;
    }
}
