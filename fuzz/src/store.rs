//! A store with the faults that an input gives. It remembers every segment that landed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use deltafold::format::{Op, Segment, Sequence, ShardId, Timestamp};
use deltafold::store::{Key, Memory, Outcome, Store, StoreError, StoreErrorKind, Tag};

/// The log of each shard: the first segment that landed in each slot. A segment that lands in a
/// slot again, after a sweep, is not part of the log.
pub type Log = BTreeMap<(ShardId, Sequence), Vec<Op>>;

/// See the module. Clones are one store.
#[derive(Debug, Clone)]
pub struct Faulty {
    inner: Memory,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    fates: VecDeque<u8>,
    calm: bool,
    failed: bool,
    /// Writes whose answers were lost and that have not landed yet.
    delayed: VecDeque<Write>,
    log: Log,
}

/// The fault of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nothing landed and nothing will; try again.
    Transient,
    /// The same, because others were writing.
    Conflict,
    /// Nothing landed and nothing will, however often the caller tries.
    Permanent,
    /// It landed, and the answer is lost.
    LoseAnswer,
    /// It landed, and the answer is "refused".
    Echo,
    /// It did not land, and the outcome is unknown.
    LoseRequest,
    /// The answer is lost, and it lands later.
    Delay,
}

#[derive(Debug, Clone)]
enum Write {
    Create(Key, Vec<Bytes>),
    Replace(Key, Tag, Vec<Bytes>),
}

impl Faulty {
    /// An empty store. Each call takes one byte of `fates`; once they are used up there are no
    /// faults. It is calm until told otherwise.
    pub fn new(fates: &[u8]) -> Self {
        // From the end, so that a change in the first half of an input leaves the fates unchanged.
        let state = State { fates: fates.iter().rev().copied().collect(), calm: true, ..State::default() };
        Self { inner: Memory::new(), state: Arc::new(Mutex::new(state)) }
    }

    /// Whether calls go well from now on.
    pub fn set_calm(&self, calm: bool) {
        self.state().calm = calm;
    }

    /// Whether any call has failed.
    pub fn has_failed(&self) -> bool {
        self.state().failed
    }

    /// Inspects the segments that landed in the log.
    pub fn with_log<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&self.state().log)
    }

    /// Lets all delayed writes land.
    pub async fn land_all(&self) {
        while self.land_one().await {}
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic ends the program.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn land_one(&self) -> bool {
        let Some(write) = self.state().delayed.pop_front() else { return false };
        // No caller hears the outcome.
        drop(self.land(write).await);
        true
    }

    async fn land(&self, write: Write) -> Result<Outcome, StoreError> {
        let (key, outcome, chunks) = match write {
            Write::Create(key, chunks) => {
                let outcome = self.inner.create(&key, chunks.clone()).await?;
                (key, outcome, chunks)
            }
            Write::Replace(key, tag, chunks) => {
                let outcome = self.inner.replace(&key, &tag, chunks.clone()).await?;
                (key, outcome, chunks)
            }
        };
        if matches!(outcome, Outcome::Done(_))
            && let Some(slot) = slot(&key)
        {
            self.remember(slot, chunks.concat().into());
        }
        Ok(outcome)
    }

    fn remember(&self, (shard, sequence): (ShardId, Sequence), object: Bytes) {
        let segment = Segment::decode(object).expect("a writer writes segments");
        assert_eq!(segment.header().sequence, sequence, "a segment knows its place");
        let ops = segment.ops().map(|(_, op)| op.map_embedding(|row| segment.vector(row).to_vec())).collect();
        let mut state = self.state();
        let before = sequence == Sequence::FIRST || state.log.contains_key(&(shard, sequence.prev()));
        assert!(before, "the log of shard {shard} has a gap before {sequence}");
        state.log.entry((shard, sequence)).or_insert(ops);
    }

    /// The fate of the next call. Others may go on before it.
    async fn fate(&self) -> Option<Fault> {
        let byte = {
            let mut state = self.state();
            if state.calm { 0 } else { state.fates.pop_front().unwrap_or(0) }
        };
        for _ in 0..byte >> 6 {
            tokio::task::yield_now().await;
        }
        if matches!(byte & 0x3f, 48..=61) {
            self.state().failed = true;
        }
        match byte & 0x3f {
            48..=50 => Some(Fault::Transient),
            51..=53 => Some(Fault::LoseAnswer),
            54..=55 => Some(Fault::LoseRequest),
            56..=58 => Some(Fault::Delay),
            59 => Some(Fault::Echo),
            60 => Some(Fault::Conflict),
            61 => Some(Fault::Permanent),
            62..=63 => {
                self.land_one().await;
                None
            }
            _ => None,
        }
    }

    /// For calls that write nothing, or that may be repeated.
    async fn read(&self, verb: &'static str, key: &str) -> Result<(), StoreError> {
        match self.fate().await {
            Some(Fault::Permanent) => Err(error(verb, key, Fault::Permanent)),
            Some(fault @ (Fault::Transient | Fault::Conflict | Fault::LoseRequest)) => Err(error(verb, key, fault)),
            _ => Ok(()),
        }
    }

    async fn write(&self, verb: &'static str, write: Write) -> Result<Outcome, StoreError> {
        let key = match &write {
            Write::Create(key, _) | Write::Replace(key, ..) => key.to_string(),
        };
        let Some(fault) = self.fate().await else { return self.land(write).await };
        let lost = Ok(Outcome::Unknown(error(verb, &key, fault)));
        match fault {
            Fault::Transient | Fault::Permanent | Fault::Conflict => Err(error(verb, &key, fault)),
            Fault::LoseRequest => lost,
            Fault::Delay => {
                self.state().delayed.push_back(write);
                lost
            }
            Fault::LoseAnswer => self.land(write).await.and(lost),
            Fault::Echo => self.land(write).await.and(Ok(Outcome::Refused)),
        }
    }
}

/// The shard and the place of a segment's key, `NAME/SHARD/log/SEQUENCE`.
fn slot(key: &Key) -> Option<(ShardId, Sequence)> {
    let mut parts = key.as_str().split('/').skip(1);
    let shard = parts.next()?.parse().ok()?;
    let sequence = parts.next().filter(|folder| *folder == "log").and_then(|_| parts.next())?;
    Some((shard, sequence.parse().ok()?))
}

fn error(verb: &'static str, key: &str, fault: Fault) -> StoreError {
    match fault {
        Fault::Conflict => StoreError::conflict(verb, key),
        Fault::Permanent => StoreError::new(StoreErrorKind::Permanent, verb, key, "as the input says"),
        _ => StoreError::new(StoreErrorKind::Transient, verb, key, "as the input says"),
    }
}

#[async_trait]
impl Store for Faulty {
    fn location(&self) -> String {
        "faulty:".to_owned()
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.write("create", Write::Create(key.clone(), chunks)).await
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.write("replace", Write::Replace(key.clone(), tag.clone(), chunks)).await
    }

    /// If it fails, some objects may be gone.
    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        let failed = self.read("delete", keys.first().map_or("", Key::as_str)).await;
        let gone = if failed.is_ok() { keys } else { keys.get(..keys.len() / 2).unwrap_or_default() };
        self.inner.delete(gone).await?;
        failed
    }

    deltafold_testing::reads_of!(inner);
    deltafold_testing::pass_on_to!(inner);

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.read("now", "").await?;
        self.inner.now().await
    }
}
