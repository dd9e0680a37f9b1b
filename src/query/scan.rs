//! Scans embedding objects, on all cores.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use deltafold_format::{FormatError, Metric};

use super::base::{Indexed, Owner};
use super::bits::Bits;
use super::index::ShardIndex;
use super::kernel::{Distances, QueryCodes};
use super::nearest::{Nearest, Spot};
use super::refine::Refining;
use super::request::{Exactness, Work};
use super::tiles::{TILE_ROWS, Tiles};
use super::top::Candidate;
use crate::env;
use crate::error::{Error, Result};
use crate::reader::{EmbeddingObject, EmbeddingSource, Need, Snapshot};

/// A shard that is searched.
#[derive(Debug)]
pub(crate) struct Searched {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) index: Arc<ShardIndex>,
}

impl Searched {
    /// The id of a record.
    pub(crate) async fn id(&self, owner: Owner) -> Result<String> {
        if let Owner::Base(row) = owner {
            let (number, row) = self.index.base().place(row);
            return Ok(self.snapshot.part(0, number, Need::Front, true).await?.id(row).to_owned());
        }
        Ok(self.index.fresh_id(owner).as_deref().unwrap_or_default().to_owned())
    }
}

/// An embedding object to scan.
#[derive(Debug)]
pub(crate) struct Unit {
    /// Index of its shard in the search.
    pub(crate) shard: u16,
    pub(crate) object: EmbeddingObject,
    pub(crate) rows: Arc<Indexed>,
    /// The rows to read in f32, if they are few and the object is opened without codes.
    pub(crate) few: Option<Vec<u32>>,
}

/// A query, prepared for the scan.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) metric: Metric,
    pub(crate) distances: Distances,
    pub(crate) codes: QueryCodes,
    pub(crate) k: usize,
    pub(crate) exactness: Exactness,
    /// The selected records of each shard; `None` selects all.
    pub(crate) selections: Option<Arc<Vec<Selection>>>,
}

/// The records of a shard that match a filter.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Rows of the base.
    pub(crate) base: Bits,
    /// Numbers of touched records.
    pub(crate) fresh: Bits,
}

impl Selection {
    /// Every record.
    pub(crate) fn all(searched: &Searched) -> Self {
        let index = &searched.index;
        let mut selection = Self::default();
        let words: Vec<u64> = index.standing_from(0).take(index.base().rows().div_ceil(64) as usize).collect();
        selection.base.insert_words(0, &words);
        index.fresh().for_each(|(at, _)| selection.fresh.insert(at as usize));
        selection
    }

    /// Whether a record is in the selection.
    pub(crate) fn contains(&self, owner: Owner) -> bool {
        match owner {
            Owner::Base(row) => self.base.contains(row as usize),
            Owner::Fresh(at) => self.fresh.contains(at as usize),
        }
    }
}

/// Rows of an object that a worker takes at once. They are few, so that all workers end at about
/// the same time.
const PIECE_ROWS: usize = 2 * TILE_ROWS;

/// Some rows of an embedding object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    /// The number of the unit.
    unit: u32,
    rows: Range<u32>,
}

/// Cuts objects of these numbers of rows into pieces.
fn pieces(rows: impl Iterator<Item = u32>) -> Vec<Piece> {
    let objects = rows.zip(0..).flat_map(|(rows, unit)| {
        let starts = (0..rows).step_by(PIECE_ROWS);
        starts.map(move |start| Piece { unit, rows: start..rows.min(start.saturating_add(PIECE_ROWS as u32)) })
    });
    objects.collect()
}

/// The input of one search's scan.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) shards: Arc<Vec<Searched>>,
    pub(crate) units: Vec<Unit>,
    pub(crate) probes: Vec<Probe>,
    pieces: Vec<Piece>,
    /// The piece that the next worker takes.
    next: AtomicUsize,
    given_up: Arc<AtomicBool>,
}

/// Stops the workers when the search is dropped.
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The findings of all workers of a scan.
#[derive(Debug)]
struct Joint {
    /// Workers whose findings are missing.
    at_work: AtomicUsize,
    nearest: Mutex<Vec<Nearest>>,
}

