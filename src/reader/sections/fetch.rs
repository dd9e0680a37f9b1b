//! Fetches sections and rows of embedding objects by range.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use deltafold_format::{EmbeddingSection, Embeddings, EmbeddingsFront, FormatError, FormatErrorKind, PartObject};
use futures::future::{try_join, try_join_all};

use super::{Kept, Opened, Room, Tier};
use crate::env;
use crate::error::{Error, Result};
use crate::shard::{READS_OF_DAMAGE, Shard};
use crate::store::{Key, resident};

/// Ranges with at most this many bytes between them are fetched as one: a request takes longer than
/// these bytes.
pub(super) const GAP: u64 = 64 << 10;

/// A fetched tier.
type Piece = (Tier, Bytes);

/// The cause of a failed fetch.
enum Fault {
    /// The bytes are invalid.
    Format(FormatError),
    Other(Error),
}

impl From<FormatError> for Fault {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Opened {
    /// The object with at least these tiers; `None` if it is gone.
    ///
    /// Costs nothing if they are in memory. Otherwise one GET for each stretch of adjoining tiers,
    /// all of them at once.
    pub(crate) async fn open(
        self: &Arc<Self>,
        shard: &Shard,
        room: &Room,
        tiers: &[Tier],
        used: u64,
    ) -> Result<Option<Embeddings>> {
        if let Some(held) = self.held(tiers, used) {
            return Ok(Some(held));
        }
        let _alone = self.fetching.lock().await;
        if let Some(held) = self.held(tiers, used) {
            return Ok(Some(held));
        }
        if shard.store().maps_objects() {
            let Some(whole) = shard.embeddings(&self.entry).await? else { return Ok(None) };
            self.lock().embeddings = Some(whole.clone());
            return Ok(Some(whole));
        }
        let known = self.held(&[], used);
        let is_missing = |tier: &Tier| {
            let wanted = *tier == Tier::Front || tiers.contains(tier) || (self.is_small() && known.is_none());
            wanted && known.as_ref().is_none_or(|known| !tier.is_in(known))
        };
        let missing: Vec<Tier> = Tier::ALL.into_iter().filter(is_missing).collect();
        let bytes = missing.iter().map(|tier| {
            let range = EmbeddingsFront::written_range(shard.config().dimension, self.entry.rows, tier.sections());
            range.end - range.start
        });
        let _fetching = room.fetching(bytes.sum()).await;
        let key = self.key(shard);
        let mut tries = Tries::new(&key);
        let fetched = loop {
            let fetched = match &known {
                Some(known) => self.fetch_more(shard, known, &missing).await,
                None => self.fetch_first(shard, &missing).await,
            };
            if let Some(fetched) = tries.judge(fetched)? {
                break fetched;
            }
        };
        match fetched {
            Fetched::Absent => Ok(None),
            Fetched::Foreign => self.open_whole(shard, room).await,
            Fetched::Pieces(front, pieces) => self.keep(room, *front, pieces, used).await.map(Some),
        }
    }

    /// Fetches tiers of an object of which only the manifest's entry is known.
    async fn fetch_first(&self, shard: &Shard, missing: &[Tier]) -> Result<Fetched, Fault> {
        let (dimension, rows) = (shard.config().dimension, self.entry.rows);
        let place = |tier: &Tier| {
            let range = EmbeddingsFront::written_range(dimension, rows, tier.sections());
            (*tier, if *tier == Tier::Front { 0..range.end } else { range })
        };
        let places: Vec<(Tier, Range<u64>)> = missing.iter().map(place).collect();
        let Some(pieces) = read(shard, &self.key(shard), &places).await? else { return Ok(Fetched::Absent) };
        let prefix = pieces.iter().find(|(tier, _)| *tier == Tier::Front).map(|(_, prefix)| prefix.clone());
        let front = match Embeddings::open_prefix(prefix.unwrap_or_default()) {
            Err(error) if error.kind() == FormatErrorKind::Truncated => return Ok(Fetched::Foreign),
            front => front?,
        };
        shard.check_embeddings(&self.entry, &front)?;
        let is_as_written = |(tier, range): &(Tier, Range<u64>)| {
            let found = front.front().sections_range(tier.sections());
            if *tier == Tier::Front { found.end == range.end } else { found == *range }
        };
        if !places.iter().all(is_as_written) {
            return Ok(Fetched::Foreign);
        }
        verified(&front, &pieces).await?;
        Ok(Fetched::Pieces(Box::new(front), pieces))
    }

