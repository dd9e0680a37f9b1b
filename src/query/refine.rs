//! Reads in f32 the rows that codes do not rule out.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use deltafold_format::{EmbeddingSection, FormatError};
use futures::future;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::kernel::{self, Bounds, Kernel};
use super::nearest::{Nearest, Spot};
use super::probe::{Probe, Unit};
use super::request::{Exactness, Work};
use super::scan::Scan;
use super::top::Candidate;
use crate::env::{self, Stopwatch};
use crate::error::Result;

/// Requests for rows in flight at once.
const FETCHES: usize = 64;

/// Rows fetched at once for one query.
const ROWS_AT_ONCE: usize = 1_024;

/// Estimated bytes of rows fetched at once for all queries of a call.
const BYTES_AT_ONCE: usize = 16 << 20;

/// Rows on their way from memory while a query compares another.
const AHEAD: usize = 4;

/// The codes of a row that bound its distance.
const CODES: [EmbeddingSection; 3] = [EmbeddingSection::Bytes, EmbeddingSection::Scales, EmbeddingSection::Residuals];

/// Rows to read that justify a further worker.
const ROWS_A_WORKER: usize = 256;

/// The searching task leaves further rows to other threads after this time. Then they come from a
/// disk.
pub(super) const FEW: Duration = Duration::from_micros(500);

/// Rows of an object with at most this many bytes between them are fetched by one request.
const GAP: usize = 64 << 10;

/// A row: the index of its object in the scan, and its number there.
type RowPlace = (u32, u32);

/// The rows fetched last.
type Fetched = HashMap<RowPlace, Vec<f32>>;

/// One query, and the rows that its codes do not rule out.
#[derive(Debug)]
struct Open {
    nearest: Nearest,
    /// By ascending bound, or by estimate before candidates have bounds.
    spots: Vec<Spot>,
    are_bounded: bool,
    /// Number of rows read.
    at: usize,
    /// Number of rows read, or asked for ahead.
    ahead: usize,
}

/// Reads rows by ascending bound, until no other can be among the nearest.
///
/// Rows in memory are read at once. If one is missing, the next rows of every query that their
/// bounds do not rule out are fetched together. Then reading continues. The order of reading, and
/// so the proof, is the same.
#[derive(Debug)]
pub(super) struct Refining {
    scan: Arc<Scan>,
    open: Vec<Open>,
    fetched: Arc<Fetched>,
}

impl Refining {
    pub(super) fn new(scan: Arc<Scan>, nearest: Vec<Nearest>) -> Self {
        let open = nearest.into_iter().zip(&scan.probes).map(|(nearest, probe)| Open::new(nearest, probe)).collect();
        Self { open, scan, fetched: Arc::default() }
    }

    /// The findings of each query.
    pub(super) async fn run(mut self) -> Result<Vec<(Vec<Candidate>, Work)>> {
        while !self.is_done() {
            let missing = self.read().await?;
            if !missing.is_empty() {
                self.fetched = Arc::new(self.fetch(missing).await?);
            }
        }
        Ok(self.open.into_iter().map(Open::into_found).collect())
    }

    fn is_done(&self) -> bool {
        self.open.iter().all(|open| open.next().is_none())
    }

    /// Upper bound of the rows left to read.
    fn left(&self) -> usize {
        self.open.iter().map(|open| open.spots.len().saturating_sub(open.at)).sum()
    }

    /// Reads the rows in memory on this thread, if they are few, until it takes longer than this.
    pub(super) fn read_few(&mut self, most: Duration) -> Result<()> {
        if self.left() < 2 * ROWS_A_WORKER {
            let watch = Stopwatch::start();
            for (probe, open) in self.scan.probes.iter().zip(&mut self.open) {
                open.read(&self.scan, probe, &self.fetched, || watch.elapsed() < most)?;
            }
        }
        Ok(())
    }

