//! A store that counts its calls, lets a test act at a chosen moment between two of them, and fails
//! on demand.

use std::future::Future;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use deltafold::format::Timestamp;
use deltafold::store::{Key, Memory, Outcome, Staged, Store, StoreError, StoreErrorKind, Tag};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::random::Random;

#[cfg(test)]
mod tests;

/// Turns each `async fn name<S: Store + Clone>(store: Watched<S>)` into a test in memory and one in
/// a local folder. The tests listed under `every` also run in the buckets of two servers, with the
/// heads in the bucket and in a table. List those whose outcome depends on the store's own
/// behaviour.
#[macro_export]
macro_rules! on_stores {
    ($(every: [$($every:ident),* $(,)?],)? $(local: [$($local:ident),* $(,)?],)?) => {
        $crate::on_stores!(@in in_memory, ($crate::deltafold::store::Memory::new(), ()), $($($every,)*)? $($($local,)*)?);
        $crate::on_stores!(@in in_a_folder, $crate::watched::folder(), $($($every,)*)? $($($local,)*)?);
        $(#[cfg(all(feature = "s3", feature = "dynamodb"))]
        $crate::on_stores!(@cloud $($every,)*);)?
    };
    (@cloud $($name:ident,)*) => {
        $crate::on_stores!(@in in_s3, $crate::cloud::in_s3().await, $($name,)*);
        $crate::on_stores!(@in in_s3_with_heads_in_dynamodb, $crate::cloud::in_s3_and_dynamodb().await, $($name,)*);
        $crate::on_stores!(@in in_ministack, $crate::cloud::in_ministack().await, $($name,)*);
        $crate::on_stores!(
            @in in_ministack_with_heads_in_dynamodb,
            $crate::cloud::in_ministack_and_dynamodb().await,
            $($name,)*
        );
    };
    (@in $place:ident, $open:expr, $($name:ident,)*) => {
        mod $place {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (store, _keep) = $open;
                let store: std::sync::Arc<dyn $crate::deltafold::store::Store> = std::sync::Arc::new(store);
                super::$name($crate::watched::Watched::over(store)).await;
            })*
        }
    };
}

/// A store in a folder that is removed after the test.
pub fn folder() -> (deltafold::store::Dir, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (deltafold::store::Dir::open(folder.path()).unwrap(), folder)
}

/// The fault of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing landed and nothing will; try again.
    Transient,
    /// Nothing landed and nothing will, however often the caller tries.
    Permanent,
    /// Nothing landed, as the disk is full.
    Full,
    /// It landed, and the answer is lost.
    LoseAnswer,
    /// It landed, and the answer is "refused": a layer below tried twice.
    Echo,
    /// It did not land, and the outcome is unknown.
    LoseRequest,
    /// The answer is lost, and it lands when [`Watched::land_delayed`] is called.
    Delay,
}

type Action = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

enum Act {
    Do(Action),
    Fail(Fault),
    /// Lands, then runs the action, then answers "refused".
    Echo(Action),
}

/// The moment just before a call.
struct Hook {
    verb: &'static str,
    key: String,
    act: Act,
}

enum Write {
    Create(Key, Vec<Bytes>),
    Replace(Key, Tag, Vec<Bytes>),
}

#[derive(Default)]
struct State {
    calls: Vec<String>,
    hooks: Vec<Hook>,
    delayed: Vec<Write>,
    random: Option<(Random, u64)>,
    echoes: Option<Vec<String>>,
    aborts: Vec<(String, Timestamp, bool)>,
}

/// See the module. Clones are one store.
#[derive(Clone, Default)]
pub struct Watched<S = Memory> {
    pub inner: S,
    state: Arc<Mutex<State>>,
}

impl<S> std::fmt::Debug for Watched<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watched")
    }
}

impl<S: Store> Watched<S> {
    pub fn over(inner: S) -> Self {
        Self { inner, state: Arc::default() }
    }

    /// Once, just before the next `verb` on a key (or prefix) that contains `key`: runs `act` to
    /// the end.
    pub fn before<F>(&self, verb: &'static str, key: impl ToString, act: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let act = Act::Do(Box::new(move || act().boxed()));
        self.state.lock().unwrap().hooks.push(Hook { verb, key: key.to_string(), act });
    }