    /// Fetches tiers of an object whose front is in memory.
    async fn fetch_more(&self, shard: &Shard, known: &Embeddings, missing: &[Tier]) -> Result<Fetched, Fault> {
        let place = |tier: &Tier| (*tier, known.front().sections_range(tier.sections()));
        let places: Vec<(Tier, Range<u64>)> = missing.iter().map(place).collect();
        let Some(pieces) = read(shard, &self.key(shard), &places).await? else { return Ok(Fetched::Absent) };
        verified(known, &pieces).await?;
        Ok(Fetched::Pieces(Box::new(known.clone()), pieces))
    }

    /// Opens an object in a layout that this program does not write. Its bytes go to the temporary
    /// file.
    async fn open_whole(&self, shard: &Shard, room: &Room) -> Result<Option<Embeddings>> {
        let Some(whole) = shard.embeddings_in(&self.entry, &room.overflow()).await? else { return Ok(None) };
        self.lock().embeddings = Some(whole.clone());
        Ok(Some(whole))
    }

    /// Keeps fetched tiers in memory.
    async fn keep(
        self: &Arc<Self>,
        room: &Room,
        front: Embeddings,
        pieces: Vec<Piece>,
        used: u64,
    ) -> Result<Embeddings> {
        let mut answer = front;
        for (tier, bytes) in pieces {
            let len = bytes.len() as u64;
            let (bytes, charge) = match tier {
                // The front is in memory already, because it opened the object. It is small, and
                // every other tier needs it.
                Tier::Front => (None, Some(room.charge(len))),
                _ => {
                    let (bytes, charge) = room.place(bytes, used).await?;
                    (Some(bytes), charge)
                }
            };
            let mut held = self.lock();
            let with = |embeddings: &Embeddings| match &bytes {
                Some(bytes) => embeddings.with_sections(tier.sections(), bytes).ok(),
                None => Some(embeddings.clone()),
            };
            // Other tiers may have been evicted meanwhile. The caller gets all that were there when
            // it asked.
            answer = with(&answer).unwrap_or(answer);
            let held_now = held.embeddings.as_ref().unwrap_or(&answer);
            let next = with(held_now);
            held.embeddings = next.or_else(|| held.embeddings.take());
            if let Some(kept) = held.tiers.get_mut(tier.place()) {
                *kept = Kept { charge, used };
            }
        }
        room.join(self);
        Ok(answer)
    }

    /// Some rows in f32, one after the other; `None` if the object is gone. One GET. If no tier was
    /// in memory before, a second one at the same time, for the front.
    pub(crate) async fn rows(self: &Arc<Self>, shard: &Shard, room: &Room, rows: Range<u32>) -> Result<Option<Bytes>> {
        let key = self.key(shard);
        let mut tries = Tries::new(&key);
        loop {
            if let Some(rows) = tries.judge(self.rows_once(shard, room, rows.clone()).await)? {
                return Ok(rows);
            }
        }
    }

