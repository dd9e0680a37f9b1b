//! Searches that arrive together share one pass over the embeddings.
//!
//! A pass for 16 queries takes about five times as long as for one. So a query that arrives while
//! the collection is searched waits for that search, and then runs with all others that waited. It
//! does not wait long for a search that waits for a distant store.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use crate::env;
use crate::error::Result;
use crate::query::{Hit, Query};

/// Longest time that a query waits for the search before it: some passes over 100,000 records.
const PATIENCE: Duration = Duration::from_millis(5);
/// Most queries of a call that joins others.
const MAX_QUERIES: usize = 4;
/// Most hits of a query that joins others. The hits of all are in memory together.
const MAX_HITS: usize = 64;

/// The searches of a collection that wait.
#[derive(Debug)]
pub(super) struct Gathering {
    waiting: Mutex<Vec<Waiting>>,
    /// Held by the request that searches for all others.
    turn: Semaphore,
}

/// The queries of a request, and the way to its answer.
#[derive(Debug)]
struct Waiting {
    queries: Vec<Query>,
    answer: oneshot::Sender<Result<Hits>>,
}

impl Default for Gathering {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turn: Semaphore::new(1) }
    }
}

/// The hits of each query.
type Hits = Vec<Vec<Hit>>;

impl Gathering {
    /// The hits of each query, found by `pass`. It gets these queries alone, or together with those
    /// of other requests. It must read a state that it looks up itself: some requests arrive long
    /// before it runs.
    pub(super) async fn search<F: Future<Output = Result<Hits>>>(
        &self,
        queries: Vec<Query>,
        pass: impl Fn(Vec<Query>) -> F,
    ) -> Result<Hits> {
        if !joins(&queries)? {
            return pass(queries).await;
        }
        loop {
            let (answer, mut answered) = oneshot::channel();
            self.waiting().push(Waiting { queries: queries.clone(), answer });
            let turn = tokio::select! {
                biased;
                answer = &mut answered => match answer {
                    Ok(answer) => return answer,
                    Err(_) => continue,
                },
                turn = env::timeout(PATIENCE, self.turn.acquire()) => turn,
            };
            let mut all = mem::take(&mut *self.waiting());
            all.retain(|waiting| !waiting.answer.is_closed());
            if !all.is_empty() {
                let queries = all.iter().flat_map(|waiting| waiting.queries.iter().cloned()).collect();
                answer_all(all, pass(queries).await);
            }
            drop(turn);
            // Another request may have taken the queries. If it was cut off, they go again.
            if let Ok(answer) = answered.await {
                return answer;
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        // Each change is a push or a take, so a panic elsewhere leaves it whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers each request with the hits of its queries.
fn answer_all(all: Vec<Waiting>, found: Result<Hits>) {
    match found {
        Ok(hits) => {
            let mut hits = hits.into_iter();
            for waiting in all {
                let own = hits.by_ref().take(waiting.queries.len()).collect();
                // A receiver that is gone was cut off.
                drop(waiting.answer.send(Ok(own)));
            }
        }
        Err(error) => all.into_iter().for_each(|waiting| drop(waiting.answer.send(Err(error.clone())))),
    }
}

/// Whether a request may share a pass: it neither delays nor fails the others.
fn joins(queries: &[Query]) -> Result<bool> {
    if queries.len() > MAX_QUERIES {
        return Ok(false);
    }
    for query in queries {
        if query.k > MAX_HITS || !query.vector.iter().all(|number| number.is_finite()) {
            return Ok(false);
        }
        if let Some(filter) = &query.filter
            && filter.matcher()?.reads_documents()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use deltafold_format::{Place, Position, Record, ShardId};
    use futures::future::{join_all, pending};

    use super::*;
    use crate::Error;
    use crate::query::Filter;
    use crate::reader::Entry;

    fn query(number: usize) -> Query {
        Query::new(vec![number as f32, 1.0], 1)
    }

    /// A hit that says which query found it.
    fn hit(query: &Query) -> Vec<Hit> {
        let place = Place::Log(Position::ZERO);
        let id = query.vector[0].to_string();
        let entry = Entry { id, record: Record::default(), inserted: place, changed: place, shard: ShardId::default() };
        vec![Hit { distance: 0.0, entry }]
    }

    fn ids(hits: &Hits) -> Vec<&str> {
        hits.iter().flatten().map(|hit| hit.entry.id.as_str()).collect()
    }

    /// Story: sixteen clients waited twenty times as long as one, because each query read all codes
    /// by itself.
    #[tokio::test]
    async fn waiting_queries_share_one_pass() {
        let (searches, passes) = (Gathering::default(), AtomicUsize::new(0));
        let pass = async |queries: Vec<Query>| {
            passes.fetch_add(1, Ordering::Relaxed);
            Ok(queries.iter().map(hit).collect())
        };
        let turn = searches.turn.acquire().await.unwrap();
        let mut all = Box::pin(join_all((0..7).map(|n| searches.search(vec![query(n), query(n + 50)], pass))));
        assert!(futures::poll!(&mut all).is_pending());
        drop(turn);
        for (answer, n) in all.await.into_iter().zip(0..) {
            assert_eq!(ids(&answer.unwrap()), [n.to_string(), (n + 50).to_string()]);
        }
        assert_eq!(passes.load(Ordering::Relaxed), 1);
    }

    /// Story: the client of the request that searched for all went away, and the others waited for
    /// ever.
    #[tokio::test]
    async fn queries_outlive_the_request_that_took_them() {
        let searches = Gathering::default();
        let turn = searches.turn.acquire().await.unwrap();
        let mut taker = Box::pin(searches.search(vec![query(1)], async |_| pending().await));
        let mut other =
            Box::pin(searches.search(vec![query(2)], async |queries| Ok(queries.iter().map(hit).collect())));
        assert!(futures::poll!(&mut taker).is_pending() && futures::poll!(&mut other).is_pending());
        drop(turn);
        assert!(futures::poll!(&mut taker).is_pending() && searches.waiting().is_empty());
        drop(taker);
        assert_eq!(ids(&other.await.unwrap()), ["2"]);
    }

    #[tokio::test]
    async fn a_query_does_not_wait_long_for_another() {
        let searches = Gathering::default();
        let _turn = searches.turn.acquire().await.unwrap();
        let found = searches.search(vec![query(5)], async |queries| Ok(queries.iter().map(hit).collect()));
        assert_eq!(ids(&found.await.unwrap()), ["5"]);
    }

    #[tokio::test]
    async fn a_failed_pass_fails_all_its_requests() {
        let searches = Gathering::default();
        let turn = searches.turn.acquire().await.unwrap();
        let fails = async |_| Err(Error::invalid("no"));
        let mut all = Box::pin(join_all((0..3).map(|n| searches.search(vec![query(n)], fails))));
        assert!(futures::poll!(&mut all).is_pending());
        drop(turn);
        assert!(all.await.iter().all(Result::is_err));
    }

    #[test]
    fn slow_or_wrong_queries_run_alone() {
        let joins_one = |query| joins(&[query]).unwrap();
        assert!(joins_one(query(1)) && joins_one(query(1).filter(Filter::equals("a", 1))));
        assert!(!joins_one(query(1).filter(Filter::document_contains("x"))));
        assert!(!joins_one(Query::new(vec![f32::NAN], 1)) && !joins_one(Query::new(vec![1.0], MAX_HITS + 1)));
        assert!(!joins(&vec![query(1); MAX_QUERIES + 1]).unwrap());
        assert!(joins(&[query(1).filter(Filter::And(Vec::new()))]).is_err());
    }
}
