//! The simulated store as one process sees it. Every call may be late, lost, refused, or the last
//! call of its process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use deltafold::format::{HeadPlace, Timestamp};
use deltafold::store::{
    Key, Listed, Object, Outcome, Requests, Staged, Store, StoreError, StoreErrorKind, Tag, Unless,
};
use tokio::sync::oneshot;

use crate::executor::{ProcessId, WORLD};
use crate::oracle::Sent;
use crate::world::{Fate, Fault, State, World, place};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct SimStore {
    world: World,
    process: ProcessId,
}

/// A write in flight.
#[derive(Debug)]
enum Write {
    Create(Key, Bytes),
    Replace(Key, Tag, Bytes),
}

impl Write {
    fn verb(&self) -> &'static str {
        match self {
            Self::Create(..) => "create",
            Self::Replace(..) => "replace",
        }
    }

    fn key(&self) -> &Key {
        match self {
            Self::Create(key, _) | Self::Replace(key, ..) => key,
        }
    }

    fn apply(&self, state: &mut State, now: Duration, sent: Sent) -> Outcome {
        match self {
            Self::Create(key, bytes) => state.create(now, key, bytes),
            Self::Replace(key, tag, bytes) => state.replace(now, sent, key, tag, bytes),
        }
    }
}

fn error(verb: &'static str, key: &str, fault: Fault) -> StoreError {
    let kind = if fault == Fault::Permanent { StoreErrorKind::Permanent } else { StoreErrorKind::Transient };
    match fault {
        Fault::Conflict => StoreError::conflict(verb, key),
        _ => StoreError::new(kind, verb, key, "as the simulation has it"),
    }
}

/// A key without the collection's name.
fn short(key: &str) -> &str {
    key.split_once('/').map_or(key, |(_, rest)| rest)
}

fn said(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done(_) => "done",
        Outcome::Refused => "refused",
        Outcome::Unknown(_) => "unknown",
    }
}

impl SimStore {
    pub(crate) fn of(world: &World, process: ProcessId) -> Arc<dyn Store> {
        Arc::new(Self { world: world.clone(), process })
    }

    /// Kills the process: none of its tasks runs any more.
    async fn die(&self) {
        self.world.note(self.process, || "CRASHES".to_owned());
        self.world.executor.kill(self.process);
        std::future::pending().await
    }

    async fn read<T>(
        &self,
        verb: &'static str,
        key: &str,
        read: impl FnOnce(&mut State, Duration, bool) -> (T, String) + Send,
    ) -> Result<T, StoreError> {
        let executor = &self.world.executor;
        let Fate { before, after, fault, .. } = self.world.fate(self.process, verb, key);
        executor.sleep(before).await;
        let answer = match fault {
            Some(Fault::CrashBefore) => {
                self.die().await;
                unreachable!("a dead process does not go on")
            }
            Some(fault @ (Fault::Transient | Fault::Permanent)) => {
                self.world.note(self.process, || format!("{verb} {}: fails ({fault:?})", short(key)));
                Err(error(verb, key, fault))
            }
            fault => {
                let now = executor.now();
                let rot = fault == Some(Fault::Rot);
                let mut state = self.world.state();
                let (value, words) = read(&mut state, now, rot);
                let rotten = if rot { ", ROTTEN" } else { "" };
                state.note(now, self.process, || format!("{verb} {}: {words}{rotten}", short(key)));
                Ok(value)
            }
        };
        if matches!(fault, Some(Fault::CrashAfter | Fault::CrashLate(_))) {
            self.die().await;
        }
        executor.sleep(after).await;
        answer
    }