    async fn rows_once(self: &Arc<Self>, shard: &Shard, room: &Room, rows: Range<u32>) -> Result<Option<Bytes>, Fault> {
        let key = self.key(shard);
        let written = EmbeddingsFront::written_rows(shard.config().dimension, self.entry.rows, rows.clone());
        let (front, bytes) = match self.held(&[], 0) {
            Some(front) => (Some(front), None),
            None if shard.store().maps_objects() || self.is_small() => (self.open(shard, room, &[], 0).await?, None),
            None => try_join(self.open(shard, room, &[], 0), shard.range(&key, written.clone())).await?,
        };
        let Some(front) = front else { return Ok(None) };
        if let Some(all) = front.held_bytes(EmbeddingSection::Rows) {
            if let Some(verified) = front.verified(EmbeddingSection::Rows, rows.clone())? {
                let mut copied = vec![0; verified.len()];
                if resident::copy(verified, &mut copied) {
                    return Ok(Some(copied.into()));
                }
            }
            let rows = Bytes::copy_from_slice(front.section(EmbeddingSection::Rows, rows)?);
            resident::note_touch(all);
            return Ok(Some(rows));
        }
        let range = front.front().range(EmbeddingSection::Rows, rows.clone());
        let bytes = match bytes.filter(|_| written == range) {
            Some(bytes) => Some(bytes),
            None => shard.range(&key, range).await?,
        };
        let Some(bytes) = bytes else { return Ok(None) };
        Ok(Some(front.front().verified(EmbeddingSection::Rows, rows, &bytes)?))
    }

    /// Whether the first range returns all of it: another request would take longer than its bytes.
    fn is_small(&self) -> bool {
        self.entry.bytes <= GAP
    }

    fn key(&self, shard: &Shard) -> Key {
        shard.layout().part(PartObject::Embeddings(self.entry.name))
    }
}

/// The result of a fetch from an object.
enum Fetched {
    Absent,
    /// This program does not write its layout.
    Foreign,
    /// The front, and all wanted tiers.
    Pieces(Box<Embeddings>, Vec<Piece>),
}

/// The reads of one range, which is read again if its checksums do not match.
struct Tries<'a> {
    key: &'a Key,
    reads: usize,
}

impl<'a> Tries<'a> {
    fn new(key: &'a Key) -> Self {
        Self { key, reads: 0 }
    }

    /// The result of a read; `None` if the range must be read again.
    fn judge<T>(&mut self, read: Result<T, Fault>) -> Result<Option<T>> {
        self.reads += 1;
        match read {
            Ok(read) => Ok(Some(read)),
            Err(Fault::Other(error)) => Err(error),
            Err(Fault::Format(error)) if error.kind() == FormatErrorKind::Checksum && self.reads < READS_OF_DAMAGE => {
                tracing::warn!(key = %self.key, %error, "the bytes read do not have their checksums; reading again");
                Ok(None)
            }
            Err(Fault::Format(error)) => Err(Error::format(self.key, error)),
        }
    }
}

/// Reads all tiers at once, those that lie near each other in one request. Each gets bytes of its
/// own.
async fn read(shard: &Shard, key: &Key, places: &[(Tier, Range<u64>)]) -> Result<Option<Vec<Piece>>> {
    let mut stretches: Vec<Range<u64>> = Vec::new();
    for (_, range) in places {
        match stretches.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP) => last.end = last.end.max(range.end),
            _ => stretches.push(range.clone()),
        }
    }
    let read = try_join_all(stretches.iter().map(|range| shard.range(key, range.clone()))).await?;
    let mut pieces = Vec::new();
    for (tier, range) in places {
        let stretch = stretches.iter().zip(&read).find(|(stretch, _)| stretch.contains(&range.start));
        let Some((stretch, Some(bytes))) = stretch else { return Ok(None) };
        let at = |place: u64| usize::try_from(place - stretch.start).unwrap_or(usize::MAX).min(bytes.len());
        let piece = bytes.slice(at(range.start)..at(range.end));
        let alone = piece.len() == bytes.len();
        pieces.push((*tier, if alone { piece } else { Bytes::copy_from_slice(&piece) }));
    }
    Ok(Some(pieces))
}

/// Verifies all blocks of fetched tiers.
async fn verified(front: &Embeddings, pieces: &[Piece]) -> Result<(), Fault> {
    let (mut with, pieces) = (front.clone(), pieces.to_vec());
    let verifying = env::blocking(move || {
        for (tier, bytes) in pieces {
            if tier != Tier::Front {
                with = with.with_sections(tier.sections(), &bytes)?;
            }
            for section in EmbeddingSection::ALL.into_iter().filter(|section| tier.sections().contains(section)) {
                with.section(section, 0..with.rows())?;
            }
        }
        Ok(())
    });
    verifying.await.map_err(Fault::Format)
}
