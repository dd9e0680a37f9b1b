//! Reads large objects in ranges.

use std::io;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::read::Fetched;
use super::spool::Destination;
use super::{Inner, RANGE_BYTES, RANGES_AT_ONCE};
use crate::retry;
use crate::store::{Key, StoreError, StoreErrorKind, Tag};

impl Inner {
    /// Reads the bytes from `from` on of the object that has this tag, several ranges at once.
    /// Retries each failed range alone.
    pub(super) async fn fetch_rest(
        &self,
        key: &Key,
        tag: &Tag,
        from: u64,
        total: u64,
        destination: &mut Destination,
        checksum: &mut crc32fast::Hasher,
    ) -> Result<(), StoreError> {
        let starts = (from..total).step_by(usize::try_from(RANGE_BYTES).unwrap_or(usize::MAX));
        let ranges = stream::iter(starts).map(|start| async move {
            let end = total.min(start + RANGE_BYTES);
            let permit = self.ranges.acquire().await;
            let bytes = retry::transient(|| self.fetch_range(key, tag, start, end)).await?;
            drop(permit);
            // Another read of the range is of no use: the caller begins anew.
            let changed =
                || StoreError::new(StoreErrorKind::Transient, "read", key, "the object changed while it was read");
            let bytes = bytes.ok_or_else(changed)?;
            let mut checksum = crc32fast::Hasher::new();
            checksum.update(&bytes);
            Ok::<_, StoreError>((start, bytes, checksum))
        });
        let mut ranges = ranges.buffered(RANGES_AT_ONCE);
        while let Some((start, bytes, of_range)) = ranges.try_next().await? {
            checksum.combine(&of_range);
            destination.put(start, bytes).await.map_err(|error| self.no_room(key, &error))?;
        }
        Ok(())
    }

    /// A temporary file failed.
    pub(super) fn no_room(&self, key: &Key, error: &io::Error) -> StoreError {
        let folder = self.temporary.display();
        let reason = format!(
            "a temporary file in `{folder}` cannot be used: {error}; free space there, or name another folder with `?temporary=`"
        );
        StoreError::new(StoreErrorKind::Permanent, "read", key, reason)
    }

    /// A range of the object that has this tag; `None` where that object is gone.
    async fn fetch_range(&self, key: &Key, tag: &Tag, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        match self.fetch(key, Some((start, end)), Some(tag)).await? {
            Fetched::Piece(piece) if piece.bytes.len() as u64 == end - start => Ok(Some(piece.bytes)),
            _ => Ok(None),
        }
    }
}
