//! The shared state of all processes of a history: the objects of the store, the faults, the trace
//! and the checks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use deltafold::format::{HeadPlace, Timestamp};
use deltafold::store::{Key, Listed, Object, Outcome, Tag};

use crate::broken::{Broken, shortened};
use crate::executor::{Executor, ProcessId, WORLD};
use crate::oracle::{Oracle, Sent};
use crate::plan::Plan;
use deltafold_testing::random::Random;

/// 2020-01-01 UTC, where virtual time begins.
pub(crate) const EPOCH_MILLIS: i64 = 1_577_836_800_000;

/// A check that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) check: &'static str,
    pub(crate) detail: String,
}

/// The events in order: always their hash, and their text if a story was asked for.
#[derive(Default)]
pub(crate) struct Trace {
    pub(crate) hash: u64,
    pub(crate) events: u64,
    pub(crate) story: Option<Vec<String>>,
}

impl Trace {
    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.hash = self.hash.rotate_left(23);
    }
}

/// A stored object.
pub(crate) struct Stored {
    pub(crate) bytes: Bytes,
    write: u64,
    modified: Timestamp,
}

impl Stored {
    pub(crate) fn tag(&self) -> Tag {
        Tag::new(self.write.to_string())
    }

    pub(crate) fn object(&self) -> Object {
        Object { bytes: self.bytes.clone(), tag: self.tag() }
    }
}

/// All calls of a process, or on a kind of object, fail for a while.
struct Outage {
    until: Duration,
    process: Option<ProcessId>,
    part: &'static str,
    permanent: bool,
}

/// The fault of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Transient,
    Permanent,
    Conflict,
    Lost,
    AnswerLost,
    Late(Duration),
    Echo,
    Rot,
    CrashBefore,
    CrashAfter,
    /// The process dies, and the write lands later.
    CrashLate(Duration),
}

/// The course of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fate {
    pub(crate) number: u64,
    pub(crate) before: Duration,
    pub(crate) after: Duration,
    pub(crate) fault: Option<Fault>,
    /// If the caller dies on the way, the write never lands.
    pub(crate) dies_with_caller: bool,
}

pub(crate) struct State {
    pub(crate) plan: Plan,
    pub(crate) broken: Broken,
    random: Random,
    objects: BTreeMap<Key, Stored>,
    writes: u64,
    pub(crate) faulty: bool,
    outages: Vec<Outage>,
    /// The calls so far, and the calls where a fault is due in any case.
    pub(crate) calls: u64,
    forced: u64,
    pub(crate) faults: u64,
    /// For the enumeration of crash points: the call, and its fault.
    pub(crate) scripted: Option<(u64, Fault)>,
    pub(crate) trace: Trace,
    pub(crate) failure: Option<Failure>,
    names: BTreeMap<ProcessId, String>,
    pub(crate) oracle: Oracle,
    /// Work with an end is done; actors without an end stop.
    pub(crate) stopped: bool,
    /// The number of calls before the checks of the end.
    pub(crate) appended: u64,
}

/// See the module. Clones are one world.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) executor: Executor,
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

