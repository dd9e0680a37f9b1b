//! Tests whether a store keeps the contract.
//!
//! Some services accept the conditions of a write and ignore them. A collection there would lose
//! updates without an error. A probe decides lost answers as writers do. It condemns only a fault
//! that it saw twice, each time on fresh keys. A lost answer is never a broken promise.

mod checks;
mod promise;
mod round;

use crate::env::{Env, System};
use crate::retry;
use crate::store::{Store, StoreError, StoreErrorKind};

pub use promise::Promise;
use round::{Found, Rounds};

/// The most rounds of one promise. A further one follows a broken round, and one that decided
/// nothing.
const ROUNDS: usize = 6;

/// Verdicts on every promise.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// Every check, in order.
    pub checks: Vec<Check>,
}

/// One promise of the contract, tried.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// The promise.
    pub promise: Promise,
    /// The verdict on it.
    pub verdict: Verdict,
}

/// The verdict on one promise. The texts are for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Verdict {
    /// The store keeps it.
    Kept,
    /// The store keeps it at a higher cost. No data is at risk.
    Costs(String),
    /// No answer came, so the store may keep it. Try again later.
    Unanswered(String),
    /// The store refused the request: a permission is missing, or a setting is wrong.
    Denied(String),
    /// The store does not know the request.
    Unsupported(String),
    /// The store breaks it: two rounds saw that.
    Broken(String),
}

impl Verdict {
    /// Whether a collection can rest on the promise.
    pub fn is_sound(&self) -> bool {
        matches!(self, Self::Kept | Self::Costs(_))
    }

    /// The observation behind the verdict; empty where the store keeps the promise.
    pub fn detail(&self) -> &str {
        match self {
            Self::Kept => "",
            Self::Costs(detail)
            | Self::Unanswered(detail)
            | Self::Denied(detail)
            | Self::Unsupported(detail)
            | Self::Broken(detail) => detail,
        }
    }

    /// The verdict that follows from an error.
    fn of(error: &StoreError) -> Self {
        let detail = error.to_string();
        match error.kind() {
            StoreErrorKind::Transient => Self::Unanswered(detail),
            StoreErrorKind::Permanent | StoreErrorKind::Full => Self::Denied(detail),
            StoreErrorKind::Unsupported => Self::Unsupported(detail),
            StoreErrorKind::Damaged => Self::Broken(detail),
        }
    }
}

impl Probe {
    /// Whether a collection can rest on every promise.
    pub fn is_sound(&self) -> bool {
        self.worst().is_none()
    }

    /// The first check with the gravest verdict; `None` where all are sound.
    pub fn worst(&self) -> Option<&Check> {
        let failed = self.checks.iter().filter(|check| !check.verdict.is_sound());
        failed.reduce(|worst, check| if check.verdict.gravity() > worst.verdict.gravity() { check } else { worst })
    }

    /// Whether only registers lack a promise. Heads in another place then suffice.
    pub fn lacks_only_registers(&self) -> bool {
        let mut failed = self.checks.iter().filter(|check| !check.verdict.is_sound()).peekable();
        failed.peek().is_some() && failed.all(|check| check.promise.is_of_registers())
    }
}

impl Verdict {
    fn gravity(&self) -> u8 {
        match self {
            Self::Kept => 0,
            Self::Costs(_) => 1,
            Self::Unanswered(_) => 2,
            Self::Denied(_) => 3,
            Self::Unsupported(_) => 4,
            Self::Broken(_) => 5,
        }
    }
}