    /// Reads the rows in memory. Queries with many rows left share the cores. Returns the rows to
    /// fetch before it can continue: none if all is read.
    async fn read(&mut self) -> Result<Vec<RowPlace>> {
        let row_bytes = self.scan.probes.first().map_or(1, |probe| probe.distances.row_bytes());
        let most = BYTES_AT_ONCE / row_bytes.max(1) / self.open.len().max(1);
        let most = most.clamp(1, ROWS_AT_ONCE);
        let cores = env::cores();
        let share = self.open.len().div_ceil(cores.min(self.left() / ROWS_A_WORKER).max(1)).max(1);
        let (mut jobs, mut first) = (Vec::new(), 0);
        let mut rest = std::mem::take(&mut self.open);
        while !rest.is_empty() {
            let behind = rest.split_off(share.min(rest.len()));
            let mut open = std::mem::replace(&mut rest, behind);
            let (scan, fetched, probe) = (self.scan.clone(), self.fetched.clone(), first);
            first += open.len();
            jobs.push(env::blocking(move || {
                let mut missing = Vec::new();
                for (probe, open) in scan.probes.iter().skip(probe).zip(&mut open) {
                    open.read(&scan, probe, &fetched, || true)?;
                    missing.extend(open.missing(&scan, most));
                }
                Ok::<_, crate::Error>((open, missing))
            }));
        }
        let mut missing = Vec::new();
        for job in future::join_all(jobs).await {
            let (open, more) = job?;
            self.open.extend(open);
            missing.extend(more);
        }
        missing.sort_unstable();
        missing.dedup();
        Ok(missing)
    }

    /// Fetches rows, those near each other by one request.
    async fn fetch(&self, missing: Vec<RowPlace>) -> Result<Fetched> {
        let row_bytes = self.scan.probes.first().map_or(1, |probe| probe.distances.row_bytes());
        let spans = stream::iter(spans(&missing, row_bytes)).map(|(number, rows)| async move {
            let Some(unit) = self.scan.units.get(number as usize) else { return Ok((number, rows, Vec::new())) };
            let Some(searched) = self.scan.shards.get(usize::from(unit.shard)) else {
                return Ok((number, rows, Vec::new()));
            };
            let read = searched.snapshot.stored_rows(unit.object.name(), rows.clone()).await?;
            Ok::<_, crate::Error>((number, rows, read))
        });
        let read: Vec<_> = spans.buffer_unordered(FETCHES).try_collect().await?;
        let mut fetched = Fetched::new();
        for (number, rows, read) in read {
            for (row, numbers) in rows.zip(read) {
                if missing.binary_search(&(number, row)).is_ok() {
                    fetched.insert((number, row), numbers);
                }
            }
        }
        Ok(fetched)
    }
}

impl Open {
    fn new(mut nearest: Nearest, probe: &Probe) -> Self {
        let (spots, are_bounded) = (nearest.take_spots(), probe.exactness == Exactness::Exact);
        Self { nearest, spots, are_bounded, at: 0, ahead: 0 }
    }

    /// Bounds the distances of candidates by their codes of 8 bits, if these are in memory. The
    /// nearest candidates stay the same, and few of them have to be read in f32.
    fn bound(&mut self, scan: &Scan, probe: &Probe) -> Result<()> {
        if std::mem::replace(&mut self.are_bounded, true) {
            return Ok(());
        }
        let fine = Bounds::fine(probe.metric, &probe.codes);
        let spots = std::mem::take(&mut self.spots);
        let coded = |spot: &Spot| scan.units.get(spot.unit as usize).filter(|unit| holds(unit, CODES));
        for (place, spot) in spots.iter().enumerate() {
            if let Some(ahead) = spots.get(place + AHEAD)
                && let Some(unit) = coded(ahead)
            {
                CODES.into_iter().for_each(|section| read_ahead(unit, section, ahead.row));
            }
            let (lower, upper) = match coded(spot) {
                Some(unit) => bounds_of(unit, spot.row, probe, &fine).map_err(|error| scan.failed(unit, error))?,
                None => (f64::NEG_INFINITY, f64::INFINITY),
            };
            self.nearest.bounded(Spot { distance: lower, ..*spot }, upper);
        }
        self.spots = self.nearest.take_spots();
        Ok(())
    }

