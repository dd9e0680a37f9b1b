//! A collection, the actors that work on it, and the answers they got.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deltafold::format::{Op, Position, Sequence, ShardId};
use deltafold::{
    At, Collection, Compactor, CompactorOptions, CreateOptions, Depth, Error, ErrorKind, FollowOptions,
    KEEP_TOMBSTONES, Policy, Reader, SweepOptions, Writer, WriterOptions,
};
use deltafold_fuzz::Choices;
use deltafold_fuzz::store::{Faulty, Log};
use futures::TryStreamExt;
use futures::future::{BoxFuture, FutureExt, LocalBoxFuture, join_all};

use crate::Counting;
use crate::promises::{Promises, Said};
use crate::reading;
use crate::step::{Batch, SOURCES, Step, Steps, WRITERS, number_of};

/// The number of actions in one run.
const DEEDS: usize = 64;

struct World {
    store: Faulty,
    collection: Collection,
    policy: Policy,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    writers: Vec<Writer>,
    /// An action takes a compactor out while it works with it. Compactors remember the state they
    /// saw.
    compactors: BTreeMap<usize, Compactor>,
    reader: Option<Reader>,
    /// For each source: the batches of its begun positions, counted from 1, and the number of
    /// acknowledged ones.
    sources: [(Vec<Batch>, usize); SOURCES],
    /// The position of a source that failed, by writer: it must come again first.
    failed: BTreeMap<(usize, usize), usize>,
    promises: Promises,
    /// For each pin: the number of attempts to make or remove it, and whether it certainly exists.
    pins: BTreeMap<u8, (u64, bool)>,
}

/// Runs all actions of an input. Then the store is calm, and everything must be in order.
pub(crate) async fn run(mut choices: Choices<'_>, store: Faulty) {
    let settings = choices.byte();
    let (shards, by_revision) = (1 + u16::from(settings & 1), settings & 2 != 0);
    let policy = match settings >> 2 & 3 {
        0 => Policy::default(),
        1 => Policy::default().fold_segments(1).fan_in(2).absorb_one_in(0),
        2 => Policy::default().fold_segments(2).fan_in(usize::MAX).absorb_one_in(0),
        _ => Policy::default().fold_segments(3).fan_in(2),
    };
    let options = CreateOptions::new(2).shards(shards);
    let options = if by_revision { options.by_revision(KEEP_TOMBSTONES) } else { options };
    let name = "fuzz".parse().expect("it is a name");
    let created =
        Collection::builder(Arc::new(store.clone()), &name).env(Arc::new(Counting::default())).create(&options).await;
    let collection = created.expect("the store is calm");
    let world = World { store: store.clone(), collection, policy, state: RefCell::default() };
    let writers = (0..WRITERS).map(|_| world.writer()).collect();
    world.state.borrow_mut().writers = writers;
    store.set_calm(false);
    let mut steps = Steps::new(choices, shards, by_revision);
    for _ in 0..DEEDS {
        let Some(step) = steps.next() else { break };
        world.perform(step).await;
    }
    world.end().await;
}

impl World {
    fn writer(&self) -> Writer {
        let options = WriterOptions::default().max_batch_ops(6);
        self.collection.writer(options).expect("the options are in range")
    }

