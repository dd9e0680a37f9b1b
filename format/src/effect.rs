//! The effect of ops on one id, in the ordering of their collection. Folds, merges and readers use
//! it without knowing which ordering that is.

use crate::name::Timestamp;
use crate::op::Action;
use crate::revised::Revised;
use crate::stamp::Place;
use crate::transition::{Stored, Transition};

/// The effect of ops on one id. All effects of a collection are of one kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect<E> {
    /// A series of ops in log order.
    Log(Transition<E>),
    /// A set of ops with revisions.
    Revision(Revised<E>),
}

impl<E: Clone> Effect<E> {
    /// The effect of one op at this place.
    pub fn from_op(action: Action<E>, place: Place) -> Self {
        match place {
            Place::Log(position) => Self::Log(Transition::from_op(action, position)),
            Place::Revision(stamp) => Self::Revision(Revised::from_op(action, stamp)),
        }
    }

    /// These ops, and then (in log order), or also (with revisions), `newer`. Associative. A
    /// collection never mixes the two kinds; of a mixed pair, the newer one remains.
    #[must_use]
    pub fn then(self, newer: Self) -> Self {
        match (self, newer) {
            (Self::Log(older), Self::Log(newer)) => Self::Log(older.then(newer)),
            (Self::Revision(older), Self::Revision(newer)) => Self::Revision(older.join(newer)),
            (_, newer) => newer,
        }
    }

    /// The record that results for an id without older content.
    pub fn resolve(self) -> Option<Stored<E, Place>> {
        match self {
            Self::Log(transition) => transition.resolve(None).map(|stored| stored.map_places(Place::Log)),
            Self::Revision(revised) => revised.resolve().map(|stored| stored.map_places(Place::Revision)),
        }
    }

    /// The effect as the base holds it, with nothing under it; `None` if the base need not hold it.
    /// In log order that is the record. With revisions it is everything, and an absent record
    /// remains unless it is dated before `forget`.
    pub fn into_base(self, forget: Timestamp) -> Option<Self> {
        match self {
            Self::Log(transition) => {
                let record = transition.resolve(None)?;
                Some(Self::Log(Transition::Replace { record: Some(record), renewed: false }))
            }
            Self::Revision(revised) => {
                (revised.is_present() || revised.dated >= forget).then_some(Self::Revision(revised))
            }
        }
    }
}

impl<E> Effect<E> {
    /// Whether the effect hides all older content ([`Transition::is_replace`]). With revisions
    /// older content may always show through.
    pub fn is_replace(&self) -> bool {
        matches!(self, Self::Log(Transition::Replace { .. }))
    }

    /// Whether the effect hides everything older, even the position where the record was inserted.
    /// With revisions older content may always show through.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Log(Transition::Replace { record: None, .. } | Transition::Replace { renewed: true, .. }))
    }

    /// Whether no row need hold it: a patch with a revision that names no field.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Revision(revised) if revised.stamps().next().is_none())
    }

    /// Whether it can insert or remove a record.
    pub fn touches_presence(&self) -> bool {
        match self {
            Self::Log(transition) => !matches!(transition, Transition::Modify { absent: None, .. }),
            Self::Revision(revised) => revised.base.is_some() || revised.upserted.is_some(),
        }
    }

    /// Dates the absence of the record: [`Revised::dated`].
    pub fn date(&mut self, dated: Timestamp) {
        if let Self::Revision(revised) = self {
            revised.dated = dated;
        }
    }

    /// The embeddings that it carries, at most two.
    pub fn embeddings(&self) -> impl Iterator<Item = &E> {
        let (log, revision) = match self {
            Self::Log(transition) => (Some(transition.embeddings()), None),
            Self::Revision(revised) => (None, revised.embedding()),
        };
        log.into_iter().flatten().chain(revision)
    }

    /// The same with its embeddings held another way.
    pub fn map_embedding<F>(self, map: &mut impl FnMut(E) -> F) -> Effect<F> {
        match self {
            Self::Log(transition) => Effect::Log(transition.map_embedding(map)),
            Self::Revision(revised) => Effect::Revision(revised.map_embedding(map)),
        }
    }
}

#[cfg(test)]
#[path = "effect_tests.rs"]
mod tests;
