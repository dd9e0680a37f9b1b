//! Makes the records of an answer. Those of one part are read together.

use std::collections::BTreeMap;

use deltafold_format::{PartFields, Stored};
use futures::future::try_join;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::owner::Owner;
use super::probe::Searched;
use super::request::Include;
use crate::error::{Error, Result};
use crate::reader::{EmbeddingSource, Entry, Need, Reads};

/// Records made at once.
const RECORDS: usize = 8;
/// Parts read at once: those of ten hits in one round of requests.
const PARTS: usize = 16;

/// The records of some owners, each with its shard's number, in their order and with the wanted
/// fields.
///
/// It reads the columns of a part once, and only the blocks of documents that these records need.
/// Documents, columns and embeddings are fetched at the same time.
pub(super) async fn entries(
    shards: &[Searched],
    owners: &[(usize, Owner)],
    include: Include,
    reads: Reads,
) -> Result<Vec<Entry>> {
    let mut of_part: BTreeMap<(usize, usize), Vec<(usize, usize)>> = BTreeMap::new();
    let mut fresh = Vec::new();
    for (at, (shard, owner)) in owners.iter().enumerate() {
        // Owners name shards of this search.
        let Some(searched) = shards.get(*shard) else { continue };
        match owner {
            Owner::Base(row) => {
                let (part, row) = searched.index.base().place(*row);
                of_part.entry((*shard, part)).or_default().push((at, row));
            }
            Owner::Fresh(number) => fresh.push(touched(at, searched, *number, include, reads)),
        }
    }
    let mut found: Vec<Option<Entry>> = Vec::new();
    found.resize_with(owners.len(), || None);
    let mut place = |at: usize, entry: Entry| {
        if let Some(slot) = found.get_mut(at) {
            *slot = Some(include.cut(entry));
        }
    };
    // Collected first: a stream of futures that borrow is not known to be `Send`.
    let of_parts: Vec<_> = of_part
        .iter()
        .filter_map(|((shard, part), rows)| Some(rows_of_part(shards.get(*shard)?, *part, rows, include, reads)))
        .collect();
    let mut of_parts = stream::iter(of_parts).buffer_unordered(PARTS);
    while let Some(records) = of_parts.try_next().await? {
        records.into_iter().for_each(|(at, entry)| place(at, entry));
    }
    let mut fresh = stream::iter(fresh).buffer_unordered(RECORDS);
    while let Some((at, entry)) = fresh.try_next().await? {
        place(at, entry);
    }
    Ok(found.into_iter().flatten().collect())
}

/// Records of the base in one part, each with its place in the answer.
async fn rows_of_part(
    searched: &Searched,
    number: usize,
    rows: &[(usize, usize)],
    include: Include,
    reads: Reads,
) -> Result<Vec<(usize, Entry)>> {
    let snapshot = &searched.snapshot;
    let front = snapshot.part(0, number, Need::Front, true).await?;
    // The front holds the places of embeddings, so they need not wait for the rest.
    let bare = PartFields { metadata: false, document: false };
    let mut without_fields = Vec::with_capacity(rows.len());
    for (_, row) in rows {
        let stored = front.resolved_record(*row, bare).map_err(Error::not_loaded)?;
        let Some(stored) = stored else { return Err(gone(searched)) };
        let record = stored.record.map_embedding(EmbeddingSource::Stored);
        let stored = Stored { record, inserted: stored.inserted, changed: stored.changed };
        without_fields.push((front.id(*row).to_owned(), stored));
    }
    let fields = PartFields { metadata: include.metadata, document: include.document };
    if reads == Reads::Nothing && fields == bare {
        let entries = without_fields.into_iter().map(|(id, stored)| snapshot.entry_without_embedding(id, stored));
        return Ok(rows.iter().map(|(at, _)| *at).zip(entries).collect());
    }
    let embeddings: Vec<_> = without_fields.into_iter().map(|(id, stored)| snapshot.entry(id, stored, reads)).collect();
    let entries = stream::iter(embeddings).buffered(RECORDS).try_collect::<Vec<Entry>>();
    let need = if include.metadata { Need::Columns } else { Need::Front };
    let documents = rows.iter().map(|(_, row)| *row).filter(|_| include.document);
    let part = snapshot.documents(0, number, front.clone(), need, documents);
    let (part, entries) = try_join(part, entries).await?;
    let mut made = Vec::with_capacity(rows.len());
    for ((at, row), mut entry) in rows.iter().zip(entries) {
        if fields != bare
            && let Some(stored) = part.resolved_record(*row, fields).map_err(Error::not_loaded)?
        {
            entry.record.metadata = stored.record.metadata;
            entry.record.document = stored.record.document;
        }
        made.push((*at, entry));
    }
    Ok(made)
}

/// A record that newer runs or the log have touched.
async fn touched(
    at: usize,
    searched: &Searched,
    number: u32,
    include: Include,
    reads: Reads,
) -> Result<(usize, Entry)> {
    let snapshot = &searched.snapshot;
    let id = searched.index.fresh_at(number).map(|fresh| fresh.id.to_string()).unwrap_or_default();
    let stored = if include.document { snapshot.get(&id).await? } else { snapshot.get_without_document(&id).await? };
    let Some(stored) = stored else { return Err(gone(searched)) };
    Ok((at, snapshot.entry(id, stored, reads).await?))
}

/// The error for a record that a snapshot's index names, but that a second read of the same
/// snapshot does not find. The cause is an object that another program changed under its name.
fn gone(searched: &Searched) -> Error {
    let manifest = searched.snapshot.objects.manifest().name();
    let key = searched.snapshot.shard.layout().manifest(manifest);
    Error::corrupt(&key, "an object that it lists changed between two reads")
}
