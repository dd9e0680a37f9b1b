//! Counts the requests to a store, as its users pay by request.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, AddAssign};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use deltafold_format::Timestamp;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

use super::{Listed, Object, Outcome, StoreError, Unless};
use crate::env::{self, Stopwatch};

/// Kinds of requests, as a bill lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RequestKind {
    /// A whole object, or a range of one.
    Get,
    /// An object, unless it is unchanged.
    GetUnless,
    /// A new object.
    Create,
    /// A replaced register.
    Replace,
    /// The start of a large object's upload.
    UploadStart,
    /// A part of such an upload.
    UploadPart,
    /// The request that makes it an object.
    UploadComplete,
    /// The abort of an upload.
    UploadAbort,
    /// A page of unfinished uploads.
    UploadList,
    /// A page of names.
    List,
    /// A batch of up to 1,000 removals.
    Delete,
    /// The store's clock.
    Clock,
    /// A read of a register in a table.
    RegisterRead,
    /// A write of a register in a table.
    RegisterWrite,
    /// A list of the registers of a table.
    RegisterList,
}

impl RequestKind {
    /// All kinds.
    pub const ALL: [Self; 15] = [
        Self::Get,
        Self::GetUnless,
        Self::Create,
        Self::Replace,
        Self::UploadStart,
        Self::UploadPart,
        Self::UploadComplete,
        Self::UploadAbort,
        Self::UploadList,
        Self::List,
        Self::Delete,
        Self::Clock,
        Self::RegisterRead,
        Self::RegisterWrite,
        Self::RegisterList,
    ];

    /// Its name in metrics, traces and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::GetUnless => "get_unless",
            Self::Create => "create",
            Self::Replace => "replace",
            Self::UploadStart => "upload_start",
            Self::UploadPart => "upload_part",
            Self::UploadComplete => "upload_complete",
            Self::UploadAbort => "upload_abort",
            Self::UploadList => "upload_list",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Clock => "clock",
            Self::RegisterRead => "register_read",
            Self::RegisterWrite => "register_write",
            Self::RegisterList => "register_list",
        }
    }
}

impl fmt::Display for RequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The response of a store to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response {
    /// The store did it.
    Done,
    /// The object is absent.
    Absent,
    /// The object is unchanged.
    Unchanged,
    /// The condition of a write did not hold.
    Refused,
    /// Others were writing. Nothing landed.
    Conflict,
    /// An error, or no answer.
    Failed,
}

impl Response {
    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Absent => "absent",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
        }
    }
}

/// A result of a request, from which a [`Meter`] takes the response.
///
/// Every result of a verb of [`Store`](super::Store) has one. Implement it for the results of
/// requests that are not verbs, such as the start of an upload.
pub trait HasResponse {
    /// The response, and the bytes of objects received with it.
    fn response(&self) -> (Response, u64);
}

impl HasResponse for Option<Object> {
    fn response(&self) -> (Response, u64) {
        read_response(self.as_ref().map(|object| &object.bytes))
    }
}

impl HasResponse for Option<Bytes> {
    fn response(&self) -> (Response, u64) {
        read_response(self.as_ref())
    }
}

impl HasResponse for Unless {
    fn response(&self) -> (Response, u64) {
        match self {
            Self::Unchanged => (Response::Unchanged, 0),
            Self::Changed(object) => read_response(Some(&object.bytes)),
            Self::Absent => (Response::Absent, 0),
        }
    }
}

impl HasResponse for Outcome {
    fn response(&self) -> (Response, u64) {
        let response = match self {
            Self::Done(_) => Response::Done,
            Self::Refused => Response::Refused,
            Self::Unknown(_) => Response::Failed,
        };
        (response, 0)
    }
}

impl HasResponse for Vec<Listed> {
    fn response(&self) -> (Response, u64) {
        (Response::Done, 0)
    }
}

impl HasResponse for Timestamp {
    fn response(&self) -> (Response, u64) {
        (Response::Done, 0)
    }
}

