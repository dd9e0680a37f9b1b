//! Brings a snapshot into memory ahead of use.

use deltafold_format::{EmbeddingSection, EmbeddingsFront, PartObject};

use super::objects::{OPENS, Objects};
use super::sections::Tier;
use crate::env;
use crate::error::{Error, Result};

/// The levels of a snapshot to bring into memory, and the memory limit for them.
///
/// ```
/// use deltafold::Warm;
///
/// // For exact searches, within 64 MiB.
/// let warm = Warm::default().columns().bytes().max_bytes(64 << 20);
/// assert!(warm.columns && warm.bytes && !warm.rows);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warm {
    /// The columns of all parts, for filters, gets and scans.
    pub columns: bool,
    /// The documents of all parts with their columns. Without this level no document stays in
    /// memory.
    pub documents: bool,
    /// The codes of 1 bit a dimension, for approximate searches.
    pub signs: bool,
    /// The codes of 8 bits a dimension, for exact searches.
    pub bytes: bool,
    /// The embeddings in f32. After the codes, a search reads only few of them.
    pub rows: bool,
    /// Limit on the memory of all levels from now on, with the index of searches. Searches and
    /// filters need the whole index, and fail if it alone takes more. The norms of opened
    /// embedding objects, 4 bytes a row, stay even beyond it. Without a limit the shares of the
    /// [`MemoryLimit`](crate::MemoryLimit) apply.
    pub max_bytes: Option<u64>,
}

impl Warm {
    /// With the columns of all parts.
    #[must_use]
    pub fn columns(self) -> Self {
        Self { columns: true, ..self }
    }

    /// With the documents of all parts, and the columns.
    #[must_use]
    pub fn documents(self) -> Self {
        Self { columns: true, documents: true, ..self }
    }

    /// With the codes of 1 bit a dimension.
    #[must_use]
    pub fn signs(self) -> Self {
        Self { signs: true, ..self }
    }

    /// With the codes of 8 bits a dimension.
    #[must_use]
    pub fn bytes(self) -> Self {
        Self { bytes: true, ..self }
    }

    /// With the embeddings in f32.
    #[must_use]
    pub fn rows(self) -> Self {
        Self { rows: true, ..self }
    }

    /// Within this much memory.
    #[must_use]
    pub fn max_bytes(self, bytes: u64) -> Self {
        Self { max_bytes: Some(bytes), ..self }
    }

    /// The tiers of embedding objects, the most useful for their bytes first.
    pub(crate) fn tiers(self) -> impl Iterator<Item = Tier> {
        let wanted = [(self.signs, Tier::Signs), (self.bytes, Tier::Bytes), (self.rows, Tier::Rows)];
        wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, tier)| tier)
    }
}

/// The amount of a reader's snapshots in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warmth {
    /// Number of parts of the snapshots.
    pub parts: u64,
    /// Number of parts with their columns in memory.
    pub kept: u64,
    /// Number of parts with their documents in memory.
    pub documents: u64,
    /// Number of embedding objects with a live row.
    pub objects: u64,
    /// Number of these objects with their codes of 1 bit a dimension in memory, or mapped from a
    /// local folder.
    pub signs: u64,
    /// The same for the codes of 8 bits a dimension.
    pub bytes: u64,
    /// The same for the embeddings in f32.
    pub rows: u64,
    /// Memory of all of it, with the index of searches. Mappings of a local folder take none.
    pub memory_bytes: u64,
    /// Memory of the index of searches. If no search has made it yet, this is an estimate for the
    /// base. A search needs all of it, and fails if it alone exceeds [`Warm::max_bytes`].
    pub index_bytes: u64,
    /// The levels that the caller asked for.
    pub(crate) wanted: Warm,
}

impl Warmth {
    /// Whether all levels asked for are in memory.
    pub fn is_complete(&self) -> bool {
        let Warm { columns, documents, signs, bytes, rows, max_bytes: _ } = self.wanted;
        let levels = [
            (columns, self.kept, self.parts),
            (documents, self.documents, self.parts),
            (signs, self.signs, self.objects),
            (bytes, self.bytes, self.objects),
            (rows, self.rows, self.objects),
        ];
        levels.into_iter().all(|(wanted, held, all)| !wanted || held == all)
    }
}

impl Objects {
    /// Adds the objects' tiers in memory to `warmth`.
    pub(crate) fn count(&self, warmth: &mut Warmth) {
        let names = self.manifest.runs.iter().flat_map(|run| &run.parts).map(|entry| entry.name);
        for name in names {
            warmth.parts += 1;
            let Some(part) = self.pools.parts.peek(&(self.shard.id(), name)) else { continue };
            warmth.kept += u64::from(part.has_all_columns());
            warmth.documents += u64::from(part.has_all_columns() && part.has_all_documents());
        }
        let mapped = self.shard.store().maps_objects();
        for (opened, _) in self.live_objects() {
            let warm = |tier| u64::from(opened.is_warm(tier, mapped));
            warmth.objects += 1;
            warmth.signs += warm(Tier::Signs);
            warmth.bytes += warm(Tier::Bytes);
            warmth.rows += warm(Tier::Rows);
        }
    }

    /// Brings a tier of as many embedding objects as fit into memory. If the store maps them, it
    /// reads and verifies the pages.
    pub(crate) async fn warm_tier(&self, tier: Tier, used: u64) -> Result<()> {
        if self.shard.store().maps_objects() {
            for (opened, _) in self.live_objects() {
                let embeddings = self.open(opened, &[tier], used).await?;
                let read = env::blocking(move || {
                    let mut all = EmbeddingSection::ALL.into_iter().filter(|section| tier.sections().contains(section));
                    all.try_for_each(|section| embeddings.section(section, 0..embeddings.rows()).map(|_| ()))
                });
                let key = self.shard.layout().part(PartObject::Embeddings(opened.name()));
                read.await.map_err(|error| Error::format(&key, error))?;
            }
            return Ok(());
        }
        self.live_objects().for_each(|(opened, _)| drop(opened.held(&[tier], used)));
        let missing: Vec<_> = self.live_objects().filter(|(opened, _)| !opened.is_warm(tier, false)).collect();
        for some in missing.chunks(OPENS) {
            let mut planned = 0;
            let mut opens = Vec::new();
            for (opened, entry) in some {
                let bytes = |tier: Tier| {
                    let range =
                        EmbeddingsFront::written_range(self.shard.config().dimension, entry.rows, tier.sections());
                    range.end - range.start
                };
                let needed = bytes(tier) + bytes(Tier::Front);
                if self.pools.sections.make_room(planned + needed, used) {
                    planned += needed;
                    // The tier may lie in the temporary file.
                    opened.drop_tier(tier);
                    opens.push(self.open(opened, std::slice::from_ref(&tier), used));
                }
            }
            futures::future::try_join_all(opens).await?;
        }
        Ok(())
    }
}