/// Tries every promise with objects of its own, under a name that no collection can have, and
/// removes them. About 80 requests, one of them of 1 MiB where the store takes uploads in parts.
///
/// # Errors
///
/// The store does not answer at all: no permission to create, no such bucket, no connection.
pub async fn probe(store: &dyn Store) -> Result<Probe, StoreError> {
    let mut rounds = Rounds::new(store, format!("PROBE-{}", System.nonce()));
    let mut checks = Vec::new();
    let mut failure = None;
    for promise in Promise::TRIED {
        let verdict = decided(&rounds, promise).await;
        if verdict.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::Transient) {
            rounds.hurry();
        }
        match verdict {
            Ok(Some(verdict)) => checks.push(Check { promise, verdict }),
            Ok(None) => {}
            // Where no create works, every check would repeat the same error.
            Err(error) if promise == Promise::Creates && error.kind() != StoreErrorKind::Unsupported => {
                failure = Some(error);
                break;
            }
            Err(error) => checks.push(Check { promise, verdict: Verdict::of(&error) }),
        }
    }
    // One by one, so that an object that cannot be removed does not keep the others.
    let mut removed = Ok(());
    for key in rounds.made() {
        removed = removed.and(retry::transient(|| store.delete(std::slice::from_ref(&key))).await);
    }
    if let Some(error) = failure {
        return Err(error);
    }
    if let Err(error) = removed {
        checks.push(Check { promise: Promise::Removes, verdict: Verdict::of(&error) });
    }
    Ok(Probe { checks })
}

/// Tries one promise until the verdict is certain; `None` where the promise does not apply to the
/// store.
async fn decided(rounds: &Rounds<'_>, promise: Promise) -> Result<Option<Verdict>, StoreError> {
    let (mut kept, mut broken) = (0, 0);
    for _ in 0..ROUNDS {
        match checks::try_once(&rounds.next(), promise).await? {
            Found::Nothing => return Ok(None),
            Found::Costs(detail) => return Ok(Some(Verdict::Costs(detail.to_owned()))),
            Found::Kept => {
                kept += 1;
                if broken == 0 || kept == 2 {
                    return Ok(Some(Verdict::Kept));
                }
            }
            Found::Broken(detail) => {
                broken += 1;
                if broken == 2 {
                    return Ok(Some(Verdict::Broken(detail.to_owned())));
                }
            }
            Found::Undecided => {}
        }
    }
    Ok(Some(Verdict::Unanswered("late answers left it in doubt; try again".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;

    #[tokio::test]
    async fn a_sound_store_is_found_sound_and_left_clean() {
        let store = Memory::new();
        let probe = probe(&store).await.unwrap();
        assert!(probe.is_sound(), "{probe:?}");
        assert!(probe.checks.len() == 14);
        assert!(store.list_after("", None, 10).await.unwrap().is_empty());
    }

    fn check(promise: Promise, verdict: Verdict) -> Check {
        Check { promise, verdict }
    }

    #[test]
    fn the_gravest_verdict_comes_first() {
        let text = || "x".to_owned();
        let mut probe = Probe { checks: vec![check(Promise::Creates, Verdict::Kept)] };
        assert!(probe.is_sound() && !probe.lacks_only_registers());
        probe.checks.push(check(Promise::ReadsUnless, Verdict::Costs(text())));
        assert!(probe.is_sound() && !probe.lacks_only_registers());
        for (promise, verdict) in [
            (Promise::Replaces, Verdict::Unanswered(text())),
            (Promise::ReplacesUnchanged, Verdict::Denied(text())),
            (Promise::ReplacesPresent, Verdict::Unsupported(text())),
            (Promise::ReplacesForOne, Verdict::Broken(text())),
        ] {
            probe.checks.push(check(promise, verdict));
            assert_eq!(probe.worst().unwrap().promise, promise);
            assert!(probe.lacks_only_registers());
        }
        probe.checks.push(check(Promise::CreatesOnce, Verdict::Broken(text())));
        assert_eq!(probe.worst().unwrap().promise, Promise::ReplacesForOne);
        assert!(!probe.lacks_only_registers());
    }

    /// A probe tries each promise of a sound store in one round. A second one would double the
    /// cost.
    #[tokio::test]
    async fn a_promise_that_is_kept_takes_one_round() {
        let store = Memory::new();
        let rounds = Rounds::new(&store, "PROBE".to_owned());
        for promise in Promise::TRIED {
            assert!(!matches!(decided(&rounds, promise).await.unwrap(), Some(Verdict::Broken(_))));
        }
        let last = rounds.made().iter().filter_map(|key| key.as_str().split('/').nth(1)?.parse::<usize>().ok()).max();
        assert!(last.unwrap() < Promise::TRIED.len(), "{last:?}");
    }
}
