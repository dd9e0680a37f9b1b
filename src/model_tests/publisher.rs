//! Publishes an edit with the requests of `snapshot/publish.rs`, and its history of attempts.

use deltafold_format::{Manifest, Nonce, ObjectName, Pin, Timestamp, Version};

use super::bounds::Guards;
use super::store::{Hashed, Outcome, Snapshot, Store, TOLD, Truth, VERSIONS, Write};
use crate::snapshot::{Conflict, Edit, Floors, History, Stamp, apply, check, highest_truncated};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Publisher {
    edit: Hashed<Edit>,
    /// The state that the attempt starts from.
    old: Option<Snapshot>,
    new: Option<Snapshot>,
    attempts: History,
    /// All manifests ever sent, to check the final answer.
    sent: Vec<ObjectName>,
    /// Source of the nonces of the attempts.
    nonces: Nonces,
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    /// Reads the current snapshot.
    Look,
    Create,
    Swap,
}

/// The random numbers of one life of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Nonces {
    process: u8,
    life: u8,
    drawn: u8,
}

impl Nonces {
    pub(super) fn of(process: u8) -> Self {
        Self { process, life: 0, drawn: 0 }
    }

    pub(super) fn draw(&mut self) -> Nonce {
        self.drawn += 1;
        Nonce::new(u64::from(self.process + 1) << 16 | u64::from(self.life) << 8 | u64::from(self.drawn))
    }

    pub(super) fn crash(&mut self) {
        self.life += 1;
        self.drawn = 0;
    }
}

/// The outcome of publishing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Published {
    /// The edit is in this snapshot or in one before it.
    Yes(Snapshot),
    /// Another process's edit made this one needless. Holds the current snapshot.
    Needless(Snapshot),
}

impl Publisher {
    pub(super) fn new(edit: Edit, nonces: Nonces) -> Self {
        let edit = Hashed::new(edit);
        Self { edit, old: None, new: None, attempts: History::default(), sent: Vec::new(), nonces, at: At::Look }
    }

    pub(super) fn nonces(&self) -> Nonces {
        self.nonces
    }

    pub(super) fn write(&self) -> Option<Write> {
        let (old, new) = (self.old.as_ref()?, self.new.as_ref()?);
        match self.at {
            At::Look => None,
            At::Create => Some(Write::Manifest(new.clone())),
            At::Swap => Some(Write::Swap(old.name(), new.clone())),
        }
    }

    pub(super) fn answered(&mut self, outcome: Outcome) -> Option<Published> {
        let new = self.new.clone()?;
        match (self.at, outcome) {
            // A manifest's name belongs to its writer alone, so the create is repeated until it
            // succeeds.
            (At::Create, Outcome::Unknown) => {}
            (At::Create, _) => self.at = At::Swap,
            (_, Outcome::Done) => return Some(Published::Yes(new)),
            (..) => {
                self.sent.push(new.name());
                self.attempts.add(new.version, new.nonce);
                self.at = At::Look;
            }
        }
        None
    }

    /// Reads the current snapshot, and applies the edit to it.
    pub(super) fn read(&mut self, store: &Store, truth: &mut Truth, guards: &Guards) -> Option<Published> {
        let published = self.look(store, truth, guards);
        if let Some(Published::Needless(current)) = &published {
            let history = current.ancestors.iter().map(|a| ObjectName { version: a.version, nonce: a.nonce });
            if history.chain([current.name()]).any(|name| self.sent.contains(&name)) {
                truth.breaks(TOLD);
            }
        }
        published
    }

    fn look(&mut self, store: &Store, truth: &mut Truth, guards: &Guards) -> Option<Published> {
        let current = store.head.clone();
        if guards.history {
            if self.attempts.landed(&current) {
                return Some(Published::Yes(current));
            }
            self.attempts.drop_lost(&current);
            if self.attempts.forgotten(&current) {
                truth.breaks("with so few versions nothing is forgotten");
            }
        }
        let stamp = Stamp { nonce: self.nonces.draw(), published: Timestamp::default() };
        let edit = if guards.pins_by_id { (*self.edit).clone() } else { by_name(&current, &self.edit) };
        let new = match apply(&current, &edit, stamp) {
            Err(Conflict::Fenced { .. }) if !guards.fence => {
                let mut unfenced = (*current).clone();
                unfenced.sweep_floor = Version::ZERO;
                match apply(&unfenced, &self.edit, stamp) {
                    Ok(mut new) => {
                        new.sweep_floor = current.sweep_floor;
                        new
                    }
                    Err(_) => return Some(Published::Needless(current)),
                }
            }
            Err(Conflict::SweptMeanwhile) if !guards.last_kept => {
                match truncated_further(&current, &self.edit, stamp) {
                    Some(new) => new,
                    None => return Some(Published::Needless(current)),
                }
            }
            Err(Conflict::FoldedMeanwhile { folded, .. }) if !guards.conflict => {
                match forced(&current, &self.edit, folded, stamp) {
                    Some(new) => new,
                    None => return Some(Published::Needless(current)),
                }
            }
            Ok(new) => new,
            Err(Conflict::Defect(_)) => {
                truth.breaks(VERSIONS);
                return None;
            }
            Err(_) => return Some(Published::Needless(current)),
        };
        if check(&current, &new).is_err() && guards.fence && guards.last_kept {
            truth.breaks(VERSIONS);
            return None;
        }
        self.new = Some(Snapshot::new(new));
        self.old = Some(current);
        self.at = At::Create;
        None
    }
}

/// The edit with pins named by name, without a guard. The engine never does this.
fn by_name(current: &Manifest, edit: &Edit) -> Edit {
    match edit.clone() {
        Edit::Sweep(mut floors) => {
            let seen = std::mem::take(&mut floors.expired);
            let is_named = |pin: &&Pin| seen.iter().any(|seen| seen.name == pin.name);
            floors.expired = current.pins.iter().filter(is_named).cloned().collect();
            Edit::Sweep(floors)
        }
        Edit::Unpin { name, id } => {
            let id = current.pins.iter().find(|pin| pin.name == name).map_or(id, |pin| pin.id);
            Edit::Unpin { name, id }
        }
        edit => edit,
    }
}

/// A sweep that also truncates the last segment folded, without a guard. The engine never does
/// this.
fn truncated_further(current: &Manifest, edit: &Edit, stamp: Stamp) -> Option<Manifest> {
    let Edit::Sweep(floors) = edit else { return None };
    let truncated = floors.truncated;
    let lower = Floors { truncated: truncated.min(highest_truncated(current.folded)), ..floors.clone() };
    let mut new = apply(current, &Edit::Sweep(lower), stamp).ok()?;
    new.truncated = truncated.min(new.folded.next());
    Some(new)
}

/// A fold of segments already folded, forced to fit behind them. The engine never does this.
fn forced(
    current: &deltafold_format::Manifest,
    edit: &Edit,
    folded: deltafold_format::Sequence,
    stamp: Stamp,
) -> Option<deltafold_format::Manifest> {
    let Edit::Fold(fold) = edit else { return None };
    let mut fold = fold.clone();
    let segments = fold.run.last.get() - fold.run.first.get();
    fold.run.first = folded.next();
    fold.run.last = deltafold_format::Sequence::new(folded.get() + 1 + segments)?;
    fold.run.resolved = current.runs.is_empty();
    apply(current, &Edit::Fold(fold), stamp).ok()
}
