//! Shares a scan between the task that searches and other threads.
//!
//! To wake a thread takes 30 to 50 us on a virtual machine, and a scan of 100,000 rows less than a
//! millisecond. So the searching task takes pieces itself, and is there when the last one is done.
//! It lets other tasks of its thread run after each piece.

use std::hint;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};

use super::nearest::Nearest;
use super::refine::{FEW, Refining};
use super::request::Work;
use super::scan::Scan;
use super::tiles::Tiles;
use super::top::Candidate;
use crate::env::{self, Stopwatch};
use crate::error::Result;

/// The searching task leaves the pieces of more queries than this to other threads. Each piece
/// takes longer the more queries share it.
const QUERIES: usize = 32;

/// The searching task leaves further pieces to other threads if one took longer. Then its rows were
/// not in memory, or it has to share its core.
const LONG: Duration = Duration::from_millis(4);

/// The searching task lets other tasks run after this time. Each turn asks the system for events
/// and may wake another thread, which takes as long as a few pieces.
const TURN: Duration = Duration::from_micros(500);

/// Times that the searching task looks whether the others have ended, before it sleeps: about the
/// time of the piece that another may still compare.
const LOOKS: usize = 2_048;

/// The findings of the helping threads.
#[derive(Debug)]
struct Helpers {
    /// Threads that have begun and not yet added their findings.
    at_work: AtomicUsize,
    found: Mutex<Result<Vec<Nearest>>>,
}

impl Helpers {
    /// Compares pieces until there are none left.
    fn help(&self, scan: &Scan) {
        // Comes before the first piece is taken: once all are taken, `at_work` counts every thread
        // that has one.
        self.at_work.fetch_add(1, Ordering::AcqRel);
        let found = work(scan);
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut *all, found) {
            (Ok(all), Ok(found)) => join(all, found),
            (Ok(_), Err(error)) => *all = Err(error),
            (Err(_), _) => {}
        }
        drop(all);
        // A thread that panicked stays counted, and the searching task waits for it and panics.
        self.at_work.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether all pieces are compared.
    fn have_ended(&self, scan: &Scan) -> bool {
        scan.is_taken() && self.at_work.load(Ordering::Acquire) == 0
    }

    fn take_found(&self) -> Result<Vec<Nearest>> {
        std::mem::replace(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner), Ok(Vec::new()))
    }
}

/// Scans on all cores, then reads in full the rows that codes do not rule out. Dropping the future
/// ends it soon.
pub(super) async fn run(scan: Arc<Scan>) -> Result<Vec<(Vec<Candidate>, Work)>> {
    run_in_turns(scan, TURN, FEW).await
}

/// `turn` and `few` are the times after which the searching task lets others run, and leaves rows
/// to other threads.
async fn run_in_turns(scan: Arc<Scan>, turn: Duration, few: Duration) -> Result<Vec<(Vec<Candidate>, Work)>> {
    let guard = scan.guard();
    let cores = env::cores();
    let (helps, threads) = share(scan.pieces(), scan.probes.len(), cores);
    let helpers = Arc::new(Helpers { at_work: AtomicUsize::new(0), found: Mutex::new(Ok(scan.nothing())) });
    let mut threads: FuturesUnordered<_> = (0..threads)
        .map(|_| {
            let (scan, helpers) = (scan.clone(), helpers.clone());
            env::blocking(move || helpers.help(&scan))
        })
        .collect();
    // A future starts its thread when it is polled first.
    let _ = futures::poll!(threads.next());
    let mut nearest = scan.nothing();
    scan.few(&mut nearest);
    if helps {
        let mut tiles = Tiles::new(&scan.probes);
        let (mut piece, mut began) = (Stopwatch::start(), Stopwatch::start());
        while scan.step(&mut tiles, &mut nearest)? {
            // A helper that has begun takes all further pieces. Others may never get a thread.
            if piece.elapsed() > LONG && helpers.at_work.load(Ordering::Acquire) > 0 {
                break;
            }
            if began.elapsed() >= turn {
                tokio::task::yield_now().await;
                began = Stopwatch::start();
            }
            piece = Stopwatch::start();
        }
        for _ in 0..LOOKS {
            if helpers.have_ended(&scan) {
                break;
            }
            hint::spin_loop();
        }
    }
    // A thread that has not begun when all pieces are compared is not waited for.
    while !helpers.have_ended(&scan) && threads.next().await.is_some() {}
    join(&mut nearest, helpers.take_found()?);
    let mut refining = Refining::new(scan, nearest);
    refining.read_few(few)?;
    let found = refining.run().await?;
    drop(guard);
    Ok(found)
}

