//! The actors: the real writer, compactor, sweeper, reader and consumer, each in a process that may
//! die at any call and is started again.

mod appending;
mod compacting;
mod consuming;
mod reading;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use deltafold::format::{CollectionName, Timestamp};
use deltafold::{Collection, Env, Error, ErrorKind};

pub(crate) use appending::{AppendsOnce, appends, follows_a_source};
pub(crate) use compacting::{compacts, sweeps};
pub(crate) use consuming::{Queue, consumes};
pub(crate) use reading::{check_reader, follows, reads};

use crate::checks::ERRORS;
use crate::executor::ProcessId;
use crate::oracle::Checked;
use crate::store::SimStore;
use crate::world::{EPOCH_MILLIS, World};
use deltafold_testing::random::Random;

/// The tools of a process. It has its own random numbers, so leaving another process out changes
/// nothing for it.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) world: World,
    pub(crate) process: ProcessId,
    random: Arc<Mutex<Random>>,
}

/// Time and randomness of one process: its clock is off, and steps back once.
#[derive(Debug)]
struct Clock {
    world: World,
    random: Mutex<Random>,
    /// In milliseconds: before the step, and from it on.
    off: (i64, i64),
    step: Duration,
}

impl Env for Clock {
    fn now(&self) -> Timestamp {
        let now = self.world.executor.now();
        let off = if now < self.step { self.off.0 } else { self.off.1 };
        Timestamp::from_millis(EPOCH_MILLIS + i64::try_from(now.as_millis()).unwrap_or(0) + off)
    }

    fn random(&self) -> u64 {
        self.random.lock().unwrap().next()
    }
}

impl Context {
    pub(crate) fn new(world: &World, process: ProcessId, role: u64) -> Self {
        let seed = world.state().plan.seed;
        let mut mixed = Random::new(seed ^ (role << 32) ^ u64::from(process.0));
        let random = Random::new(mixed.next());
        Self { world: world.clone(), process, random: Arc::new(Mutex::new(random)) }
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.random.lock().unwrap().below(bound)
    }

    pub(crate) fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) async fn sleep_up_to(&self, millis: u64) {
        let millis = self.below(millis + 1);
        self.world.executor.sleep(Duration::from_millis(millis)).await;
    }

    fn env(&self) -> Arc<dyn Env> {
        let clocks = self.world.state().plan.faults.clocks;
        let mut random = self.random.lock().unwrap();
        let mut off = || if clocks { i64::try_from(random.below(7_200_000)).unwrap_or(0) - 3_600_000 } else { 0 };
        let off = (off(), off());
        let step = Duration::from_secs(random.below(120));
        Arc::new(Clock { world: self.world.clone(), random: Mutex::new(Random::new(random.next())), off, step })
    }

    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        self.world.note(self.process, what);
    }

    pub(crate) fn check<T>(&self, checked: Checked<T>) -> Option<T> {
        match checked {
            Ok(value) => Some(value),
            Err(failure) => {
                self.world.fail(failure.check, failure.detail);
                None
            }
        }
    }

    /// Checks that the store's faults explain an error. Any other error is a bug of the engine.
    pub(crate) fn explained(&self, doing: &str, error: &Error, also: &[ErrorKind]) {
        let rot = self.world.state().plan.faults.rot > 0;
        let explained = match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Conflict | ErrorKind::Storage => true,
            ErrorKind::Corrupt | ErrorKind::NewerFormat => rot,
            kind => also.contains(&kind),
        };
        if explained {
            self.note(|| format!("{doing}: {error}"));
        } else {
            self.world.fail(ERRORS, format!("{doing}: {error} ({:?})", error.kind()));
        }
    }

    pub(crate) fn name() -> CollectionName {
        "c".parse().unwrap()
    }

    pub(crate) fn store(&self) -> Arc<dyn deltafold::store::Store> {
        SimStore::of(&self.world, self.process)
    }

    pub(crate) async fn create(&self, shards: u16) -> deltafold::Result<Collection> {
        let mut options = deltafold::CreateOptions::new(2).shards(shards);
        if self.world.state().plan.revisions {
            options = options.by_revision(deltafold::KEEP_TOMBSTONES);
        }
        Collection::builder(self.store(), &Self::name()).env(self.env()).create(&options).await
    }

    /// Opens the collection, with as many attempts as it takes.
    pub(crate) async fn open(&self) -> Collection {
        let (store, env) = (self.store(), self.env());
        loop {
            match Collection::builder(store.clone(), &Self::name()).env(env.clone()).open().await {
                Ok(collection) => return collection,
                Err(error) => self.explained("opening", &error, &[]),
            }
            self.sleep_up_to(5_000).await;
        }
    }
}
