//! Verification of parts and embedding objects: follows each reference and reads each block.

use std::collections::BTreeMap;

use deltafold_format::{EmbeddingEntry, Form, Manifest, ObjectName, PartMeta, PartObject};

use super::{Verifier, VerifyReport};
use crate::error::{Error, Result};
use crate::store::Key;

impl<F: FnMut(&VerifyReport)> Verifier<'_, F> {
    /// Reads all parts. Their ids, forms and references must agree with the manifest.
    pub(super) async fn runs(&mut self, manifest: &Manifest) -> Result<()> {
        let mut references: BTreeMap<ObjectName, u32> = BTreeMap::new();
        for run in &manifest.runs {
            for entry in &run.parts {
                let key = self.shard.layout().part(PartObject::Meta(entry.name));
                let part = self.shard.part(entry).await;
                let Some(Some(part)) = self.damage(&key, part)? else { continue };
                self.report.rows += part.rows() as u64;
                let ends = (part.id(0), part.id(part.rows().saturating_sub(1)));
                if ends != (entry.min_id.as_str(), entry.max_id.as_str()) {
                    self.find(&key, "its ids are not those that the manifest lists");
                }
                let whole = |row| matches!(part.form(row), Form::Put | Form::Revised);
                if run.resolved && !(0..part.rows()).all(whole) {
                    self.find(&key, "it belongs to the base and holds a row that is not a whole record");
                }
                let mut named = Vec::new();
                for (object, rows) in part.references() {
                    *references.entry(object).or_default() += rows;
                    named.push(object);
                }
                self.references(&key, &part, &manifest.embeddings);
                named.sort_unstable();
                if named != entry.embeddings {
                    self.find(&key, "it refers to other embedding objects than the manifest lists");
                }
                let last = (0..part.rows()).map(|row| part.changed(row)).max();
                if last.is_some_and(|last| last.sequence() > run.last) {
                    self.find(&key, "it holds a change from a segment behind the end of its run");
                }
                self.looked_at(entry.bytes);
            }
        }
        for entry in &manifest.embeddings {
            let live = references.remove(&entry.name).unwrap_or(0);
            if live != entry.live {
                let key = self.shard.layout().part(PartObject::Embeddings(entry.name));
                let problem = format!("{live} rows refer to it, and the manifest counts {}", entry.live);
                self.find(&key, problem);
            }
        }
        for (object, rows) in references {
            let key = self.shard.layout().part(PartObject::Embeddings(object));
            self.find(&key, format!("{rows} rows refer to it, and the manifest does not list it"));
        }
        Ok(())
    }

    /// Checks that each row that a part refers to lies within a listed object.
    pub(super) fn references(&mut self, key: &Key, part: &PartMeta, listed: &[EmbeddingEntry]) {
        let rows: BTreeMap<ObjectName, u32> = listed.iter().map(|entry| (entry.name, entry.rows)).collect();
        let mut beyond: BTreeMap<ObjectName, u32> = BTreeMap::new();
        for place in part.embedding_refs() {
            if rows.get(&place.object).is_some_and(|rows| place.row >= *rows) {
                let highest = beyond.entry(place.object).or_default();
                *highest = place.row.max(*highest);
            }
        }
        for (object, row) in beyond {
            let object_key = self.shard.layout().part(PartObject::Embeddings(object));
            let rows = rows.get(&object).copied().unwrap_or_default();
            self.find(key, format!("it refers to row {row} of `{object_key}`, which has {rows}"));
        }
    }

    /// Reads every block of every embedding object.
    pub(super) async fn embeddings(&mut self, manifest: &Manifest) -> Result<()> {
        for entry in &manifest.embeddings {
            self.embedding_object(entry).await?;
        }
        Ok(())
    }

    /// Reads every block of one embedding object.
    pub(super) async fn embedding_object(&mut self, entry: &EmbeddingEntry) -> Result<()> {
        let key = self.shard.layout().part(PartObject::Embeddings(entry.name));
        let opened = self.shard.embeddings(entry).await;
        let Some(Some(embeddings)) = self.damage(&key, opened)? else { return Ok(()) };
        let checked = crate::env::blocking(move || embeddings.verify_all()).await;
        self.damage(&key, checked.map_err(|error| Error::format(&key, error)))?;
        self.looked_at(entry.bytes);
        Ok(())
    }
}
