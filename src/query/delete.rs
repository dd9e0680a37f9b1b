//! Deletes by filter.

use deltafold_format::{Op, Revision};
use futures::StreamExt as _;

use super::filter::Filter;
use super::find::Find;
use super::request::Include;
use crate::error::{Error, Result};
use crate::log::Writer;
use crate::reader::{Order, Reader};

/// Deletes in one append.
const BATCH: usize = 1_024;

impl Writer {
    /// Deletes the records that match in the snapshot of `reader`, and returns their number.
    ///
    /// The filter decides on the reader's snapshot. If others change, insert or delete a record
    /// meanwhile, its state in the snapshot decides. In a collection ordered by revision the
    /// deletes have the given revision, so records changed at a higher one stay.
    ///
    /// Deletes are appended in batches, each of which is durable when it is acknowledged. If the
    /// call fails, some records may be deleted, and the same call deletes the others.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::find`] and of [`append`](Self::append).
    pub async fn delete_matching(&self, reader: &Reader, filter: &Filter, revision: Option<Revision>) -> Result<u64> {
        let include = Include::NOTHING;
        let found = reader.find(&Find { order: Order::Id, include, ..Find::new(filter.clone()) }).await?;
        let mut deleted = 0;
        let mut batches = found.chunks(BATCH);
        while let Some(batch) = batches.next().await {
            let entries = batch.into_iter().collect::<Result<Vec<_>, Error>>()?;
            let delete = |id: String| match revision {
                Some(revision) => Op::delete(id).at(revision),
                None => Op::delete(id),
            };
            deleted += entries.len() as u64;
            self.append(entries.into_iter().map(|entry| delete(entry.id)).collect()).await?;
        }
        Ok(deleted)
    }
}
