//! The seams to the machine: time, randomness, tasks, waiting. Nothing else in the crate touches them (`clippy.toml` sees to
//! it), so that a simulation can own all four.

use std::future::Future;
use std::time::Duration;

use deltafold_format::{Nonce, Timestamp, Uid};

/// Time and randomness.
pub trait Env: Send + Sync + std::fmt::Debug + 'static {
    /// The clock on the wall. It dates what people read; no rule of the protocol compares it.
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
        // The operating system's source fails only where it is missing altogether; uniqueness then has no ground to stand on.
        getrandom::u64().expect("the operating system has a random source")
    }
}

tokio::task_local! {
    static ATTEMPT: u32;
}

/// Which attempt at a request this is, counted from 1: what retries say to the store, which counts and traces its requests.
pub(crate) fn attempt() -> u32 {
    ATTEMPT.try_with(|attempt| *attempt).unwrap_or(1)
}

/// Runs a call as the attempt of this number.
pub(crate) async fn attempting<F: Future>(number: u32, call: F) -> F::Output {
    ATTEMPT.scope(number, call).await
}

/// Measures how long something takes, for people and for politeness: no rule of the protocol compares it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(tokio::time::Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Starts a task of its own.
#[expect(clippy::disallowed_methods, reason = "the one place where tasks are spawned")]
pub(crate) fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    tokio::spawn(future)
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "the one place where anything sleeps")]
pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Gives up a call after a while.
#[cfg(feature = "s3")]
pub(crate) async fn timeout<F: Future>(after: Duration, call: F) -> Option<F::Output> {
    tokio::time::timeout(after, call).await.ok()
}

/// Runs work that keeps a core busy, off the tasks that wait.
#[expect(clippy::disallowed_methods, reason = "the one place where blocking work is moved off")]
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    join(tokio::task::spawn_blocking(work)).await
}

/// Waits for a task; if it panicked, so does the caller.
pub(crate) async fn join<T>(task: tokio::task::JoinHandle<T>) -> T {
    match task.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down: nothing runs any more that could see this future finish.
            Err(_) => std::future::pending().await,
        },
    }
}