    /// Reads rows until one is missing, or no other can be among the nearest, or it should not go
    /// on.
    fn read(&mut self, scan: &Scan, probe: &Probe, fetched: &Fetched, goes_on: impl Fn() -> bool) -> Result<()> {
        self.bound(scan, probe)?;
        while let Some(spot) = self.next().filter(|_| goes_on()) {
            self.read_ahead(scan);
            let Some(unit) = scan.units.get(spot.unit as usize) else {
                self.at += 1;
                continue;
            };
            let distance = match fetched.get(&(spot.unit, spot.row)) {
                Some(row) => probe.distances.of(row),
                None if holds(unit, [EmbeddingSection::Rows]) => {
                    let row = unit.object.read_row(spot.row).map_err(|error| scan.failed(unit, error))?;
                    probe.distances.of(&row)
                }
                None => return Ok(()),
            };
            self.at += 1;
            self.nearest.work.read += 1;
            for owner in unit.rows.owners(spot.row).filter(|owner| probe.selects(unit.shard, *owner)) {
                scan.offer(&mut self.nearest, distance, unit.shard, owner);
            }
        }
        Ok(())
    }

    /// Asks for the next rows in memory. Few of them are ruled out before they are read.
    fn read_ahead(&mut self, scan: &Scan) {
        while self.ahead <= self.at + AHEAD
            && let Some(spot) = self.spots.get(self.ahead)
        {
            self.ahead += 1;
            if let Some(unit) = scan.units.get(spot.unit as usize) {
                read_ahead(unit, EmbeddingSection::Rows, spot.row);
            }
        }
    }

    fn into_found(mut self) -> (Vec<Candidate>, Work) {
        let work = &mut self.nearest.work;
        work.ruled_out = work.coded.saturating_sub(work.read - work.from_log);
        self.nearest.into_found()
    }

    /// The next row to read, unless it cannot be among the nearest.
    fn next(&self) -> Option<Spot> {
        let spot = self.spots.get(self.at)?;
        (!self.are_bounded || spot.distance <= self.nearest.bound()).then_some(*spot)
    }

    /// The next rows that are not in memory, up to the first that cannot be among the nearest.
    fn missing(&self, scan: &Scan, most: usize) -> Vec<RowPlace> {
        if self.next().is_none() {
            return Vec::new();
        }
        let bound = self.nearest.bound();
        let open = self.spots.iter().skip(self.at).take_while(|spot| !self.are_bounded || spot.distance <= bound);
        let held = |unit| holds(unit, [EmbeddingSection::Rows]);
        let missing = open.filter(|spot| scan.units.get(spot.unit as usize).is_some_and(|unit| !held(unit)));
        missing.take(most).map(|spot| (spot.unit, spot.row)).collect()
    }
}

fn holds<const N: usize>(unit: &Unit, sections: [EmbeddingSection; N]) -> bool {
    sections.into_iter().all(|section| unit.object.embeddings.holds(section))
}

/// The bounds of the distance of a row that has its codes of 8 bits in memory.
fn bounds_of(unit: &Unit, row: u32, probe: &Probe, fine: &Bounds) -> Result<(f64, f64), FormatError> {
    let (embeddings, rows) = (&unit.object.embeddings, row..row.saturating_add(1));
    let number = |section| {
        let numbers = embeddings.numbers(section, rows.clone())?;
        Ok::<_, FormatError>(numbers.first().copied().unwrap_or_default())
    };
    let dot = Kernel::detect().fine_dot(&probe.codes, embeddings.byte_codes(rows.clone())?);
    let (norm, scale) = (number(EmbeddingSection::Norms)?, number(EmbeddingSection::Scales)?);
    Ok(fine.of(dot, norm, scale, number(EmbeddingSection::Residuals)?))
}

/// Asks for the bytes of a row in memory. An error comes again when the row is read.
fn read_ahead(unit: &Unit, section: EmbeddingSection, row: u32) {
    if let Ok(Some(row)) = unit.object.embeddings.verified(section, row..row.saturating_add(1)) {
        kernel::prefetch(row);
    }
}