/// Whether the searching task takes pieces, and the number of threads that do.
fn share(pieces: usize, queries: usize, cores: usize) -> (bool, usize) {
    let helps = queries <= QUERIES;
    // If one piece takes long, a thread takes the others, also where there is a single core.
    let threads = if helps { cores.max(2) - 1 } else { cores.max(1) };
    (helps, threads.min(pieces.saturating_sub(usize::from(helps))))
}

fn work(scan: &Scan) -> Result<Vec<Nearest>> {
    let mut nearest = scan.nothing();
    let mut tiles = Tiles::new(&scan.probes);
    while scan.step(&mut tiles, &mut nearest)? {}
    Ok(nearest)
}

fn join(all: &mut [Nearest], found: Vec<Nearest>) {
    for (all, more) in all.iter_mut().zip(found) {
        all.join(more);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::super::Query;
    use super::super::scan::Piece;
    use super::super::scan::tests::scan_of;
    use super::*;

    /// A dropped search must not keep the cores busy. The only thread for helpers is held until the
    /// search is dropped. Then each of them takes one piece at most.
    #[test]
    fn a_dropped_search_ends_its_workers() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let scan = Arc::new(scan(100).await);
            let cores = env::cores();
            let (release, held) = std::sync::mpsc::channel::<()>();
            let mut holding = Box::pin(env::blocking(move || held.recv()));
            assert!(futures::poll!(&mut holding).is_pending());
            let mut search = Box::pin(run_in_turns(scan.clone(), Duration::ZERO, FEW));
            assert!(futures::poll!(&mut search).is_pending());
            assert_eq!(scan.next.load(Ordering::Relaxed), 1, "other tasks come after one piece");
            drop(search);
            release.send(()).unwrap();
            holding.await.unwrap();
            // It queues behind the helpers.
            env::blocking(|| ()).await;
            assert_eq!(scan.next.load(Ordering::Relaxed), 1 + share(100, 1, cores).1);
        });
    }

    /// Story: every thread for blocking work was busy, and a search waited for one although it had
    /// compared all pieces by itself.
    #[test]
    fn a_search_ends_without_its_helpers() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let scan = Arc::new(scan(100).await);
            let (release, held) = std::sync::mpsc::channel::<()>();
            let mut holding = Box::pin(env::blocking(move || held.recv()));
            assert!(futures::poll!(&mut holding).is_pending());
            // It lets other tasks run after each piece. A search that waits for a thread stays
            // pending for ever. A busy machine may not make it leave rows to other threads.
            let mut search = Box::pin(run_in_turns(scan, Duration::ZERO, Duration::MAX));
            let mut found = futures::poll!(&mut search);
            for _ in 0..1_000 {
                if found.is_pending() {
                    found = futures::poll!(&mut search);
                }
            }
            let Poll::Ready(found) = found else { panic!("the search waits for a thread") };
            assert_eq!(found.unwrap()[0].0.len(), 1);
            release.send(()).unwrap();
            holding.await.unwrap();
        });
    }

    /// The scan of a collection of two records, in pieces of all rows.
    async fn scan(pieces: usize) -> Scan {
        let row = vec![1.0, 2.0];
        let mut scan = scan_of(&[row.clone(), row.clone()], Query::new(row, 1)).await;
        scan.pieces = vec![Piece::Codes { unit: 0, rows: 0..2 }; pieces];
        scan
    }

    #[test]
    fn all_cores_share_the_pieces() {
        assert_eq!([1, 2, 4, 64].map(|cores| share(32, 1, cores)), [(true, 1), (true, 1), (true, 3), (true, 31)]);
        assert_eq!([0, 1, 2].map(|pieces| share(pieces, QUERIES, 2)), [(true, 0), (true, 0), (true, 1)]);
        // Many queries leave the searching task free for others.
        assert_eq!([1, 2, 4].map(|cores| share(32, QUERIES + 1, cores)), [(false, 1), (false, 2), (false, 4)]);
        assert_eq!([0, 1].map(|pieces| share(pieces, QUERIES + 1, 4)), [(false, 0), (false, 1)]);
    }
}
