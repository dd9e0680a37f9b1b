//! Publishing creates the manifest and swaps the head. After a lost race it applies the edit again
//! to the winner.

use std::sync::Arc;

use deltafold_format::{Manifest, Nonce, Version};

use super::edit::{Edit, Stamp, apply};
use super::invariants;
use crate::env;
use crate::error::{Error, Repr, Result};
use crate::head::HeadState;
use crate::retry;
use crate::shard::Shard;
use crate::simulation::Guard;
use crate::store::{Outcome, StoreErrorKind};

/// A snapshot and the head that names it.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) state: HeadState,
    pub(crate) manifest: Arc<Manifest>,
}

impl Current {
    /// Reads head and manifest. Two GETs.
    pub(crate) async fn load(shard: &Shard) -> Result<Self> {
        let (state, manifest) = shard.current().await?;
        Ok(Self { state, manifest: Arc::new(manifest) })
    }

    /// Refreshes the snapshot: one conditional GET, one more if the head moved.
    pub(crate) async fn refresh(&mut self, shard: &Shard) -> Result<bool> {
        if shard.head_unless(&self.state).await?.is_none() {
            return Ok(false);
        }
        *self = Self::load(shard).await?;
        Ok(true)
    }
}

/// Attempts whose swap of the head had no clear "done". Each may be, or become, the current
/// version.
#[derive(Default)]
struct Attempts(Vec<(Version, Nonce)>);

impl Attempts {
    /// The attempt that `manifest` is or descends from.
    fn landed(&self, manifest: &Manifest) -> Option<Version> {
        let current = (manifest.version, manifest.nonce);
        let is_ancestor = |attempt: &(Version, Nonce)| {
            manifest.ancestors.iter().any(|ancestor| (ancestor.version, ancestor.nonce) == *attempt)
        };
        let known = |attempt: &&(Version, Nonce)| **attempt == current || is_ancestor(attempt);
        self.0.iter().find(known).map(|(version, _)| *version)
    }

    /// Drops those whose version `manifest` lists with another nonce: they lost for good.
    fn drop_lost(&mut self, manifest: &Manifest) {
        let remembered = |version| {
            manifest.version == version || manifest.ancestors.iter().any(|ancestor| ancestor.version == version)
        };
        self.0.retain(|(version, _)| !remembered(*version));
    }

    /// Whether the ancestors of `manifest` no longer reach back to some attempt.
    fn forgotten(&self, manifest: &Manifest) -> bool {
        let oldest = manifest.ancestors.first().map_or(manifest.version, |ancestor| ancestor.version);
        self.0.iter().any(|(version, _)| *version < oldest)
    }
}

/// Publishes `edit` over the current version. `current` is the last state seen. Without a race it
/// costs a conditional GET, one manifest PUT and one head swap; each lost race costs two GETs and
/// the PUTs again.
///
/// Returns the version published. Only one swap of a tag can land, and the nonce of each attempt is
/// kept. So an edit takes effect once, or the error says that the outcome is unknown.
pub(crate) async fn publish(shard: &Shard, current: &mut Current, edit: &Edit) -> Result<Version> {
    let mut attempts = Attempts::default();
    let mut pauses = retry::pauses();
    // The work may have taken long. An attempt over an outdated version would be a PUT for nothing,
    // and its refusal hard to tell from a self-conflict.
    current.refresh(shard).await?;
    loop {
        let old = current.manifest.clone();
        let stamp = Stamp { nonce: shard.env().nonce(), published: shard.env().now() };
        let mut new =
            apply(&old, edit, stamp).map_err(|conflict| conflict.into_error(shard.id(), old.version.next()))?;
        new.config = Some(shard.config().clone());
        invariants::check(&old, &new).map_err(|broken| Repr::Invariant {
            shard: shard.id(),
            version: new.version,
            invariant: broken.0.to_owned(),
        })?;
        let key = shard.layout().manifest(new.name());
        let encoded = new.encode().map_err(|error| Error::format(&key, error))?;
        shard.create_own(&key, encoded.chunks).await?;

        let failure = match shard.register().swap(&current.state, &new.head()).await {
            Ok(Outcome::Done(tag)) => {
                let (new_version, manifest) = (new.version, Arc::new(new));
                tracing::debug!(shard = %shard.id(), version = new_version.get(), "published");
                *current = Current { state: HeadState { head: manifest.head(), tag }, manifest };
                return Ok(new_version);
            }
            Ok(Outcome::Refused) => {
                // A refusal may be a self-conflict, when a layer below tried twice.
                attempts.0.push((new.version, new.nonce));
                None
            }
            Ok(Outcome::Unknown(error)) => {
                attempts.0.push((new.version, new.nonce));
                Some(error)
            }
            Err(error) => Some(error),
        };
        if let Some(error) = failure {
            if error.kind() != StoreErrorKind::Transient {
                return Err(if attempts.0.is_empty() { error.into() } else { unknown(shard, &error).into() });
            }
            match pauses.next() {
                Some(pause) => env::sleep(pause).await,
                None if attempts.0.is_empty() => return Err(error.into()),
                None => return Err(unknown(shard, &error).into()),
            }
        }
        if let Err(error) = current.refresh(shard).await {
            return Err(if attempts.0.is_empty() { error } else { unknown(shard, &error).into() });
        }
        if let Some(version) = attempts.landed(&current.manifest).filter(|_| Guard::ManifestNonces.holds()) {
            if let Err(error) = shard.settle_head().await {
                return Err(unknown(shard, &error).into());
            }
            return Ok(version);
        }
        attempts.drop_lost(&current.manifest);
        if attempts.forgotten(&current.manifest) {
            let reason =
                format!("more than {} versions followed before it could be looked up", super::edit::MAX_ANCESTORS);
            return Err(unknown(shard, &reason).into());
        }
    }
}

