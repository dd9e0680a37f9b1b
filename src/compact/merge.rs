//! Merging turns adjacent runs into one, part by part.

mod cursors;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use deltafold_format::{
    Effect, EmbeddingEntry, EmbeddingRef, EmbeddingSection, Embeddings, Form, Manifest, ObjectName, PartEntry,
    PartMeta, PartObject, Run, TimeRange, Timestamp,
};

use super::policy::MergePlan;
use super::retention::forgotten_before;
use super::run_writer::{RunWriter, is_large, is_large_in_memory};
use crate::error::{Error, Repr, Result};
use crate::scratch::{Overflow, Scratch};
use crate::shard::Shard;
use crate::shard::objects::objects;
use crate::snapshot::{Accounting, Conflict, Merge, ReferenceChange};
use crate::store::resident;
use cursors::{Cursor, Cursors};

/// Merges the runs of `plan` into one that is written but not published. Costs one GET for each
/// part and embedding object read, one PUT for each written. The front of a large part of a newer
/// run costs another GET where the base takes the part in. Memory: one part of each input run, and
/// one object of each kind being filled.
pub(crate) async fn merge(shard: &Shard, manifest: &Manifest, plan: &MergePlan) -> Result<Merge> {
    let inputs: Vec<&Run> = manifest.runs.iter().filter(|run| plan.inputs.contains(&run.id)).collect();
    let Some((oldest, newest)) = inputs.first().zip(inputs.last()) else {
        return Err(Error::invalid("a merge needs runs to merge"));
    };
    let resolved = oldest.resolved;
    let forget = if resolved { forgotten_before(shard, manifest).await? } else { Timestamp::from_millis(i64::MIN) };
    let mut merging = Merging {
        shard,
        entries: manifest.embeddings.iter().map(|entry| (entry.name, entry)).collect(),
        rewrite: &plan.rewrite,
        opened: HashMap::new(),
        overflow: Overflow::new(Scratch::default(), shard.memory().embeddings()),
        resolved,
        forget,
        writer: RunWriter::new(shard.clone(), manifest.version),
        accounting: Accounting { rows_in: inputs.iter().map(|run| run.rows).sum(), ..Accounting::default() },
        removed: BTreeMap::new(),
        copied: 0,
    };
    let mut cursors = Cursors::new(&inputs);
    loop {
        let parts_left = cursors.oldest_parts_left();
        let Some((lowest, limit)) = cursors.lowest() else { break };
        if let [only] = lowest {
            match only.whole_part_below(limit).filter(|entry| merging.may_carry(entry)) {
                Some(entry) if merging.is_carried(only, entry).await? => merging.carry(only, entry).await?,
                _ => merging.copy_below(only, limit).await?,
            }
        } else {
            merging.compose(lowest).await?;
        }
        cursors.reorder();
        if cursors.oldest_parts_left() < parts_left {
            merging.writer.end_part().await?;
        }
    }
    let Merging { writer, mut accounting, removed, .. } = merging;
    let written = writer.finish().await?;
    accounting.rows_out = written.rows;
    accounting.bytes_out = written.bytes;
    let mut references: BTreeMap<ObjectName, ReferenceChange> = BTreeMap::new();
    for (name, removed) in removed {
        references.entry(name).or_default().removed += removed;
    }
    for (name, added) in written.references {
        references.entry(name).or_default().added += added;
    }
    let output = Run {
        id: shard.env().nonce(),
        level: plan.level,
        resolved,
        first: oldest.first,
        last: newest.last,
        rows: written.rows,
        times: inputs.iter().map(|run| run.times).reduce(TimeRange::union).unwrap_or_default(),
        parts: written.parts,
    };
    Ok(Merge { inputs: plan.inputs.clone(), output, embeddings: written.embeddings, references, accounting })
}

/// Embeddings that a merge copies before it gives back the pages of mapped inputs: about 2 MiB of
/// 384 numbers each.
const ROWS_RESIDENT: u32 = 1_024;