impl Joint {
    /// Adds the findings of one worker. The last one gets everything, because continuing on its
    /// thread saves two switches.
    fn add(&self, found: Vec<Nearest>) -> Option<Vec<Nearest>> {
        let mut all = self.nearest.lock().unwrap_or_else(PoisonError::into_inner);
        for (all, more) in all.iter_mut().zip(found) {
            all.join(more);
        }
        let is_last = self.at_work.fetch_sub(1, Ordering::Relaxed) == 1;
        is_last.then(|| std::mem::take(&mut *all))
    }
}

impl Scan {
    pub(crate) fn new(shards: Arc<Vec<Searched>>, units: Vec<Unit>, probes: Vec<Probe>) -> Self {
        let coded = |unit: &Unit| if unit.few.is_some() { 0 } else { unit.object.embeddings.rows() };
        let pieces = pieces(units.iter().map(coded));
        Self { shards, units, probes, pieces, next: AtomicUsize::new(0), given_up: Arc::default() }
    }

    /// Scans on all cores, then reads in full the rows that codes do not rule out. Dropping the
    /// future ends it soon.
    pub(crate) async fn run(scan: Arc<Self>) -> Result<Vec<(Vec<Candidate>, Work)>> {
        let guard = GivenUp(scan.given_up.clone());
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers = scan.workers(cores);
        let joint = Arc::new(Joint { at_work: AtomicUsize::new(workers), nearest: Mutex::new(scan.nothing()) });
        let workers = (0..workers).map(|_| {
            let (scan, joint) = (scan.clone(), joint.clone());
            env::blocking(move || {
                let Some(nearest) = joint.add(scan.work()?) else { return Ok(None) };
                let mut refining = Refining::new(scan, nearest);
                refining.read_few()?;
                Ok::<_, Error>(Some(refining))
            })
        });
        let mut last = None;
        for worker in futures::future::join_all(workers).await {
            last = last.or(worker?);
        }
        let found = match last {
            Some(refining) => refining.run().await?,
            // Only an error leaves no last worker.
            None => Vec::new(),
        };
        drop(guard);
        Ok(found)
    }

    fn nothing(&self) -> Vec<Nearest> {
        self.probes.iter().map(|probe| Nearest::new(probe.k, probe.exactness)).collect()
    }

    /// Number of workers for this many cores: at most one for each piece, and one for the log.
    fn workers(&self, cores: usize) -> usize {
        cores.min(self.pieces.len()).max(1)
    }