impl HasResponse for () {
    fn response(&self) -> (Response, u64) {
        (Response::Done, 0)
    }
}

/// The response to a read of an object or of a range, and its length.
pub(crate) fn read_response(bytes: Option<&Bytes>) -> (Response, u64) {
    bytes.map_or((Response::Absent, 0), |bytes| (Response::Done, bytes.len() as u64))
}

/// Requests of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestCount {
    /// All of them, with any answer.
    pub calls: u64,
    /// Those that were not the first attempt.
    pub retries: u64,
    /// Requests answered with a conflict, which means that nothing landed: HTTP 409.
    pub conflicts: u64,
    /// Writes whose condition did not hold: HTTP 412.
    pub refused: u64,
    /// Conditional reads of an unchanged object: HTTP 304.
    pub unchanged: u64,
    /// Reads of an absent object: HTTP 404.
    pub absent: u64,
    /// Requests that failed or had no answer.
    pub failed: u64,
    /// Bytes of objects sent.
    pub bytes_out: u64,
    /// Bytes of objects received.
    pub bytes_in: u64,
}

impl Add for RequestCount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_add)
    }
}

impl RequestCount {
    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            calls: with(self.calls, other.calls),
            retries: with(self.retries, other.retries),
            conflicts: with(self.conflicts, other.conflicts),
            refused: with(self.refused, other.refused),
            unchanged: with(self.unchanged, other.unchanged),
            absent: with(self.absent, other.absent),
            failed: with(self.failed, other.failed),
            bytes_out: with(self.bytes_out, other.bytes_out),
            bytes_in: with(self.bytes_in, other.bytes_in),
        }
    }
}

/// Requests by kind.
///
/// A [`Meter`] makes it. A store with counters of its own collects it:
///
/// ```
/// use deltafold::store::{RequestCount, RequestKind, Requests};
///
/// let mut gets = RequestCount::default();
/// gets.calls = 3;
/// gets.absent = 1;
/// let requests: Requests = [(RequestKind::Get, gets)].into_iter().collect();
/// assert_eq!(requests.total().calls, 3);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests(BTreeMap<RequestKind, RequestCount>);

impl Requests {
    /// The requests of one kind.
    pub fn of(&self, kind: RequestKind) -> RequestCount {
        self.0.get(&kind).copied().unwrap_or_default()
    }

    /// The kinds that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (RequestKind, RequestCount)> + '_ {
        self.0.iter().map(|(kind, count)| (*kind, *count)).filter(|(_, count)| count.calls > 0)
    }

    /// All kinds together.
    pub fn total(&self) -> RequestCount {
        self.0.values().copied().fold(RequestCount::default(), Add::add)
    }

    /// The requests since `earlier`, which the same store returned.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let since =
            |(kind, count): (&RequestKind, &RequestCount)| (*kind, count.zip(earlier.of(*kind), u64::saturating_sub));
        Self(self.0.iter().map(since).collect())
    }
}

/// Counts of one kind add up.
impl FromIterator<(RequestKind, RequestCount)> for Requests {
    fn from_iter<I: IntoIterator<Item = (RequestKind, RequestCount)>>(counts: I) -> Self {
        let mut all = Self::default();
        for (kind, count) in counts {
            all += Self(BTreeMap::from([(kind, count)]));
        }
        all
    }
}

impl AddAssign<Requests> for Requests {
    fn add_assign(&mut self, other: Self) {
        for (kind, count) in other.0 {
            let sum = self.of(kind) + count;
            self.0.insert(kind, sum);
        }
    }
}

/// Counts the requests of one store, and reports each to metrics and traces. Clones count together.
///
/// A store keeps one, makes its requests through it, and answers
/// [`Store::requests`](super::Store::requests) from it:
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
        Requests(RequestKind::ALL.into_iter().zip(self.0.iter().map(count)).collect())
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

    #[test]
    fn kinds_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = RequestKind::ALL.map(RequestKind::name).into();
        assert_eq!(names.len(), RequestKind::ALL.len());
    }
}
