//! The embedding objects of a reader, with the fetched sections of each.
//!
//! A store that maps objects opens them whole, because its pages are the cache. Elsewhere the
//! sections are fetched by range, a tier at a time, and one limit of the reader covers their bytes.

mod fetch;
mod room;

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deltafold_format::{EmbeddingEntry, EmbeddingSection, Embeddings, ObjectName};

use room::Charge;
pub(crate) use room::Room;

/// Sections of an embedding object that are fetched together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Tier {
    /// Front and norms, which every other tier needs.
    Front,
    /// The sign bits and their factors, for estimates.
    Signs,
    /// The 8-bit codes and their factors, for bounds.
    Bytes,
    /// The rows in f32.
    Rows,
}

impl Tier {
    /// All of them, in the order in which they lie.
    pub(crate) const ALL: [Self; 4] = [Self::Front, Self::Signs, Self::Bytes, Self::Rows];

    /// The sections of it.
    pub(crate) fn sections(self) -> RangeInclusive<EmbeddingSection> {
        use EmbeddingSection::{Bytes, Estimators, Norms, Rows, Scales, Signs};
        match self {
            Self::Front => Norms..=Norms,
            Self::Signs => Estimators..=Signs,
            Self::Bytes => Scales..=Bytes,
            Self::Rows => Rows..=Rows,
        }
    }

    /// Whether an object holds it.
    fn is_in(self, embeddings: &Embeddings) -> bool {
        embeddings.holds(*self.sections().end())
    }

    fn place(self) -> usize {
        self as usize
    }
}

/// An embedding object that a manifest lists, with its tiers in memory.
#[derive(Debug)]
pub(crate) struct Opened {
    entry: EmbeddingEntry,
    held: Mutex<Held>,
    /// The caller that fetches holds it, so that no other fetches the same tiers.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Held {
    embeddings: Option<Embeddings>,
    tiers: [Kept; Tier::ALL.len()],
}

/// One tier in memory.
#[derive(Debug, Default)]
struct Kept {
    /// Its bytes in memory; `None` if they lie in a mapping.
    charge: Option<Charge>,
    /// The number of its last use.
    used: u64,
}

impl Opened {
    pub(super) fn new(entry: EmbeddingEntry) -> Arc<Self> {
        Arc::new(Self { entry, held: Mutex::default(), fetching: tokio::sync::Mutex::default() })
    }

    pub(super) fn name(&self) -> ObjectName {
        self.entry.name
    }

    /// The object with all of these tiers, if it holds them. Notes the use.
    pub(crate) fn held(&self, tiers: &[Tier], used: u64) -> Option<Embeddings> {
        let mut held = self.lock();
        for tier in tiers {
            if let Some(kept) = held.tiers.get_mut(tier.place()) {
                kept.used = kept.used.max(used);
            }
        }
        held.embeddings.as_ref().filter(|embeddings| tiers.iter().all(|tier| tier.is_in(embeddings))).cloned()
    }

    /// Whether it holds a tier: in memory, in the temporary file, or mapped.
    fn holds(&self, tier: Tier) -> bool {
        self.lock().embeddings.as_ref().is_some_and(|embeddings| tier.is_in(embeddings))
    }

    /// Whether a tier is held in memory, or `mapped` from a local folder.
    pub(crate) fn is_warm(&self, tier: Tier, mapped: bool) -> bool {
        let charged = self.lock().tiers.get(tier.place()).is_some_and(|kept| kept.charge.is_some());
        self.holds(tier) && (mapped || charged)
    }

    /// Tiers in memory last used before the use `used`, with the number of that use. The front
    /// stays.
    fn tiers_before(&self, used: u64) -> impl Iterator<Item = (u64, Tier)> + use<> {
        let held = self.lock();
        let tiers = Tier::ALL.into_iter().zip(&held.tiers).skip(1);
        let older = tiers.filter(|(_, kept)| kept.charge.is_some() && kept.used < used);
        older.map(|(tier, kept)| (kept.used, tier)).collect::<Vec<_>>().into_iter()
    }

    /// The bytes of these tiers.
    fn charged_before(&self, used: u64) -> u64 {
        let held = self.lock();
        let older = held.tiers.iter().skip(1).filter(|kept| kept.used < used);
        older.filter_map(|kept| kept.charge.as_ref()).map(Charge::bytes).sum()
    }

    /// Drops a tier.
    pub(crate) fn drop_tier(&self, tier: Tier) {
        let mut held = self.lock();
        held.embeddings = held.embeddings.take().map(|embeddings| embeddings.without_sections(tier.sections()));
        if let Some(kept) = held.tiers.get_mut(tier.place()) {
            kept.charge = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // A panic elsewhere could at worst leave one charge too many, and then less is kept.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