/// Ranges that hold the given rows, which must be in order. Neighbours share one.
pub(super) fn spans(rows: &[RowPlace], row_bytes: usize) -> Vec<(u32, Range<u32>)> {
    let mut spans: Vec<(u32, Range<u32>)> = Vec::new();
    for (unit, row) in rows {
        let end = row.saturating_add(1);
        match spans.last_mut() {
            Some((last, span)) if last == unit && (row.saturating_sub(span.end) as usize) * row_bytes <= GAP => {
                span.end = end;
            }
            _ => spans.push((*unit, *row..end)),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_near_to_each_other_share_a_range() {
        let rows = [(0, 3), (0, 4), (0, 46), (0, 90), (1, 0), (1, 1)];
        // 42 rows of 1,536 bytes fit in a gap, and 43 do not.
        assert_eq!(spans(&rows, 1_536), [(0, 3..47), (0, 90..91), (1, 0..2)]);
        assert_eq!(spans(&rows, 1 << 20), [(0, 3..5), (0, 46..47), (0, 90..91), (1, 0..2)]);
        assert!(spans(&[], 4).is_empty());
    }

    /// Resident bytes of the mapped files of a folder.
    #[cfg(target_os = "linux")]
    fn resident(folder: &std::path::Path) -> u64 {
        let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let (mut is_ours, mut kib) = (false, 0);
        for line in text.lines() {
            if let Some(rss) = line.strip_prefix("Rss:") {
                kib += if is_ours { rss.trim().trim_end_matches(" kB").parse().unwrap() } else { 0 };
            } else if line.split(' ').next().is_some_and(|range| range.contains('-')) {
                is_ours = line.contains(folder.to_str().unwrap());
            }
        }
        kib << 10
    }

    /// Story: each query read some dozen rows in f32. After a hundred queries the rows of all
    /// records were resident, which was more memory than all else of a server.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn rows_do_not_stay_resident_where_the_store_spares_memory() {
        use deltafold_format::{Op, Record};
        use deltafold_testing::random::Random;

        use crate::{Collection, CompactorOptions, CreateOptions, Query, WriterOptions};

        const ROWS: u64 = 1_536;
        const DIMENSION: u32 = 2_048;
        let folder = tempfile::tempdir().unwrap();
        let store = crate::store::Dir::open(folder.path()).unwrap();
        let mut random = Random::from_environment();
        let name = "c".parse().unwrap();
        let collection =
            Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(DIMENSION)).await.unwrap();
        let writer = collection.writer(WriterOptions::default()).unwrap();
        // All other rows are equally far from a row, so a query for two reads all of them.
        let row = |number: u64| (0..u64::from(DIMENSION)).map(|at| if at == number { 9.0 } else { 0.0 }).collect();
        let put =
            |number| Op::put(format!("{number:04}"), Record { embedding: Some(row(number)), ..Record::default() });
        writer.append((0..ROWS).map(put).collect()).await.unwrap();
        drop(writer);
        collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
        drop(collection);
        let queries = [Query::new(row(random.below(ROWS)), 2), Query::new(row(random.below(ROWS)), 2)];
        let (rows, most) = (ROWS * u64::from(DIMENSION) * 4, 10 << 20);
        let mut answers = Vec::new();
        let sparing = store.sparing_memory();
        for (store, spares) in [(sparing.clone(), true), (sparing, true), (store, false)] {
            let reader = Collection::open(Arc::new(store), &name).await.unwrap().reader().await.unwrap();
            // The first verifies the rows where they lie. The second copies them.
            let (first, second) = (reader.search(&queries[..1]).await, reader.search(&queries[1..]).await);
            answers.push([first.unwrap(), second.unwrap()].map(|found| format!("{:?}", found[0].hits)));
            let resident = resident(folder.path());
            let told = format!("{resident} bytes are resident, the rows take {rows}, spares memory: {spares}");
            assert!(rows > most && (resident < most) == spares, "{told}");
            assert!(resident > ROWS * u64::from(DIMENSION), "the codes are read by each query");
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]));
    }
}