    fn perform(&self, step: Step) -> LocalBoxFuture<'_, ()> {
        async move {
            match step {
                Step::Append { writer, batch } => self.append(writer, batch).await,
                Step::From { writer, source, batch, again } => self.append_from(writer, source, batch, again).await,
                Step::Fold(compactor) => {
                    self.compact(compactor, |compactor| async { compactor.run_once().await.map(drop) }.boxed()).await;
                }
                Step::Tick(compactor) => {
                    self.compact(compactor, |compactor| async { compactor.tick().await.map(drop) }.boxed()).await;
                }
                Step::MergeAll(compactor) => {
                    self.compact(compactor, |compactor| async { compactor.merge_all().await.map(drop) }.boxed()).await;
                }
                Step::Sweep { keep } => {
                    let swept = self.collection.sweep(&sweep(keep)).await.map(drop);
                    self.excuse(swept, &[ErrorKind::Conflict]);
                }
                Step::Pin(pin) => {
                    let turn = self.begin_pin(pin);
                    let pinned = self.collection.pin(&format!("pin{pin}"), None).await.map(drop);
                    self.end_pin(pin, turn, pinned.is_ok());
                    // Before the first fold there is nothing to pin; a sweep may have passed the
                    // version.
                    self.excuse(pinned, &[ErrorKind::AlreadyExists, ErrorKind::InvalidInput, ErrorKind::NotFound]);
                }
                Step::Unpin(pin) => {
                    self.begin_pin(pin);
                    let unpinned = self.collection.unpin(&format!("pin{pin}")).await;
                    // Another action may have pinned meanwhile, so the outcome is unknown.
                    self.begin_pin(pin);
                    self.excuse(unpinned, &[ErrorKind::NotFound]);
                }
                Step::ReadPin(pin) => self.read_pin(pin).await,
                Step::Open => self.open().await,
                Step::Refresh => self.refresh().await,
                Step::Follow(shard) => self.follow(shard).await,
                Step::Replace(writer) => {
                    let new = self.writer();
                    let mut state = self.state.borrow_mut();
                    state.failed.retain(|(of, _), _| *of != writer);
                    state.writers[writer] = new;
                }
                Step::Together(steps) => {
                    join_all(steps.into_iter().map(|step| self.perform(step))).await;
                }
            }
        }
        .boxed_local()
    }

    /// Faults of the store excuse errors of the kinds for such faults. `also` lists the kinds that
    /// other actors' work excuses.
    fn excuse<T>(&self, result: Result<T, Error>, also: &[ErrorKind]) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let of_store = [ErrorKind::Unavailable, ErrorKind::Unknown, ErrorKind::Storage];
                let excused =
                    also.contains(&error.kind()) || of_store.contains(&error.kind()) && self.store.has_failed();
                assert!(excused, "{:?}: {error}", error.kind());
                None
            }
        }
    }

    fn begin_pin(&self, pin: u8) -> u64 {
        let mut state = self.state.borrow_mut();
        let (turn, is_there) = state.pins.entry(pin).or_default();
        (*turn, *is_there) = (*turn + 1, false);
        *turn
    }

    fn end_pin(&self, pin: u8, turn: u64, is_made: bool) {
        let mut state = self.state.borrow_mut();
        let (last, is_there) = state.pins.entry(pin).or_default();
        *is_there = is_made && *last == turn;
    }

    async fn append(&self, writer: usize, batch: Batch) {
        let (writer, floor) = {
            let state = self.state.borrow();
            (state.writers[writer].clone(), state.promises.floors().get(&batch.shard).copied())
        };
        // A read may see it in the log before its answer comes.
        self.state.borrow_mut().promises.say(&batch, Said::Refused);
        let answer = writer.append(batch.ops.clone()).await;
        let said = match &answer {
            Ok(ack) => {
                assert!(!ack.is_duplicate() && ack.segments().len() == 1);
                return self.acknowledge(&batch, ack.segments()[0], floor);
            }
            Err(error) if error.kind() == ErrorKind::Unknown => Said::Unknown,
            Err(_) => Said::Refused,
        };
        self.state.borrow_mut().promises.say(&batch, said);
        self.excuse(answer, &[]);
    }

    fn acknowledge(&self, batch: &Batch, (shard, sequence): (ShardId, Sequence), floor: Option<Position>) {
        assert_eq!(shard, batch.shard);
        let mut state = self.state.borrow_mut();
        self.store.with_log(|log| state.promises.acknowledge(batch, sequence, floor, log));
    }

    async fn append_from(&self, writer: usize, source: usize, new: Batch, again: Option<u8>) {
        let (door, batch, place, floor) = {
            let mut state = self.state.borrow_mut();
            let failed = state.failed.get(&(writer, source)).copied();
            let (positions, acknowledged) = &mut state.sources[source];
            let place = match (failed, again) {
                (Some(failed), _) => failed,
                (None, Some(again)) if *acknowledged > 0 => usize::from(again) % *acknowledged,
                _ => *acknowledged,
            };
            if place == positions.len() {
                positions.push(new);
            }
            let batch = positions[place].clone();
            let floor = state.promises.floors().get(&batch.shard).copied();
            (state.writers[writer].clone(), batch, place, floor)
        };
        self.state.borrow_mut().promises.say(&batch, Said::Unknown);
        let answer = door.append_from(&format!("source{source}"), place as u128 + 1, batch.ops.clone()).await;
        match &answer {
            Ok(ack) => {
                if ack.is_duplicate() {
                    self.state.borrow_mut().promises.say(&batch, Said::Acknowledged);
                } else {
                    assert_eq!(ack.segments().len(), 1);
                    self.acknowledge(&batch, ack.segments()[0], floor);
                }
                let mut state = self.state.borrow_mut();
                state.failed.remove(&(writer, source));
                let (_, acknowledged) = &mut state.sources[source];
                *acknowledged = (*acknowledged).max(place + 1);
                drop(state);
                // An acknowledged batch is in the log, whichever writer appended it.
                let is_batch = |op: &Op| number_of(op) == Some(batch.number);
                let there = self.store.with_log(|log| log.values().flatten().any(is_batch));
                assert!(there, "position {place} of source {source} was acknowledged and is not in the log");
            }
            Err(_) => {
                let mut state = self.state.borrow_mut();
                let failed = state.failed.entry((writer, source)).or_insert(place);
                *failed = place.min(*failed);
            }
        }
        self.excuse(answer, &[ErrorKind::Conflict]);
    }

    async fn compact(
        &self,
        number: usize,
        work: impl for<'a> FnOnce(&'a mut Compactor) -> BoxFuture<'a, Result<(), Error>>,
    ) {
        let taken = self.state.borrow_mut().compactors.remove(&number);
        let fresh = || self.collection.compactor(CompactorOptions::default().policy(self.policy.clone()));
        let mut compactor = taken.unwrap_or_else(fresh);
        let worked = work(&mut compactor).await;
        self.state.borrow_mut().compactors.insert(number, compactor);
        self.excuse(worked, &[ErrorKind::Conflict]);
    }

    async fn open(&self) {
        let floors = self.state.borrow().promises.floors();
        let opened = self.collection.reader().await;
        let Some(reader) = self.excuse(opened, &[]) else { return };
        reading::sees(&reader, &floors);
        self.read(&reader).await;
        self.state.borrow_mut().reader = Some(reader);
    }

    async fn refresh(&self) {
        let (floors, reader) = {
            let mut state = self.state.borrow_mut();
            (state.promises.floors(), state.reader.take())
        };
        let Some(mut reader) = reader else { return self.open().await };
        let before = reading::tails(&reader);
        let refreshed = reader.refresh().await;
        let after = reading::tails(&reader);
        assert!(before.iter().all(|(shard, tail)| after.get(shard) >= Some(tail)), "a reader goes back");
        if self.excuse(refreshed, &[]).is_some() {
            reading::sees(&reader, &floors);
        }
        self.read(&reader).await;
        self.state.borrow_mut().reader = Some(reader);
    }

    async fn read(&self, reader: &Reader) {
        let read = reading::check(reader, &self.store).await;
        self.excuse(read, &[ErrorKind::Superseded]);
    }

    async fn read_pin(&self, pin: u8) {
        let opened = self.collection.reader_at(At::Pin(format!("pin{pin}"))).await;
        if let Some(reader) = self.excuse(opened, &[ErrorKind::NotFound]) {
            self.read(&reader).await;
        }
    }

    /// A follower of the log gets all of it, or hears that it was swept.
    async fn follow(&self, shard: ShardId) {
        let floors = self.state.borrow().promises.floors();
        let options = FollowOptions::default().until_tail(true);
        let following = self.collection.follow(shard, options).expect("there is such a shard");
        let heard: Result<Vec<(Position, Op)>, Error> = following.try_collect().await;
        let Some(heard) = self.excuse(heard, &[ErrorKind::Superseded]) else { return };
        let all: Vec<(Position, Op)> = self.store.with_log(|log| {
            let at = |sequence, index| Position::new(sequence, index).expect("no segment here holds many ops");
            let of_shard = log.iter().filter(|((of, _), _)| *of == shard);
            let all = of_shard.flat_map(|((_, sequence), ops)| {
                ops.iter().enumerate().map(move |(index, op)| (at(*sequence, index), op.clone()))
            });
            all.take(heard.len()).collect()
        });
        assert_eq!(heard, all);
        let end = heard.last().map(|(position, _)| *position).unwrap_or_default();
        assert!(floors.get(&shard).is_none_or(|floor| *floor <= end), "a follower misses an acknowledged op");
    }

    fn hold_to_what_was_said(&self, log: &Log) {
        let state = self.state.borrow();
        state.promises.check(log);
        for (positions, _) in &state.sources {
            Promises::check_source(positions, log);
        }
    }

    /// Nothing fails any more: all answers hold, and all work goes on.
    async fn end(self) {
        self.store.set_calm(true);
        self.store.land_all().await;
        let steps =
            [Step::Refresh, Step::Fold(0), Step::Open, Step::Sweep { keep: 0 }, Step::MergeAll(1), Step::Refresh];
        for step in steps {
            // The state that a compactor or a reader last saw may be long gone. They notice by
            // themselves.
            self.perform(step).await;
        }
        self.store.with_log(|log| self.hold_to_what_was_said(log));
        let pins = self.state.borrow().pins.clone();
        for (pin, _) in pins.into_iter().filter(|(_, (_, is_there))| *is_there) {
            let reader = self.collection.reader_at(At::Pin(format!("pin{pin}"))).await.expect("the pin was made");
            reading::check(&reader, &self.store).await.expect("a pinned version can be read");
        }
        let mut compactor = self.collection.compactor(CompactorOptions::default());
        compactor.run_once().await.expect("the store is calm");
        self.collection.sweep(&sweep(0)).await.expect("the store is calm");
        let reader = self.collection.reader().await.expect("the store is calm");
        reading::check(&reader, &self.store).await.expect("no sweep runs");
        let tails = reading::tails(&reader);
        for shard in self.collection.status().await.expect("the store is calm").shards {
            let (last, ops) = self.store.with_log(|log| {
                let of_shard = log.iter().filter(|((of, _), _)| *of == shard.shard);
                of_shard.fold((Sequence::ZERO, 0), |(_, sum), ((_, sequence), ops)| (*sequence, sum + ops.len() as u64))
            });
            assert_eq!(tails.get(&shard.shard), Some(&last));
            assert_eq!(shard.ops, ops, "the snapshot counts every op once");
        }
        let verified = self.collection.verify(Depth::Deep, |_| ()).await.expect("the store is calm");
        assert!(verified.is_sound(), "{:?}", verified.findings);
    }
}

fn sweep(keep_versions: u64) -> SweepOptions {
    SweepOptions::default().keep_versions(keep_versions).min_age(Duration::ZERO)
}
