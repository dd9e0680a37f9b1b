//! The input of a scan of embedding objects, cut into pieces that workers take.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use deltafold_format::FormatError;

use super::nearest::{Nearest, Spot};
use super::owner::Owner;
use super::probe::{Probe, Searched, Unit};
use super::tiles::{TILE_ROWS, Tiles};
use super::top::Candidate;
use crate::error::{Error, Result};
use crate::reader::EmbeddingSource;

/// Rows of an object that a worker takes at once. They are few, so that all workers end at about
/// the same time.
const PIECE_ROWS: u32 = 2 * TILE_ROWS as u32;

/// Touched records that a worker takes at once. Comparing one in f64 costs more than a row's codes.
const PIECE_RECORDS: u32 = 256;

/// The part of a scan that a worker takes at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Rows of the unit with this number.
    Codes { unit: u32, rows: Range<u32> },
    /// Touched records of a shard, whose embeddings are in memory if they are in the log.
    Log { shard: u16, records: Range<u32> },
}

/// Cuts objects of these numbers of rows into pieces.
fn pieces(rows: impl Iterator<Item = u32>) -> impl Iterator<Item = Piece> {
    let objects = rows.zip(0..);
    objects.flat_map(|(rows, unit)| cut(rows, PIECE_ROWS).map(move |rows| Piece::Codes { unit, rows }))
}

/// Cuts `0..len` into ranges.
fn cut(len: u32, most: u32) -> impl Iterator<Item = Range<u32>> {
    (0..len).step_by(most as usize).map(move |start| start..len.min(start.saturating_add(most)))
}

/// The input of one search's scan.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) shards: Arc<Vec<Searched>>,
    pub(crate) units: Vec<Unit>,
    pub(crate) probes: Vec<Probe>,
    pub(super) pieces: Vec<Piece>,
    /// The piece that the next worker takes.
    pub(super) next: AtomicUsize,
    given_up: Arc<AtomicBool>,
}