    /// Takes one piece after the other until there are no more.
    fn work(&self) -> Result<Vec<Nearest>> {
        let mut nearest = self.nothing();
        let mut tiles = Tiles::new(&self.probes);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number == 0 {
                self.log(&mut nearest);
                self.few(&mut nearest);
            }
            let Some(Piece { unit: number, rows }) = self.pieces.get(number) else { return Ok(nearest) };
            let Some(unit) = self.units.get(*number as usize) else { continue };
            let total = unit.object.embeddings.rows();
            if rows.end == total
                && let Some(row) = unit.rows.beyond(total)
            {
                // Damage. Skipping it would shorten the answer.
                unit.object.embeddings.row(row).map_err(|error| self.failed(unit, error))?;
            }
            for start in rows.clone().step_by(TILE_ROWS) {
                if self.given_up.load(Ordering::Relaxed) {
                    return Ok(nearest);
                }
                let tile = start..rows.end.min(start.saturating_add(TILE_ROWS as u32));
                tiles.scan(unit, *number, tile, &mut nearest).map_err(|error| self.failed(unit, error))?;
            }
        }
    }

    /// The error for damage, which stops the other workers, too.
    pub(super) fn failed(&self, unit: &Unit, error: FormatError) -> Error {
        self.given_up.store(true, Ordering::Relaxed);
        unit.object.error(error)
    }

    /// Reads rows of objects opened without codes. Their distances are unknown.
    fn few(&self, nearest: &mut [Nearest]) {
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
    fn log(&self, nearest: &mut [Nearest]) {
        for (searched, shard) in self.shards.iter().zip(0_u16..) {
            for (at, fresh) in searched.index.fresh() {
                let Some(numbers) = fresh.embedding.as_ref().and_then(EmbeddingSource::numbers) else { continue };
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

impl Probe {
    pub(crate) fn selects(&self, shard: u16, owner: Owner) -> bool {
        let selections = self.selections.as_ref();
        selections.is_none_or(|all| all.get(usize::from(shard)).is_some_and(|selection| selection.contains(owner)))
    }
}

#[cfg(test)]
mod tests {
    use deltafold_format::{Op, Record};

    use super::super::search::{probes, tiers, units};
    use super::*;

    /// Story: an object of 65,536 rows and one of 34,464 kept two workers busy for 0.66 of the time
    /// of one. Pieces are small beside the whole, hold each row once, and begin where tiles do.
    #[test]
    fn pieces_hold_each_row_once() {
        let objects = [65_536, 34_464, 1, 2_048, 2_049];
        let pieces = pieces(objects.into_iter());
        for (unit, rows) in (0..).zip(objects) {
            let of_unit: Vec<&Piece> = pieces.iter().filter(|piece| piece.unit == unit).collect();
            let all: Vec<u32> = of_unit.iter().flat_map(|piece| piece.rows.clone()).collect();
            assert_eq!(all, (0..rows).collect::<Vec<_>>());
            assert!(of_unit.iter().all(|piece| (piece.rows.start as usize).is_multiple_of(TILE_ROWS)));
            assert!(of_unit.iter().all(|piece| piece.rows.len() <= PIECE_ROWS));
        }
        assert_eq!(pieces.len(), 32 + 17 + 1 + 1 + 2);
    }

    /// A dropped search must not keep the cores busy. The only thread for workers is held until the
    /// search is dropped. Each worker then takes one piece and sees that the search was dropped.
    #[test]
    fn a_dropped_search_ends_its_workers() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let store: Arc<dyn crate::store::Store> = Arc::new(crate::store::Memory::new());
            let options = crate::CreateOptions::new(2);
            let collection = crate::Collection::create(store, &"c".parse().unwrap(), &options).await.unwrap();
            let writer = collection.writer(crate::WriterOptions::default()).unwrap();
            let record = Record { embedding: Some(vec![1.0, 2.0]), ..Record::default() };
            writer.append(vec![Op::put("a", record.clone()), Op::put("b", record)]).await.unwrap();
            collection.compactor(crate::CompactorOptions::default()).run_once().await.unwrap();
            let reader = collection.reader().await.unwrap();
            let queries = [crate::Query::new(vec![1.0, 2.0], 1)];
            let shards = reader.searched().await.unwrap();
            let probes = probes(&shards, collection.config(), &queries).await.unwrap();
            let units = units(&shards, &tiers(&queries), 0, &probes).await.unwrap();
            let mut scan = Scan::new(Arc::new(shards), units, probes);
            scan.pieces = vec![Piece { unit: 0, rows: 0..2 }; 100];
            let (scan, workers) = (Arc::new(scan), thread::available_parallelism().map_or(1, usize::from));

            let (release, held) = std::sync::mpsc::channel::<()>();
            let mut holding = Box::pin(env::blocking(move || held.recv()));
            assert!(futures::poll!(&mut holding).is_pending());
            let mut search = Box::pin(Scan::run(scan.clone()));
            assert!(futures::poll!(&mut search).is_pending());
            drop(search);
            release.send(()).unwrap();
            holding.await.unwrap();
            // It queues behind the workers.
            env::blocking(|| ()).await;
            assert_eq!(scan.next.load(Ordering::Relaxed), workers.min(100));
        });
    }

    #[test]
    fn one_large_object_takes_all_cores() {
        let scan = |rows: u32| {
            let mut scan = Scan::new(Arc::default(), Vec::new(), Vec::new());
            scan.pieces = pieces([rows].into_iter());
            scan
        };
        assert_eq!([1, 2, 4, 64].map(|cores| scan(65_536).workers(cores)), [1, 2, 4, 32]);
        // The log takes one worker, and so do few rows.
        assert_eq!([scan(0).workers(2), scan(2_048).workers(2), scan(2_049).workers(2)], [1, 1, 2]);
    }
}