    /// Once, the next `verb` on a key that contains `key` has this fault.
    pub fn fail(&self, verb: &'static str, key: impl ToString, fault: Fault) {
        self.state.lock().unwrap().hooks.push(Hook { verb, key: key.to_string(), act: Act::Fail(fault) });
    }

    /// Once, the next creation of a key that contains `key` lands. Then `act` runs to the end, and
    /// the answer is "refused".
    pub fn echo_after<F>(&self, key: impl ToString, act: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let act = Act::Echo(Box::new(move || act().boxed()));
        self.state.lock().unwrap().hooks.push(Hook { verb: "create", key: key.to_string(), act });
    }

    /// From now on one call in `once_in` has some fault; with 0 none has.
    pub fn fail_at_random(&self, seed: u64, once_in: u64) {
        self.state.lock().unwrap().random = (once_in > 0).then(|| (Random::new(seed), once_in));
    }

    /// From now on every conditional write that lands is answered "refused", as if a layer below
    /// had tried twice.
    pub fn echo_all(&self) {
        self.state.lock().unwrap().echoes = Some(Vec::new());
    }

    /// The writes answered so, as `verb key`. From now on all answers are true.
    pub fn echoed(&self) -> Vec<String> {
        self.state.lock().unwrap().echoes.take().unwrap_or_default()
    }

    /// The answer for an outcome.
    fn answered(&self, verb: &str, key: &Key, outcome: Outcome) -> Outcome {
        match (&mut self.state.lock().unwrap().echoes, outcome) {
            (Some(echoes), Outcome::Done(_)) => {
                echoes.push(format!("{verb} {key}"));
                Outcome::Refused
            }
            (_, outcome) => outcome,
        }
    }

    /// Whether every hook was reached.
    pub fn all_reached(&self) -> bool {
        self.state.lock().unwrap().hooks.is_empty()
    }

    /// The calls since the last call of this, as `verb key`. A key has only its last folder and
    /// name.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    /// The calls of `abort_uploads` since the last call of this: prefix, date, and whether it was a
    /// dry run.
    pub fn aborts(&self) -> Vec<(String, Timestamp, bool)> {
        std::mem::take(&mut self.state.lock().unwrap().aborts)
    }

    /// Lets the delayed writes land. The store still refuses those whose condition no longer holds.
    /// Returns the number that landed.
    pub async fn land_delayed(&self) -> usize {
        let delayed = std::mem::take(&mut self.state.lock().unwrap().delayed);
        let mut landed = 0;
        for write in delayed {
            let outcome = match write {
                Write::Create(key, chunks) => self.inner.create(&key, chunks).await,
                Write::Replace(key, tag, chunks) => self.inner.replace(&key, &tag, chunks).await,
            };
            landed += usize::from(matches!(outcome, Ok(Outcome::Done(_))));
        }
        landed
    }

    async fn call(&self, verb: &'static str, key: &str) -> Option<(Fault, Option<Action>)> {
        let hook = {
            let mut state = self.state.lock().unwrap();
            let short: Vec<&str> = key.splitn(3, '/').collect();
            state.calls.push(format!("{verb} {}", short.last().unwrap()));
            let at = state.hooks.iter().position(|hook| hook.verb == verb && key.contains(&hook.key));
            at.map(|at| state.hooks.remove(at).act)
        };
        match hook {
            Some(Act::Do(act)) => act().await,
            Some(Act::Fail(fault)) => return Some((fault, None)),
            Some(Act::Echo(act)) => return Some((Fault::Echo, Some(act))),
            None => {}
        }
        let mut state = self.state.lock().unwrap();
        let (random, once_in) = state.random.as_mut()?;
        let writes = matches!(verb, "create" | "replace");
        let fault = |random: &mut Random| match random.below(4) {
            0 if writes => Fault::LoseAnswer,
            1 if writes => Fault::LoseRequest,
            2 if writes => Fault::Delay,
            _ => Fault::Transient,
        };
        random.once_in(*once_in).then(|| (fault(random), None))
    }

    /// For calls that write nothing, or that may be repeated.
    async fn read(&self, verb: &'static str, key: &str) -> Result<(), StoreError> {
        self.call(verb, key).await.map_or(Ok(()), |(fault, _)| Err(error(verb, key, fault)))
    }

