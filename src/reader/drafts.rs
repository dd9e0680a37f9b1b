//! Records under construction. Their embeddings come last, those of one object together.

use std::collections::HashMap;
use std::sync::Arc;

use deltafold_format::{EmbeddingRef, ObjectName, Place, Record, Stored};

use super::compose::EmbeddingSource;
use super::entry::Entry;
use super::reads::Reads;
use super::sections::Tier;
use super::snapshot::Snapshot;
use crate::error::Result;

/// The missing embeddings of records under construction.
///
/// The caller numbers the places of the records. Each object is opened once for all of its rows,
/// and one object is held at a time.
#[derive(Debug)]
pub(super) struct Drafts {
    reads: Reads,
    objects: Vec<RowsOfObject>,
    /// The index of an object in `objects`.
    numbers: HashMap<(usize, ObjectName), usize>,
    /// The object used last: neighbours often share theirs.
    last: usize,
}

#[derive(Debug)]
struct RowsOfObject {
    snapshot: usize,
    name: ObjectName,
    /// Each with the place of its record.
    rows: Vec<(u32, usize)>,
}

impl Drafts {
    pub(super) fn new(reads: Reads) -> Self {
        Self { reads, objects: Vec::new(), numbers: HashMap::new(), last: 0 }
    }

    /// Begins the record of `place`. Also returns the bytes of memory that its embedding will take.
    pub(super) fn begin<E: Into<EmbeddingSource>>(
        &mut self,
        (number, snapshot): (usize, &Snapshot),
        place: usize,
        id: String,
        stored: Stored<E, Place>,
    ) -> (Entry, usize) {
        let Stored { record: Record { embedding, metadata, document }, inserted, changed } = stored;
        let mut to_come = 0;
        let embedding = match embedding.filter(|_| self.reads != Reads::Nothing).map(Into::into) {
            Some(EmbeddingSource::Stored(at)) => {
                to_come = snapshot.shard.config().dimension as usize * size_of::<f32>();
                self.want(number, at, place);
                None
            }
            source => source.as_ref().and_then(EmbeddingSource::numbers).map(<[f32]>::to_vec),
        };
        let record = Record { embedding, metadata, document };
        (Entry { id, record, inserted, changed, shard: snapshot.shard.id() }, to_come)
    }

    fn want(&mut self, snapshot: usize, at: EmbeddingRef, place: usize) {
        let is_same = |known: &RowsOfObject| known.name == at.object && known.snapshot == snapshot;
        if !self.objects.get(self.last).is_some_and(is_same) {
            self.last = *self.numbers.entry((snapshot, at.object)).or_insert(self.objects.len());
            if self.last == self.objects.len() {
                self.objects.push(RowsOfObject { snapshot, name: at.object, rows: Vec::new() });
            }
        }
        if let Some(object) = self.objects.get_mut(self.last) {
            object.rows.push((at.row, place));
        }
    }

    /// Reads the embeddings of the records whose places are below `end`.
    pub(super) async fn finish(
        self,
        snapshots: &[Arc<Snapshot>],
        end: usize,
        mut give: impl FnMut(usize, Vec<f32>) + Send,
    ) -> Result<()> {
        for RowsOfObject { snapshot, name, mut rows } in self.objects {
            let Some(snapshot) = snapshots.get(snapshot) else { continue };
            rows.retain(|(_, place)| *place < end);
            if rows.is_empty() {
                continue;
            }
            if self.reads == Reads::Object {
                let object = snapshot.embedding_object(name, &[Tier::Rows], 0).await?;
                for (row, place) in rows {
                    give(place, object.row(row)?);
                }
            } else {
                for (row, place) in rows {
                    give(place, snapshot.embedding(EmbeddingRef { object: name, row }, self.reads).await?);
                }
            }
        }
        Ok(())
    }
}
