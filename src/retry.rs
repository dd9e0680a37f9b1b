//! Retries after a transient failure of the store.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::env;
use crate::store_error::{StoreError, StoreErrorKind};

/// The backoff: pauses that double from 20 ms to 2 s with jitter, about 15 s in all. Then the
/// caller gets the failure.
pub(crate) fn pauses() -> impl Iterator<Item = Duration> {
    let pauses = ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(12);
    match env::jitter_seed() {
        Some(seed) => pauses.with_jitter_seed(seed).build(),
        None => pauses.build(),
    }
}

/// Calls until the answer is not a transient failure, or the pauses are used up. For idempotent
/// calls.
pub(crate) async fn transient<T, F>(call: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    while_transient(call, |error| error.kind() == StoreErrorKind::Transient).await
}

/// The same for any error. `is_transient` tells whether a retry may help.
pub(crate) async fn while_transient<T, E, F>(
    mut call: impl FnMut() -> F,
    is_transient: impl Fn(&E) -> bool,
) -> Result<T, E>
where
    E: std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let mut pauses = pauses();
    for attempt in 1.. {
        match env::attempting(attempt, call()).await {
            Err(error) if is_transient(&error) => match pauses.next() {
                Some(pause) => {
                    tracing::debug!(%error, ?pause, "trying again");
                    env::sleep(pause).await;
                }
                None => return Err(error),
            },
            answer => return answer,
        }
    }
    unreachable!("the pauses end long before the numbers do")
}