    /// The answer of a write with a fault; `None` if the write has none.
    async fn write(
        &self,
        verb: &'static str,
        key: &Key,
        write: impl FnOnce() -> Write,
    ) -> Option<Result<Outcome, StoreError>> {
        let (fault, act) = self.call(verb, key.as_str()).await?;
        let lost = Some(Ok(Outcome::Unknown(error(verb, key, fault))));
        match fault {
            Fault::Transient | Fault::Permanent | Fault::Full => Some(Err(error(verb, key, fault))),
            Fault::LoseRequest => lost,
            Fault::Delay => {
                self.state.lock().unwrap().delayed.push(write());
                lost
            }
            Fault::LoseAnswer | Fault::Echo => {
                let outcome = match write() {
                    Write::Create(key, chunks) => self.inner.create(&key, chunks).await,
                    Write::Replace(key, tag, chunks) => self.inner.replace(&key, &tag, chunks).await,
                };
                outcome.unwrap();
                if let Some(act) = act {
                    act().await;
                }
                if fault == Fault::Echo { Some(Ok(Outcome::Refused)) } else { lost }
            }
        }
    }

    /// The keys that contain `part`.
    pub async fn keys(&self, part: &str) -> Vec<Key> {
        let all = self.inner.list_after("", None, 1_000).await.unwrap();
        assert!(all.len() < 1_000);
        all.into_iter().map(|listed| listed.key).filter(|key| key.as_str().contains(part)).collect()
    }

    /// Replaces the bytes of an object.
    pub async fn overwrite(&self, key: &Key, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.inner.get(key).await.unwrap().unwrap().bytes.to_vec();
        change(&mut bytes);
        self.inner.delete(std::slice::from_ref(key)).await.unwrap();
        self.inner.create(key, vec![bytes.into()]).await.unwrap();
    }
}

fn error(verb: &'static str, key: impl std::fmt::Display, fault: Fault) -> StoreError {
    let kind = match fault {
        Fault::Permanent => StoreErrorKind::Permanent,
        Fault::Full => StoreErrorKind::Full,
        _ => StoreErrorKind::Transient,
    };
    StoreError::new(kind, verb, key, format_args!("as the test says: {fault:?}"))
}

/// A staged object. Its creation is a `create` like any other.
#[derive(Debug)]
struct WatchedStage<S> {
    store: Watched<S>,
    key: Key,
    chunks: Vec<Bytes>,
    staged: Box<dyn Staged>,
}

#[async_trait]
impl<S: Store + Clone> Staged for WatchedStage<S> {
    async fn create(self: Box<Self>) -> Result<Outcome, StoreError> {
        let Self { store, key, chunks, staged } = *self;
        match store.write("create", &key, || Write::Create(key.clone(), chunks)).await {
            Some(failed) => {
                staged.give_up().await;
                failed
            }
            None => Ok(store.answered("create", &key, staged.create().await?)),
        }
    }

    async fn give_up(self: Box<Self>) {
        self.staged.give_up().await;
    }
}

#[async_trait]
impl<S: Store + Clone> Store for Watched<S> {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        let write = || Write::Create(key.clone(), chunks.clone());
        match self.write("create", key, write).await {
            Some(failed) => failed,
            None => Ok(self.answered("create", key, self.inner.create(key, chunks).await?)),
        }
    }

    async fn stage(&self, key: &Key, chunks: &[Bytes]) -> Result<Option<Box<dyn Staged>>, StoreError> {
        let Some(staged) = self.inner.stage(key, chunks).await? else { return Ok(None) };
        Ok(Some(Box::new(WatchedStage { store: self.clone(), key: key.clone(), chunks: chunks.to_vec(), staged })))
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        let write = || Write::Replace(key.clone(), tag.clone(), chunks.clone());
        match self.write("replace", key, write).await {
            Some(failed) => failed,
            None => Ok(self.answered("replace", key, self.inner.replace(key, tag, chunks).await?)),
        }
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        self.read("delete", keys.first().map_or("", Key::as_str)).await?;
        self.inner.delete(keys).await
    }

    crate::reads_of!(inner);
    crate::pass_on_to!(inner);

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.inner.now().await
    }

    fn uncached(&self) -> Option<Arc<dyn Store>> {
        self.inner.uncached()
    }

    async fn abort_uploads(&self, prefix: &str, before: Timestamp, dry_run: bool) -> Result<u64, StoreError> {
        self.state.lock().unwrap().aborts.push((prefix.to_owned(), before, dry_run));
        self.inner.abort_uploads(prefix, before, dry_run).await
    }
}