impl World {
    pub(crate) fn new(executor: Executor, plan: &Plan, story: bool) -> Self {
        let mut random = Random::new(plan.seed ^ 0x5eed_0001);
        let forced = 10 + random.below(60);
        let state = State {
            plan: plan.clone(),
            broken: Broken::Sound,
            random,
            objects: BTreeMap::new(),
            writes: 0,
            faulty: false,
            outages: Vec::new(),
            calls: 0,
            forced,
            faults: 0,
            scripted: None,
            trace: Trace { story: story.then(Vec::new), ..Trace::default() },
            failure: None,
            names: BTreeMap::new(),
            oracle: Oracle::default(),
            stopped: false,
            appended: 0,
        };
        Self { executor, state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn name(&self, process: ProcessId, name: String) {
        self.state().names.insert(process, name);
    }

    /// The started processes that are not dead.
    pub(crate) fn processes(&self) -> Vec<ProcessId> {
        self.state().names.keys().copied().filter(|process| !self.executor.is_dead(*process)).collect()
    }

    /// Notes an event.
    pub(crate) fn note(&self, process: ProcessId, what: impl FnOnce() -> String) {
        let now = self.executor.now();
        self.state().note(now, process, what);
    }

    /// Records a failed check and ends the history.
    pub(crate) fn fail(&self, check: &'static str, detail: impl Into<String>) {
        let now = self.executor.now();
        self.state().fail(now, check, detail.into());
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state().failure.is_some()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// From now on everything succeeds.
    pub(crate) fn calm(&self) {
        let mut state = self.state();
        state.faulty = false;
        state.outages.clear();
    }

    pub(crate) fn outage(&self, until: Duration, process: Option<ProcessId>, part: &'static str, permanent: bool) {
        self.state().outages.push(Outage { until, process, part, permanent });
    }

    /// Decides the course of a call.
    pub(crate) fn fate(&self, process: ProcessId, verb: &'static str, key: &str) -> Fate {
        let now = self.executor.now();
        self.state().fate(now, process, verb, key)
    }
}

impl State {
    pub(crate) fn note(&mut self, now: Duration, process: ProcessId, what: impl FnOnce() -> String) {
        self.trace.events += 1;
        let micros = u64::try_from(now.as_micros()).unwrap_or(0);
        self.trace.mix(&micros.to_le_bytes());
        self.trace.mix(&process.0.to_le_bytes());
        // The text is part of the trace that must repeat.
        let what = what();
        self.trace.mix(what.as_bytes());
        if self.trace.story.is_some() {
            let name = if process == WORLD { "" } else { self.names.get(&process).map_or("?", String::as_str) };
            let line = format!("{:>10.3} s  {name:<14} {what}", now.as_secs_f64());
            self.trace.story.iter_mut().for_each(|story| story.push(line.clone()));
        }
    }

    pub(crate) fn fail(&mut self, now: Duration, check: &'static str, detail: String) {
        if self.failure.is_none() {
            self.note(now, WORLD, || format!("FAILED: {check}: {detail}"));
            self.failure = Some(Failure { check, detail });
        }
    }

    pub(crate) fn fate(&mut self, now: Duration, process: ProcessId, verb: &'static str, key: &str) -> Fate {
        self.calls += 1;
        let number = self.calls;
        let random = &mut self.random;
        let latency = |random: &mut Random| {
            let micros = match random.below(10) {
                0..=5 => 200 + random.below(5_000),
                6..=8 => 5_000 + random.below(50_000),
                _ => 50_000 + random.below(1_000_000),
            };
            Duration::from_micros(micros)
        };
        let (mut before, after) = (latency(random), latency(random));
        let dies_with_caller = random.below(2) == 0;
        let mut fault = None;
        if self.faulty && process != WORLD {
            let writes = matches!(verb, "create" | "replace");
            let faults = &self.plan.faults;
            let hit = |random: &mut Random, rate: u64| rate > 0 && random.below(rate) == 0;
            self.outages.retain(|outage| outage.until > now);
            let out = self
                .outages
                .iter()
                .find(|outage| outage.process.is_none_or(|out| out == process) && key.contains(outage.part));
            if let Some(outage) = out {
                fault = Some(if outage.permanent { Fault::Permanent } else { Fault::Transient });
            } else if hit(random, faults.crash) {
                fault = Some(match random.below(3) {
                    0 => Fault::CrashBefore,
                    1 => Fault::CrashAfter,
                    _ => Fault::CrashLate(Duration::from_millis(random.below(60_000))),
                });
            } else if hit(random, faults.transient) {
                fault = Some(Fault::Transient);
            } else if writes && hit(random, faults.conflict) {
                fault = Some(Fault::Conflict);
            } else if writes && hit(random, faults.lost) {
                fault = Some(Fault::Lost);
            } else if writes && hit(random, faults.answer_lost) {
                fault = Some(Fault::AnswerLost);
            } else if writes && hit(random, faults.late) {
                fault = Some(Fault::Late(Duration::from_millis(random.below(60_000))));
            } else if writes && hit(random, faults.echo) {
                fault = Some(Fault::Echo);
            } else if verb.starts_with("get") && hit(random, faults.rot) {
                fault = Some(Fault::Rot);
            } else if number >= self.forced && self.faults == 0 {
                fault = Some(if writes { Fault::AnswerLost } else { Fault::Transient });
            }
            if hit(random, faults.slow) {
                before += Duration::from_millis(random.below(60_000));
                self.faults += 1;
            }
        }
        if let Some((at, scripted)) = self.scripted
            && at == number
        {
            fault = Some(scripted);
        }
        self.faults += u64::from(fault.is_some());
        Fate { number, before, after, fault, dies_with_caller }
    }

    pub(crate) fn clock(&self, now: Duration) -> Timestamp {
        Timestamp::from_millis(EPOCH_MILLIS + i64::try_from(now.as_millis()).unwrap_or(0))
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Stored> {
        self.objects.get(key)
    }

    /// The object that a process gets, which a broken store may have changed.
    pub(crate) fn object(&self, process: ProcessId, key: &Key) -> Option<Object> {
        let mut object = self.get(key)?.object();
        let shortens = self.broken == Broken::ShortensSegments && key.as_str().contains("/log/");
        if shortens && self.names.get(&process).is_some_and(|name| name.starts_with("compactor")) {
            object.bytes = shortened(&object.bytes);
        }
        Some(object)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.objects.keys()
    }

    /// Changes the bytes of an object.
    pub(crate) fn damage(&mut self, key: &Key, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(stored) = self.objects.get_mut(key) {
            let mut bytes = stored.bytes.to_vec();
            change(&mut bytes);
            stored.bytes = bytes.into();
        }
    }

    /// Returns bytes that differ from those written.
    pub(crate) fn rotten(&mut self, bytes: &Bytes) -> Bytes {
        let mut bytes = bytes.to_vec();
        if bytes.is_empty() {
            return bytes.into();
        }
        let at = self.random.index(bytes.len());
        match self.random.below(4) {
            0 => bytes.truncate(at),
            1 => {
                let end = (at + 1 + self.random.index(200)).min(bytes.len());
                bytes[at..end].fill(0);
            }
            _ => bytes[at] ^= 1 << self.random.below(8),
        }
        bytes.into()
    }

    pub(crate) fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Vec<Listed> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.clone()));
        let elsewhere = self.plan.heads_elsewhere && !prefix.contains('/');
        self.objects
            .range((from, Bound::Unbounded))
            .skip_while(|(key, _)| key.as_str() < prefix)
            .take_while(|(key, _)| key.as_str().starts_with(prefix))
            .filter(|(key, _)| !(elsewhere && is_register(key.as_str())))
            .take(limit)
            .map(|(key, stored)| Listed {
                key: key.clone(),
                bytes: stored.bytes.len() as u64,
                modified: stored.modified,
            })
            .collect()
    }

    fn write(&mut self, now: Duration, key: &Key, bytes: Bytes) -> Outcome {
        self.writes += 1;
        let stored = Stored { bytes, write: self.writes, modified: self.clock(now) };
        let tag = stored.tag();
        self.objects.insert(key.clone(), stored);
        Outcome::Done(tag)
    }

    pub(crate) fn create(&mut self, now: Duration, key: &Key, bytes: &Bytes) -> Outcome {
        if self.objects.contains_key(key) {
            return Outcome::Refused;
        }
        let done = self.write(now, key, bytes.clone());
        if let Err(failure) = self.oracle.created(key, bytes) {
            self.fail(now, failure.check, failure.detail);
        }
        done
    }

    pub(crate) fn replace(&mut self, now: Duration, sent: Sent, key: &Key, tag: &Tag, bytes: &Bytes) -> Outcome {
        let overwrites = self.broken == Broken::Overwrites && key.as_str().ends_with("/head");
        if self.objects.get(key).is_none_or(|stored| stored.tag() != *tag && !overwrites) {
            return Outcome::Refused;
        }
        let done = self.write(now, key, bytes.clone());
        let objects = &self.objects;
        let stored = |key: &Key| objects.get(key).map(|stored| stored.bytes.clone());
        if let Err(failure) = self.oracle.replaced(sent, key, bytes, &stored) {
            self.fail(now, failure.check, failure.detail);
        }
        done
    }

    /// Removes the objects.
    pub(crate) fn delete(&mut self, now: Duration, keys: &[Key]) {
        if let Err(failure) = self.oracle.deleted(keys) {
            self.fail(now, failure.check, failure.detail);
        }
        for key in keys {
            self.objects.remove(key);
        }
    }
}

/// Whether the key is one of those that may be in a table.
pub(crate) fn is_register(key: &str) -> bool {
    key.ends_with("/head") || key.ends_with("/claim")
}

pub(crate) fn place(plan: &Plan) -> HeadPlace {
    if plan.heads_elsewhere {
        HeadPlace::DynamoDb { table: "heads".to_owned(), region: "nowhere".to_owned() }
    } else {
        HeadPlace::Store
    }
}