    /// Sends a write that travels by itself: it may land after its caller is gone.
    async fn write(&self, write: Write) -> Result<Outcome, StoreError> {
        let fate = self.world.fate(self.process, write.verb(), write.key().as_str());
        if fate.fault == Some(Fault::CrashBefore) {
            self.die().await;
        }
        let (answer, answered) = oneshot::channel();
        let (world, process) = (self.world.clone(), self.process);
        self.world.executor.spawn_in(WORLD, Box::pin(travel(world, process, write, fate, answer)));
        if matches!(fate.fault, Some(Fault::CrashLate(_))) {
            self.die().await;
        }
        match answered.await {
            Ok(answer) => answer,
            // It died with its process.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Carries a write to the store, and its answer back.
async fn travel(
    world: World,
    process: ProcessId,
    write: Write,
    fate: Fate,
    answer: oneshot::Sender<Result<Outcome, StoreError>>,
) {
    let executor = world.executor.clone();
    let (verb, key) = (write.verb(), write.key().clone());
    let lost = |fault| Ok(Outcome::Unknown(error(verb, key.as_str(), fault)));
    let sent = Sent { process, at: executor.now() };
    executor.sleep(fate.before).await;
    if fate.dies_with_caller && executor.is_dead(process) && !matches!(fate.fault, Some(Fault::CrashLate(_))) {
        return;
    }
    let land = |how: &str| {
        let now = executor.now();
        let mut state = world.state();
        let outcome = write.apply(&mut state, now, sent);
        state.note(now, process, || format!("{verb} {}: {}{how}", short(key.as_str()), said(&outcome)));
        outcome
    };
    let note = |what: &str| world.note(process, || format!("{verb} {}: {what}", short(key.as_str())));
    let answered = match fate.fault {
        None | Some(Fault::Rot) => Ok(land("")),
        Some(fault @ (Fault::Transient | Fault::Permanent | Fault::Conflict)) => {
            note(if fault == Fault::Conflict { "try again" } else { "fails" });
            Err(error(verb, key.as_str(), fault))
        }
        Some(fault @ (Fault::Lost | Fault::CrashBefore)) => {
            note("LOST");
            lost(fault)
        }
        Some(fault @ Fault::AnswerLost) => {
            land(", ANSWER LOST");
            lost(fault)
        }
        Some(Fault::Echo) => match land(", ANSWERED AS REFUSED") {
            Outcome::Done(_) => Ok(Outcome::Refused),
            outcome => Ok(outcome),
        },
        Some(Fault::CrashAfter) => {
            land("");
            world.note(process, || "CRASHES".to_owned());
            executor.kill(process);
            return;
        }
        Some(fault @ (Fault::Late(by) | Fault::CrashLate(by))) => {
            note("ANSWER LOST, AND STILL ON ITS WAY");
            // The caller is gone, or hears nothing.
            drop(answer.send(lost(fault)));
            executor.sleep(by).await;
            land(", LATE");
            return;
        }
    };
    executor.sleep(fate.after).await;
    // The caller may be gone.
    drop(answer.send(answered));
}

fn concat(chunks: &[Bytes]) -> Bytes {
    if let [only] = chunks {
        return only.clone();
    }
    let mut all = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks.iter().for_each(|chunk| all.extend_from_slice(chunk));
    all.freeze()
}

fn spoil(state: &mut State, rot: bool, mut object: Object) -> Object {
    if rot {
        object.bytes = state.rotten(&object.bytes);
    }
    object
}

/// A staged object.
#[derive(Debug)]
struct SimStaged {
    store: SimStore,
    write: Write,
}

#[async_trait]
impl Staged for SimStaged {
    async fn create(self: Box<Self>) -> Result<Outcome, StoreError> {
        self.store.write(self.write).await
    }

    async fn give_up(self: Box<Self>) {
        let key = self.write.key().clone();
        // The answer does not matter.
        drop(self.store.read("give up", key.as_str(), |_, _, _| ((), String::new())).await);
    }
}

#[async_trait]
impl Store for SimStore {
    fn location(&self) -> String {
        "simulated:".to_owned()
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let process = self.process;
        self.read("get", key.as_str(), |state, _, rot| {
            let found = state.object(process, key);
            let found = found.map(|object| spoil(state, rot, object));
            let words = if found.is_some() { "there" } else { "absent" };
            (found, words.to_owned())
        })
        .await
    }

    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        self.read("get_range", key.as_str(), |state, _, rot| {
            let found = state.get(key).map(|stored| {
                let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(stored.bytes.len());
                stored.bytes.slice(within(start)..within(end).max(within(start)))
            });
            let found = found.map(|bytes| if rot { state.rotten(&bytes) } else { bytes });
            (found, format!("{start}..{end}"))
        })
        .await
    }

    async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError> {
        self.read("get_unless", key.as_str(), |state, _, rot| match state.get(key) {
            None => (Unless::Absent, "absent".to_owned()),
            Some(stored) if stored.tag() == *tag => (Unless::Unchanged, "unchanged".to_owned()),
            Some(stored) => {
                let object = stored.object();
                (Unless::Changed(spoil(state, rot, object)), "changed".to_owned())
            }
        })
        .await
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.write(Write::Create(key.clone(), concat(&chunks))).await
    }

    /// Stages every object, however small.
    async fn stage(&self, key: &Key, chunks: &[Bytes]) -> Result<Option<Box<dyn Staged>>, StoreError> {
        let write = Write::Create(key.clone(), concat(chunks));
        self.read("stage", key.as_str(), |_, _, _| ((), String::new())).await?;
        Ok(Some(Box::new(SimStaged { store: self.clone(), write })))
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.write(Write::Replace(key.clone(), tag.clone(), concat(&chunks))).await
    }

    async fn list_after(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        self.read("list", prefix, |state, _, _| {
            let listed = state.list(prefix, after, limit);
            let words = format!("{} objects", listed.len());
            (listed, words)
        })
        .await
    }

    /// A delete travels with its caller: when the caller fails or dies, some objects may be gone.
    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        let executor = &self.world.executor;
        let first = keys.first().map_or("", Key::as_str);
        let Fate { before, after, fault, number, .. } = self.world.fate(self.process, "delete", first);
        executor.sleep(before).await;
        if fault == Some(Fault::CrashBefore) {
            self.die().await;
        }
        let failed = matches!(fault, Some(Fault::Transient | Fault::Permanent | Fault::CrashLate(_)));
        let (deleted, words) = if failed {
            let some = usize::try_from(number).unwrap_or(0) % (keys.len() + 1);
            (keys.get(..some).unwrap_or_default(), ", then fails")
        } else {
            (keys, "")
        };
        {
            let now = executor.now();
            let mut state = self.world.state();
            let list = || deleted.iter().map(|key| short(key.as_str())).collect::<Vec<_>>().join(" ");
            state.note(now, self.process, || format!("delete {}: {}{words}", deleted.len(), list()));
            state.delete(now, deleted);
        }
        if matches!(fault, Some(Fault::CrashAfter | Fault::CrashLate(_))) {
            self.die().await;
        }
        executor.sleep(after).await;
        match fault {
            Some(fault @ (Fault::Transient | Fault::Permanent)) => Err(error("delete", first, fault)),
            _ => Ok(()),
        }
    }

    async fn settle(&self, _: &Key) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_to_be_probed(&self) -> bool {
        false
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.read("now", "", |state, now, _| (state.clock(now), String::new())).await
    }

    fn requests(&self) -> Requests {
        Requests::default()
    }

    fn heads(&self) -> HeadPlace {
        place(&self.world.state().plan)
    }
}
