//! The seams to the machine: time, randomness, tasks, waiting. No other module touches them, which
//! `clippy.toml` enforces, so that a simulation can own all four.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use deltafold_format::{Nonce, Timestamp, Uid};

#[cfg(feature = "simulation")]
use crate::simulation;

/// Time and randomness.
pub trait Env: Send + Sync + std::fmt::Debug + 'static {
    /// The wall clock. It dates entries for people; no rule of the protocol compares it.
    fn now(&self) -> Timestamp;

    /// 64 random bits.
    fn random(&self) -> u64;

    /// Random bits for the name of an object.
    fn nonce(&self) -> Nonce {
        Nonce::new(self.random())
    }

    /// Random bits for a collection, a writer or a compactor.
    fn uid(&self) -> Uid {
        Uid::new(u128::from(self.random()) << 64 | u128::from(self.random()))
    }
}

/// The clock and the random source of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Env for System {
    #[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn random(&self) -> u64 {
        // The operating system's source fails only where it is missing altogether. Uniqueness then
        // has no basis.
        getrandom::u64().expect("the operating system has a random source")
    }
}

tokio::task_local! {
    static ATTEMPT: u32;
}

/// The number of this attempt at a request, counted from 1. Retries set it for the store, which
/// counts and traces its requests.
pub(crate) fn attempt() -> u32 {
    ATTEMPT.try_with(|attempt| *attempt).unwrap_or(1)
}

/// Runs a call as the attempt of this number.
pub(crate) async fn attempting<F: Future>(number: u32, call: F) -> F::Output {
    ATTEMPT.scope(number, call).await
}

/// Number of cores that this process may use. The system is asked once: on Linux each answer reads
/// several files of its control group.
pub(crate) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Measures durations, for people and for pauses: no rule of the protocol compares it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stopwatch {
    Real(tokio::time::Instant),
    #[cfg(feature = "simulation")]
    Simulated(Duration),
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        #[cfg(feature = "simulation")]
        if let Some(machine) = simulation::current() {
            return Self::Simulated(machine.elapsed());
        }
        Self::Real(tokio::time::Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        match self {
            Self::Real(started) => started.elapsed(),
            #[cfg(feature = "simulation")]
            Self::Simulated(started) => {
                simulation::current().map_or(started, |machine| machine.elapsed()).saturating_sub(started)
            }
        }
    }
}

/// A task that runs by itself, even after this handle is dropped.
#[derive(Debug)]
pub(crate) enum Task<T> {
    Real(tokio::task::JoinHandle<T>),
    #[cfg(feature = "simulation")]
    Simulated(tokio::sync::oneshot::Receiver<T>),
}

/// Starts a task of its own.
#[expect(clippy::disallowed_methods, reason = "the one place where tasks are spawned")]
pub(crate) fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    #[cfg(feature = "simulation")]
    if let Some(machine) = simulation::current() {
        let (done, task) = tokio::sync::oneshot::channel();
        // Its handle may be gone.
        machine.spawn(Box::pin(async move { drop(done.send(future.await)) }));
        return Task::Simulated(task);
    }
    Task::Real(tokio::spawn(future))
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "the one place where anything sleeps")]
pub(crate) async fn sleep(duration: Duration) {
    #[cfg(feature = "simulation")]
    if let Some(machine) = simulation::current() {
        return machine.sleep(duration).await;
    }
    tokio::time::sleep(duration).await;
}

/// The seed of the jitter of pauses, where a simulation owns it.
pub(crate) fn jitter_seed() -> Option<u64> {
    #[cfg(feature = "simulation")]
    if let Some(machine) = simulation::current() {
        return Some(machine.random());
    }
    None
}

/// Gives up a call after a time limit.
#[cfg(any(feature = "aws", feature = "serve"))]
pub(crate) async fn timeout<F: Future>(after: Duration, call: F) -> Option<F::Output> {
    tokio::time::timeout(after, call).await.ok()
}

/// Runs CPU-bound work away from the async tasks.
#[expect(clippy::disallowed_methods, reason = "the one place where blocking work is moved off")]
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    #[cfg(feature = "simulation")]
    if simulation::current().is_some() {
        return work();
    }
    join(Task::Real(tokio::task::spawn_blocking(work))).await
}

/// Waits for a task. If the task panicked, so does the caller.
pub(crate) async fn join<T>(task: Task<T>) -> T {
    #[cfg(not(feature = "simulation"))]
    let Task::Real(task) = task;
    #[cfg(feature = "simulation")]
    let task = match task {
        Task::Real(task) => task,
        Task::Simulated(task) => match task.await {
            Ok(value) => return value,
            // The simulated process of the task has crashed, and this one with it.
            Err(_) => return std::future::pending().await,
        },
    };
    match task.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down: no task is left that could see this future finish.
            Err(_) => std::future::pending().await,
        },
    }
}
