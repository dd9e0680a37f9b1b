//! Making the records of an answer: those of one part are read together.

use std::collections::BTreeMap;

use deltafold_format::{PartFields, Place, Stored};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::base::Owner;
use super::request::Include;
use super::scan::Searched;
use crate::error::{Error, Result};
use crate::reader::{EmbeddingSource, Entry, Need, Reads};

/// Records that are made at once.
const RECORDS: usize = 8;
/// Parts that are read at once.
const PARTS: usize = 8;

/// A record that was found: its id, and what it holds.
type Found = (String, Option<Stored<EmbeddingSource, Place>>);

/// The records of some owners, each with its shard's number, in their order and with the wanted fields. It reads the
/// columns of a part once, and of its documents only the blocks that hold those of these records.
pub(super) async fn entries(
    shards: &[Searched],
    owners: &[(usize, Owner)],
    include: Include,
    reads: Reads,
) -> Result<Vec<Entry>> {
    let mut of_part: BTreeMap<(usize, usize), Vec<(usize, usize)>> = BTreeMap::new();
    let mut fresh = Vec::new();
    for (at, (shard, owner)) in owners.iter().enumerate() {
        let Some(searched) = shards.get(*shard) else {
            unreachable!("an owner names a shard that was searched");
        };
        match owner {
            Owner::Base(row) => {
                let (part, row) = searched.index.base().place(*row);
                of_part.entry((*shard, part)).or_default().push((at, row));
            }
            Owner::Fresh(number) => fresh.push((at, searched, *number)),
        }
    }
    let mut found: Vec<Option<Found>> = Vec::new();
    found.resize_with(owners.len(), || None);
    // Gathered first: a stream of futures that borrow is not known to be `Send`.
    let parts: Vec<_> = of_part
        .iter()
        .filter_map(|((shard, part), rows)| Some(rows_of_part(shards.get(*shard)?, *part, rows, include)))
        .collect();
    let mut parts = stream::iter(parts).buffer_unordered(PARTS);
    while let Some(records) = parts.try_next().await? {
        for (at, record) in records {
            if let Some(slot) = found.get_mut(at) {
                *slot = Some(record);
            }
        }
    }
    let touched: Vec<_> =
        fresh.into_iter().map(|(at, searched, number)| touched(at, searched, number, include)).collect();
    let mut touched = stream::iter(touched).buffer_unordered(RECORDS);
    while let Some((at, record)) = touched.try_next().await? {
        if let Some(slot) = found.get_mut(at) {
            *slot = Some(record);
        }
    }
    let records = found.into_iter().zip(owners).filter_map(|(found, (shard, _))| Some((found?, shards.get(*shard)?)));
    let records: Vec<_> = records
        .map(|((id, stored), searched)| async move {
            let Some(stored) = stored else { unreachable!("an index names the records of its own snapshot") };
            Ok(include.cut(searched.snapshot.entry(id, stored, reads).await?))
        })
        .collect();
    stream::iter(records).buffered(RECORDS).try_collect().await
}

/// Records of the base that lie in one part, each with its place in the answer.
async fn rows_of_part(
    searched: &Searched,
    number: usize,
    rows: &[(usize, usize)],
    include: Include,
) -> Result<Vec<(usize, Found)>> {
    let snapshot = &searched.snapshot;
    let need = if include.metadata { Need::Columns } else { Need::Front };
    let mut part = snapshot.part(0, number, need, true).await?;
    if include.document {
        part = snapshot.documents(0, number, part, rows.iter().map(|(_, row)| *row)).await?;
    }
    let fields = PartFields { metadata: include.metadata, document: include.document };
    let record = |(at, row): &(usize, usize)| {
        let stored = part.resolved_record(*row, fields).map_err(Error::not_loaded)?;
        let stored = stored.map(|stored| Stored {
            record: stored.record.map_embedding(EmbeddingSource::Stored),
            inserted: stored.inserted,
            changed: stored.changed,
        });
        Ok((*at, (part.id(*row).to_owned(), stored)))
    };
    rows.iter().map(record).collect()
}

/// A record that newer runs or the log have touched.
async fn touched(at: usize, searched: &Searched, number: u32, include: Include) -> Result<(usize, Found)> {
    let id = searched.index.fresh_at(number).map(|fresh| fresh.id.to_string()).unwrap_or_default();
    let stored = if include.document {
        searched.snapshot.get(&id).await?
    } else {
        searched.snapshot.get_without_document(&id).await?
    };
    Ok((at, (id, stored)))
}