/// Ends the scan when it is dropped: workers take no further piece.
pub(super) struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Scan {
    pub(crate) fn new(shards: Arc<Vec<Searched>>, units: Vec<Unit>, probes: Vec<Probe>) -> Self {
        let coded = |unit: &Unit| if unit.few.is_some() { 0 } else { unit.object.embeddings.rows() };
        let log = shards.iter().zip(0..).flat_map(|(searched, shard)| {
            let records = cut(searched.index.fresh_places(), PIECE_RECORDS);
            records.map(move |records| Piece::Log { shard, records })
        });
        let pieces = log.chain(pieces(units.iter().map(coded))).collect();
        Self { shards, units, probes, pieces, next: AtomicUsize::new(0), given_up: Arc::default() }
    }

    /// The findings of a worker before its first piece.
    pub(super) fn nothing(&self) -> Vec<Nearest> {
        self.probes.iter().map(|probe| Nearest::new(probe.k, probe.exactness)).collect()
    }

    /// Ends the scan when the result is dropped.
    pub(super) fn guard(&self) -> GivenUp {
        GivenUp(self.given_up.clone())
    }

    /// Number of pieces.
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Whether workers have taken all pieces.
    pub(super) fn is_taken(&self) -> bool {
        self.next.load(Ordering::Acquire) >= self.pieces.len()
    }

    /// Takes one piece, and compares it. Returns false if none is left, or the scan has ended.
    pub(super) fn step(&self, tiles: &mut Tiles<'_>, nearest: &mut [Nearest]) -> Result<bool> {
        match self.pieces.get(self.next.fetch_add(1, Ordering::AcqRel)) {
            None => return Ok(false),
            Some(Piece::Log { shard, records }) => self.log(*shard, records.clone(), nearest),
            Some(Piece::Codes { unit, rows }) => self.codes(*unit, rows, tiles, nearest)?,
        }
        Ok(!self.given_up.load(Ordering::Relaxed))
    }

    /// Compares rows by their codes.
    fn codes(&self, number: u32, rows: &Range<u32>, tiles: &mut Tiles<'_>, nearest: &mut [Nearest]) -> Result<()> {
        let Some(unit) = self.units.get(number as usize) else { return Ok(()) };
        let total = unit.object.embeddings.rows();
        if rows.end == total
            && let Some(row) = unit.rows.beyond(total)
        {
            // Damage. Skipping it would shorten the answer.
            unit.object.embeddings.row(row).map_err(|error| self.failed(unit, error))?;
        }
        for start in rows.clone().step_by(TILE_ROWS) {
            if self.given_up.load(Ordering::Relaxed) {
                break;
            }
            let tile = start..rows.end.min(start.saturating_add(TILE_ROWS as u32));
            tiles.scan(unit, number, tile, nearest).map_err(|error| self.failed(unit, error))?;
        }
        Ok(())
    }

    /// The error for damage, which stops the other workers, too.
    pub(super) fn failed(&self, unit: &Unit, error: FormatError) -> Error {
        self.given_up.store(true, Ordering::Relaxed);
        unit.object.error(error)
    }

    /// The rows of objects opened without codes. Their distances are unknown.
    pub(super) fn few(&self, nearest: &mut [Nearest]) {
        for (unit, number) in self.units.iter().zip(0_u32..) {
            for row in unit.few.iter().flatten() {
                for (probe, nearest) in self.probes.iter().zip(&mut *nearest) {
                    if unit.rows.owners(*row).any(|owner| probe.selects(unit.shard, owner)) {
                        let spot = Spot { distance: f64::NEG_INFINITY, unit: number, row: *row };
                        nearest.bounded(spot, f64::INFINITY);
                    }
                }
            }
        }
    }

    /// Compares the embeddings of the log.
    fn log(&self, shard: u16, records: Range<u32>, nearest: &mut [Nearest]) {
        let Some(searched) = self.shards.get(usize::from(shard)) else { return };
        for at in records {
            let fresh = searched.index.fresh_at(at);
            let numbers = fresh.and_then(|fresh| fresh.embedding.as_ref()).and_then(EmbeddingSource::numbers);
            let Some(numbers) = numbers else { continue };
            let owner = Owner::Fresh(at);
            for (probe, nearest) in self.probes.iter().zip(&mut *nearest) {
                if probe.selects(shard, owner) {
                    nearest.work.read += 1;
                    nearest.work.from_log += 1;
                    self.offer(nearest, probe.distances.of(numbers), shard, owner);
                }
            }
        }
    }

    pub(super) fn offer(&self, nearest: &mut Nearest, distance: f64, shard: u16, owner: Owner) {
        let Some(searched) = self.shards.get(usize::from(shard)) else { return };
        if distance > nearest.bound() {
            return;
        }
        let id = searched.index.fresh_id(owner);
        nearest.known(Candidate { distance, shard, owner, age: searched.index.age(owner), id });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use deltafold_format::{Op, Record};

    use super::super::search::{probes, tiers, units};
    use super::*;

    /// The scan of a query over a base of these rows.
    pub(in super::super) async fn scan_of(rows: &[Vec<f32>], query: crate::Query) -> Scan {
        let store: Arc<dyn crate::store::Store> = Arc::new(crate::store::Memory::new());
        let options = crate::CreateOptions::new(query.vector.len() as u32);
        let collection = crate::Collection::create(store, &"c".parse().unwrap(), &options).await.unwrap();
        let writer = collection.writer(crate::WriterOptions::default()).unwrap();
        let put = |(number, row): (usize, &Vec<f32>)| {
            Op::put(format!("{number:05}"), Record { embedding: Some(row.clone()), ..Record::default() })
        };
        writer.append(rows.iter().enumerate().map(put).collect()).await.unwrap();
        collection.compactor(crate::CompactorOptions::default()).run_once().await.unwrap();
        let reader = collection.reader().await.unwrap();
        let queries = [query];
        let shards = reader.searched().await.unwrap();
        let probes = probes(&shards, collection.config(), &queries).await.unwrap();
        let units = units(&shards, &tiers(&queries), 0, &probes).await.unwrap();
        Scan::new(Arc::new(shards), units, probes)
    }

    /// Story: an object of 65,536 rows and one of 34,464 kept two workers busy for 0.66 of the time
    /// of one. Pieces are small beside the whole, hold each row once, and begin where tiles do.
    #[test]
    fn pieces_hold_each_row_once() {
        let objects = [65_536, 34_464, 1, 2_048, 2_049];
        let mut held = vec![Vec::new(); objects.len()];
        let mut count = 0;
        for piece in pieces(objects.into_iter()) {
            let Piece::Codes { unit, rows } = piece else { panic!("{piece:?} is not of an object") };
            assert!((rows.start as usize).is_multiple_of(TILE_ROWS) && rows.len() <= PIECE_ROWS as usize);
            held[unit as usize].extend(rows);
            count += 1;
        }
        for (held, rows) in held.iter().zip(objects) {
            assert_eq!(*held, (0..rows).collect::<Vec<_>>());
        }
        assert_eq!(count, 32 + 17 + 1 + 1 + 2);
    }
}