fn unknown(shard: &Shard, error: &dyn std::fmt::Display) -> Repr {
    Repr::Unknown { what: format!("the publish of an edit of shard {}", shard.id().get()), error: error.to_string() }
}

/// The history of attempts, for the model of the protocol.
#[cfg(test)]
pub(crate) mod history {
    use std::hash::{Hash, Hasher};

    use deltafold_format::{Ancestor, Uid};

    use super::*;

    /// Attempts that may have landed.
    #[derive(Default)]
    pub(crate) struct History(Attempts);

    impl History {
        pub(crate) fn add(&mut self, version: Version, nonce: Nonce) {
            self.0.0.push((version, nonce));
        }

        pub(crate) fn landed(&self, manifest: &Manifest) -> bool {
            self.0.landed(manifest).is_some()
        }

        pub(crate) fn drop_lost(&mut self, manifest: &Manifest) {
            self.0.drop_lost(manifest);
        }

        pub(crate) fn forgotten(&self, manifest: &Manifest) -> bool {
            self.0.forgotten(manifest)
        }
    }

    impl std::fmt::Debug for History {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.0.fmt(f)
        }
    }

    impl Clone for History {
        fn clone(&self) -> Self {
            Self(Attempts(self.0.0.clone()))
        }
    }

    impl PartialEq for History {
        fn eq(&self, other: &Self) -> bool {
            self.0.0 == other.0.0
        }
    }

    impl Eq for History {}

    impl Hash for History {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.0.hash(state);
        }
    }

    /// Story: the answers to two attempts of one publish were lost. The second had landed, and
    /// others published over it. The publisher looked for the first alone in the history, and
    /// reported its edit as needless. The model of the protocol found it. Now the publisher looks
    /// for every attempt in all of the history.
    #[test]
    fn every_attempt_is_looked_for_in_the_history() {
        let mut attempts = History::default();
        attempts.add(Version::new(1), Nonce::new(10));
        attempts.add(Version::new(1), Nonce::new(11));
        let mut manifest = Manifest::empty(Uid::new(7));
        (manifest.version, manifest.nonce) = (Version::new(2), Nonce::new(20));
        manifest.ancestors = vec![Ancestor { version: Version::new(1), nonce: Nonce::new(11) }];
        assert!(attempts.landed(&manifest));
        manifest.ancestors[0].nonce = Nonce::new(12);
        assert!(!attempts.landed(&manifest));
    }

    /// A manifest lists its last ancestors only. An attempt from before the first of them stays
    /// unknown; the list decides every later attempt.
    #[test]
    fn an_attempt_before_the_first_ancestor_is_forgotten() {
        let mut manifest = Manifest::empty(Uid::new(7));
        (manifest.version, manifest.nonce) = (Version::new(6), Nonce::new(60));
        let forgotten = |manifest: &Manifest, version| {
            let mut attempts = History::default();
            attempts.add(Version::new(9), Nonce::new(90));
            attempts.add(Version::new(version), Nonce::new(1));
            attempts.forgotten(manifest)
        };
        let judged = |manifest: &Manifest| [3, 4, 5, 6, 7].map(|version| forgotten(manifest, version));
        assert_eq!(judged(&manifest), [true, true, true, false, false], "no ancestor is listed");
        manifest.ancestors =
            [4, 5].map(|version| Ancestor { version: Version::new(version), nonce: Nonce::new(version * 10) }).to_vec();
        assert_eq!(judged(&manifest), [true, false, false, false, false]);
    }
}
