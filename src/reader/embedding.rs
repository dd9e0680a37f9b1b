//! The embeddings of a snapshot.

use std::borrow::Cow;
use std::ops::Range;

use deltafold_format::{EmbeddingRef, EmbeddingSection, Embeddings, FormatError, ObjectName, PartObject};

use super::reads::Reads;
use super::sections::Tier;
use super::snapshot::Snapshot;
use super::spilled::Aside;
use crate::error::{Error, Result};
use crate::scratch::damaged;
use crate::shard::Shard;
use crate::store::resident;

impl Snapshot {
    /// The embedding of a record.
    pub(super) async fn embedding(&self, at: EmbeddingRef, reads: Reads) -> Result<Vec<f32>> {
        if let Some(object) = self.spilled_object(at.object).await? {
            return object.row(at.row);
        }
        let rows = at.row..at.row.saturating_add(1);
        if reads == Reads::Object {
            return self.embedding_object(at.object, &[Tier::Rows], 0).await?.row(at.row);
        }
        self.stored_rows(at.object, rows).await.map(|mut rows| rows.pop().unwrap_or_default())
    }

    /// An embedding object with at least these tiers. No request if they are in memory; in a
    /// temporary file all of them are. `used` is the number of the use.
    pub(crate) async fn embedding_object(
        &self,
        name: ObjectName,
        tiers: &[Tier],
        used: u64,
    ) -> Result<EmbeddingObject> {
        if let Some(spilled) = self.spilled_object(name).await? {
            return Ok(spilled);
        }
        let embeddings = self.objects.open(self.objects.embeddings(name)?, tiers, used).await?;
        Ok(EmbeddingObject { embeddings, name, spilled: false, shard: self.shard.clone() })
    }

    /// Notes the use of the held tiers of an embedding object.
    pub(crate) fn note_use(&self, name: ObjectName, tiers: &[Tier], used: u64) {
        if let Ok(opened) = self.objects.embeddings(name) {
            drop(opened.held(tiers, used));
        }
    }

    /// Some rows of an embedding object that the manifest lists. One GET, and one for the front if
    /// it is not in memory.
    pub(crate) async fn stored_rows(&self, name: ObjectName, rows: Range<u32>) -> Result<Vec<Vec<f32>>> {
        let opened = self.objects.embeddings(name)?;
        let Some(bytes) = opened.rows(&self.shard, &self.objects.pools().sections, rows).await? else {
            return Err(self.objects.gone(PartObject::Embeddings(name)).await);
        };
        Ok(bytes.chunks(EmbeddingSection::Rows.stride(self.shard.config().dimension).max(1)).map(floats).collect())
    }

    async fn spilled_object(&self, name: ObjectName) -> Result<Option<EmbeddingObject>> {
        for run in self.overlay.aside().iter().filter_map(Aside::run) {
            if let Some(embeddings) = run.embeddings(name).await? {
                let embeddings = Embeddings::clone(embeddings);
                return Ok(Some(EmbeddingObject { embeddings, name, spilled: true, shard: self.shard.clone() }));
            }
        }
        Ok(None)
    }
}

/// An embedding object with the tiers in memory.
#[derive(Debug, Clone)]
pub(crate) struct EmbeddingObject {
    pub(crate) embeddings: Embeddings,
    name: ObjectName,
    /// Whether it lies in the temporary file.
    spilled: bool,
    shard: Shard,
}

impl EmbeddingObject {
    pub(crate) fn name(&self) -> ObjectName {
        self.name
    }

    /// A row in f32, of an object that holds them.
    pub(super) fn row(&self, row: u32) -> Result<Vec<f32>> {
        self.read_row(row).map(Cow::into_owned).map_err(|error| self.error(error))
    }

    /// As `row`. It borrows from the object where its memory allows that. Where the store spares
    /// memory, it is a copy of a row that was verified before.
    pub(crate) fn read_row(&self, row: u32) -> Result<Cow<'_, [f32]>, FormatError> {
        if let Some(bytes) = self.verified_row(row)? {
            let mut copied = vec![0; bytes.len()];
            if resident::copy(bytes, &mut copied) {
                return Ok(Cow::Owned(floats(&copied)));
            }
        }
        let read = self.embeddings.row(row)?;
        if let Some(rows) = self.embeddings.held_bytes(EmbeddingSection::Rows) {
            resident::note_touch(rows);
        }
        Ok(read)
    }

    /// The bytes of a row in f32 that was verified before. Reads none of them.
    fn verified_row(&self, row: u32) -> Result<Option<&[u8]>, FormatError> {
        self.embeddings.verified(EmbeddingSection::Rows, row..row.saturating_add(1))
    }

    /// The error for damage in it.
    pub(crate) fn error(&self, error: FormatError) -> Error {
        if self.spilled {
            return damaged(&Error::format(&self.shard.layout().head(), error));
        }
        Error::format(&self.shard.layout().part(PartObject::Embeddings(self.name)), error)
    }
}

/// The numbers of a row.
fn floats(row: &[u8]) -> Vec<f32> {
    row.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
}
