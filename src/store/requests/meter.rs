//! Counts requests as a store makes them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

use super::{HasResponse, RequestCount, RequestKind, Requests, Response};
use crate::env::{self, Stopwatch};
use crate::store::StoreError;

/// Counts the requests of one store, and reports each to metrics and traces. Clones count together.
///
/// A store keeps one, makes its requests through it, and answers
/// [`Store::requests`](crate::store::Store::requests) from it:
///
/// ```
/// use deltafold::store::{Key, Meter, Object, RequestKind, StoreError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), StoreError> {
/// let meter = Meter::default();
/// let key = Key::new("c/0000/head").expect("a valid key");
/// let get = async { Ok::<Option<Object>, StoreError>(None) }; // the request itself
/// meter.request(RequestKind::Get, &key, 0, get).await?;
/// let gets = meter.requests().of(RequestKind::Get);
/// assert_eq!((gets.calls, gets.absent), (1, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<[Counters; RequestKind::ALL.len()]>);

#[derive(Debug, Default)]
struct Counters {
    calls: AtomicU64,
    retries: AtomicU64,
    conflicts: AtomicU64,
    refused: AtomicU64,
    unchanged: AtomicU64,
    absent: AtomicU64,
    failed: AtomicU64,
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
}

impl Meter {
    /// The counts so far.
    pub fn requests(&self) -> Requests {
        let count = |counters: &Counters| RequestCount {
            calls: counters.calls.load(Relaxed),
            retries: counters.retries.load(Relaxed),
            conflicts: counters.conflicts.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            unchanged: counters.unchanged.load(Relaxed),
            absent: counters.absent.load(Relaxed),
            failed: counters.failed.load(Relaxed),
            bytes_out: counters.bytes_out.load(Relaxed),
            bytes_in: counters.bytes_in.load(Relaxed),
        };
        RequestKind::ALL.into_iter().zip(self.0.iter().map(count)).collect()
    }

    /// Makes a request, and adds it to the counts, the trace and the metrics. `bytes_out` are the
    /// bytes of objects sent. A request that its caller abandons counts as failed.
    ///
    /// # Errors
    ///
    /// The error of the request.
    pub async fn request<T: HasResponse>(
        &self,
        kind: RequestKind,
        key: impl fmt::Display,
        bytes_out: u64,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.request_with(kind, key, bytes_out, request, T::response).await
    }

    /// [`request`](Self::request) where `response` tells the response of a result.
    pub(crate) async fn request_with<T>(
        &self,
        kind: RequestKind,
        key: impl fmt::Display,
        bytes_out: u64,
        request: impl Future<Output = Result<T, StoreError>>,
        response: impl FnOnce(&T) -> (Response, u64),
    ) -> Result<T, StoreError> {
        let mut counted = self.begin(kind, &key, bytes_out);
        let span = counted.span.clone();
        let result = request.instrument(span).await;
        (counted.response, counted.bytes_in) = match &result {
            Ok(value) => response(value),
            Err(error) if error.is_conflict() => (Response::Conflict, 0),
            Err(_) => (Response::Failed, 0),
        };
        result
    }

    fn begin(&self, kind: RequestKind, key: &dyn fmt::Display, bytes_out: u64) -> Counted<'_> {
        let attempt = env::attempt();
        let span = tracing::debug_span!("request", kind = kind.name(), key = %key, attempt, outcome = Empty);
        let place = RequestKind::ALL.iter().position(|known| *known == kind);
        let counters = place.and_then(|place| self.0.get(place)).expect("every kind is in the list of all kinds");
        counters.calls.fetch_add(1, Relaxed);
        counters.retries.fetch_add(u64::from(attempt > 1), Relaxed);
        counters.bytes_out.fetch_add(bytes_out, Relaxed);
        let stopwatch = Stopwatch::start();
        Counted { counters, kind, span, stopwatch, bytes_out, bytes_in: 0, response: Response::Failed }
    }
}

/// A request under way. One that its caller abandons counts as failed.
struct Counted<'a> {
    counters: &'a Counters,
    kind: RequestKind,
    span: Span,
    stopwatch: Stopwatch,
    bytes_out: u64,
    bytes_in: u64,
    response: Response,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let Self { counters, response, .. } = self;
        let counter = match response {
            Response::Done => None,
            Response::Absent => Some(&counters.absent),
            Response::Unchanged => Some(&counters.unchanged),
            Response::Refused => Some(&counters.refused),
            Response::Conflict => Some(&counters.conflicts),
            Response::Failed => Some(&counters.failed),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Relaxed);
        }
        counters.bytes_in.fetch_add(self.bytes_in, Relaxed);
        self.span.record("outcome", display(response.name()));
        let (kind, response) = (self.kind.name(), response.name());
        metrics::counter!("deltafold_requests_total", "kind" => kind, "outcome" => response).increment(1);
        metrics::counter!("deltafold_request_bytes_total", "kind" => kind, "direction" => "out")
            .increment(self.bytes_out);
        metrics::counter!("deltafold_request_bytes_total", "kind" => kind, "direction" => "in")
            .increment(self.bytes_in);
        metrics::histogram!("deltafold_request_seconds", "kind" => kind).record(self.stopwatch.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreErrorKind;

    #[tokio::test]
    async fn every_response_is_counted_where_it_belongs() {
        let meter = Meter::default();
        let responses = [
            Response::Done,
            Response::Absent,
            Response::Unchanged,
            Response::Refused,
            Response::Conflict,
            Response::Failed,
        ];
        for response in responses {
            meter.request_with(RequestKind::Create, "k", 10, async { Ok(()) }, |()| (response, 3)).await.unwrap();
        }
        let failed = StoreError::new(StoreErrorKind::Transient, "create", "k", "no");
        let failing = env::attempting(2, meter.request(RequestKind::Get, "k", 0, async { Err::<(), _>(failed) }));
        failing.await.unwrap_err();
        // Abandoned half way.
        let given_up = meter.request(RequestKind::List, "k", 0, std::future::pending::<Result<(), _>>());
        tokio::select! { biased; _ = given_up => unreachable!(), () = async {} => {} }
        let requests = meter.requests();
        let one = RequestCount {
            calls: 6,
            refused: 1,
            conflicts: 1,
            unchanged: 1,
            absent: 1,
            failed: 1,
            bytes_out: 60,
            bytes_in: 18,
            retries: 0,
        };
        assert_eq!(requests.of(RequestKind::Create), one);
        assert_eq!(
            requests.of(RequestKind::Get),
            RequestCount { calls: 1, retries: 1, failed: 1, ..RequestCount::default() }
        );
        assert_eq!(requests.of(RequestKind::List), RequestCount { calls: 1, failed: 1, ..RequestCount::default() });
        assert_eq!(requests.total().calls, 8);
        assert_eq!(requests.since(&requests).total(), RequestCount::default());
        assert_eq!(requests.iter().count(), 3);
    }
}