/// A merge under way.
struct Merging<'a> {
    shard: &'a Shard,
    entries: BTreeMap<ObjectName, &'a EmbeddingEntry>,
    rewrite: &'a BTreeSet<ObjectName>,
    opened: HashMap<ObjectName, Embeddings>,
    /// The place of opened embedding objects.
    overflow: Overflow,
    /// The output is the base: no older rows lie under its own.
    resolved: bool,
    /// The base may forget the absence of a record that was last stated before this.
    forget: Timestamp,
    writer: RunWriter,
    accounting: Accounting,
    /// The references from the parts read to each embedding object.
    removed: BTreeMap<ObjectName, u32>,
    /// Embeddings copied.
    copied: u32,
}

impl Merging<'_> {
    /// Whether the output may take a part alone in its id range by reference.
    fn may_carry(&self, entry: &PartEntry) -> bool {
        let whole = self.writer.may_close() && (entry.absent.rows == 0 || entry.absent.oldest >= self.forget);
        whole && entry.embeddings.iter().all(|object| !self.rewrite.contains(object))
    }

    /// Whether the output takes the cursor's part by reference: the part is large, and its rows may
    /// stay as they are. Loads a part that is neither.
    async fn is_carried(&mut self, cursor: &mut Cursor<'_>, entry: &PartEntry) -> Result<bool> {
        // In a log-ordered collection the base holds whole records alone. Its own parts do; a part
        // of a newer run may hold upserts, patches and deletes.
        let fits = !self.resolved || cursor.number == 0 || self.shard.config().ordering.is_revision();
        if cursor.loaded.is_some() {
            return Ok(false);
        }
        if is_large(entry) {
            return Ok(fits || self.front(entry).await?.resolved());
        }
        let Some((front, object)) = self.shard.stored_part(entry).await? else {
            return Err(vanished(self.shard, PartObject::Meta(entry.name)).await);
        };
        // Long documents may compress to almost nothing.
        if is_large_in_memory(&front) && (fits || front.resolved()) {
            self.accounting.bytes_in += entry.bytes;
            return Ok(true);
        }
        let part = self.shard.decoded_part(entry, front, object).await?;
        self.loaded(cursor, entry, part);
        Ok(false)
    }

    /// The front of a part.
    async fn front(&mut self, entry: &PartEntry) -> Result<PartMeta> {
        let Some(front) = self.shard.part_front(entry, entry.front_bytes).await? else {
            return Err(vanished(self.shard, PartObject::Meta(entry.name)).await);
        };
        self.accounting.bytes_in += entry.front_bytes;
        Ok(front)
    }

    async fn carry(&mut self, cursor: &mut Cursor<'_>, entry: &PartEntry) -> Result<()> {
        self.accounting.carried += u64::from(entry.rows);
        self.writer.carry(entry.clone()).await?;
        cursor.next_part();
        Ok(())
    }

    /// Loads the cursor's part, if need be.
    async fn load(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let Some(entry) = cursor.parts.first().filter(|_| cursor.loaded.is_none()) else { return Ok(()) };
        let Some(part) = self.shard.part(entry).await? else {
            return Err(vanished(self.shard, PartObject::Meta(entry.name)).await);
        };
        self.loaded(cursor, entry, part);
        Ok(())
    }

    /// Takes in the cursor's part, whose rows go into new parts one by one.
    fn loaded(&mut self, cursor: &mut Cursor<'_>, entry: &PartEntry, part: PartMeta) {
        for (object, rows) in part.references() {
            *self.removed.entry(object).or_default() += rows;
        }
        self.accounting.bytes_in += entry.bytes;
        if cursor.number == 0 {
            self.writer.expect(&part);
        }
        cursor.loaded = Some(part);
    }

    /// Copies the rows of one part up to `limit`. No other run has ids in that range.
    async fn copy_below(&mut self, cursor: &mut Cursor<'_>, limit: Option<&[u8]>) -> Result<()> {
        self.load(cursor).await?;
        let Some(part) = cursor.loaded.take() else { return Ok(()) };
        let end = limit.map_or(part.rows(), |limit| cursor.find(&part, limit));
        for row in cursor.row..end {
            self.copy(&part, row).await?;
        }
        if end == part.rows() {
            cursor.next_part();
        } else {
            cursor.row = end;
            cursor.loaded = Some(part);
        }
        Ok(())
    }

    /// Copies one row that stands alone.
    async fn copy(&mut self, part: &PartMeta, row: usize) -> Result<()> {
        let as_it_stands = match part.form(row) {
            Form::Split => false,
            Form::Revised => !self.resolved || part.absent().rows == 0 || part.absent().oldest >= self.forget,
            form => !self.resolved || form == Form::Put,
        };
        if !as_it_stands {
            return self.write(part.id(row), part.effect(row).map_err(Error::not_loaded)?).await;
        }
        let moved = match part.embedding_ref(row) {
            Some(from) if self.rewrite.contains(&from.object) => Some(self.embed(from).await?),
            _ => None,
        };
        self.writer.copy(part, row, moved).await
    }

    /// Composes the rows that several runs have for one id.
    async fn compose(&mut self, cursors: &mut [Cursor<'_>]) -> Result<()> {
        let mut composed: Option<(String, Effect<EmbeddingRef>)> = None;
        for cursor in cursors {
            self.load(cursor).await?;
            if let Some(part) = &cursor.loaded {
                let newer = part.effect(cursor.row).map_err(Error::not_loaded)?;
                composed = Some(match composed {
                    None => (part.id(cursor.row).to_owned(), newer),
                    Some((id, older)) => {
                        self.accounting.composed += 1;
                        (id, older.then(newer))
                    }
                });
            }
            cursor.advance();
        }
        match composed {
            Some((id, effect)) => self.write(&id, effect).await,
            None => Ok(()),
        }
    }

    /// Writes one row, resolved where the output is the base.
    async fn write(&mut self, id: &str, mut effect: Effect<EmbeddingRef>) -> Result<()> {
        if self.resolved {
            let Some(record) = effect.into_base(self.forget) else {
                self.accounting.absent += 1;
                return Ok(());
            };
            effect = record;
        }
        let mut moved: Vec<(EmbeddingRef, EmbeddingRef)> = Vec::new();
        for from in effect.embeddings() {
            if self.rewrite.contains(&from.object) && moved.iter().all(|(source, _)| source != from) {
                moved.push((*from, self.embed(*from).await?));
            }
        }
        let place = |from: EmbeddingRef| moved.iter().find(|(source, _)| *source == from).map_or(from, |(_, to)| *to);
        let effect = effect.map_embedding(&mut { place });
        self.writer.push(id, &effect).await
    }

    /// Copies an embedding into the object being filled.
    async fn embed(&mut self, from: EmbeddingRef) -> Result<EmbeddingRef> {
        let object = PartObject::Embeddings(from.object);
        if !self.opened.contains_key(&from.object) {
            let entry = self.entries.get(&from.object).copied();
            let opened = match entry {
                Some(entry) => self.shard.embeddings_in(entry, &self.overflow).await?,
                None => {
                    return Err(Error::corrupt(
                        &self.shard.layout().part(object),
                        "a part refers to it, and the manifest does not list it",
                    ));
                }
            };
            match opened {
                Some(embeddings) => self.opened.insert(from.object, embeddings),
                None => return Err(vanished(self.shard, object).await),
            };
        }
        self.give_back();
        let embeddings = self.opened.get(&from.object).expect("it was opened above");
        self.accounting.bytes_in += u64::from(embeddings.dimension()) * size_of::<f32>() as u64;
        let copied = self.writer.embed_copy(embeddings, from.row).await?;
        copied.map_err(|error| Error::format(&self.shard.layout().part(object), error))
    }
}

impl Merging<'_> {
    /// Gives back the pages of opened embedding objects every [`ROWS_RESIDENT`] rows. A merge
    /// copies each row once.
    fn give_back(&mut self) {
        self.copied += 1;
        if self.copied.is_multiple_of(ROWS_RESIDENT) {
            for embeddings in self.opened.values() {
                if let Some(rows) = embeddings.held_bytes(EmbeddingSection::Rows) {
                    resident::give_back(rows);
                }
            }
        }
    }
}

/// The reason why an input is gone. Another compactor merged it meanwhile, which is no harm, or it
/// is lost.
async fn vanished(shard: &Shard, object: PartObject) -> Error {
    match shard.current().await {
        Ok((_, manifest)) if objects(&manifest).contains(&object) => Repr::Missing(shard.layout().part(object)).into(),
        Ok((_, manifest)) => Conflict::InputsVanished.into_error(shard.id(), manifest.version),
        Err(error) => error,
    }
}
