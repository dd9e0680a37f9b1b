//! Counts for Prometheus, in the text form of OpenMetrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::opened::Opened;
use crate::cost::{self, Prices};
use crate::store::Requests;

/// The type of the text.
pub(super) const MEDIA: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Upper bounds of the latencies, in seconds.
const BOUNDS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// A call. Routes are templates, so clients cannot make more of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    method: String,
    route: String,
    status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: String,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Direction {
    direction: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCollection {
    collection: String,
}

type Bounded = fn() -> Histogram;
type Dollars = Counter<f64, AtomicU64>;

/// Counts since the start of the server.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    calls: Family<Call, Counter>,
    seconds: Family<Route, Histogram, Bounded>,
    answered: Arc<Answered>,
}

/// All answers together, for the page.
#[derive(Debug, Default)]
struct Answered {
    all: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    micros: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let bounded: Bounded = || Histogram::new(BOUNDS);
        Self { calls: Family::default(), seconds: Family::new_with_constructor(bounded), answered: Arc::default() }
    }
}

/// The present load of a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gauges {
    pub(super) queries_running: usize,
    pub(super) queries_waiting: usize,
    pub(super) connections: usize,
    pub(super) open_collections: usize,
}

/// Answers since the start of a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answers {
    pub(super) all: u64,
    pub(super) refused: u64,
    pub(super) failed: u64,
    pub(super) mean: Duration,
}

/// Dollars that these requests would cost in S3 and DynamoDB, at list prices.
pub(super) fn dollars(requests: &Requests) -> f64 {
    let calls = requests.iter().map(|(kind, count)| (kind, count.calls as f64)).collect();
    cost::counted(&cost::Counted { calls }, 1.0, &Prices::default()).list()
}

impl Metrics {
    /// Counts an answered request.
    pub(super) fn count(&self, method: &str, route: &str, status: u16, time: Duration) {
        let (method, route) = (method.to_owned(), route.to_owned());
        let call = Call { method: method.clone(), route: route.clone(), status: status.to_string() };
        self.calls.get_or_create(&call).inc();
        self.seconds.get_or_create(&Route { method, route }).observe(time.as_secs_f64());
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.answered.all.fetch_add(1, Ordering::Relaxed);
        self.answered.micros.fetch_add(micros, Ordering::Relaxed);
        if status >= 500 {
            self.answered.failed.fetch_add(1, Ordering::Relaxed);
        } else if status >= 400 {
            self.answered.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All answers together.
    pub(super) fn answers(&self) -> Answers {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let all = load(&self.answered.all);
        Answers {
            all,
            refused: load(&self.answered.refused),
            failed: load(&self.answered.failed),
            mean: Duration::from_micros(load(&self.answered.micros) / all.max(1)),
        }
    }

    /// All counts, with those of the store and of open collections.
    pub(super) fn text(&self, requests: &Requests, gauges: Gauges, opened: &[Arc<Opened>]) -> String {
        let mut registry = Registry::with_prefix("deltafold");
        registry.register("http_requests", "Answered requests", self.calls.clone());
        registry.register("http_request_seconds", "Time from headers to answer", self.seconds.clone());
        of_load(&mut registry, gauges);
        of_store(&mut registry, requests);
        of_collections(&mut registry, opened);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

fn of_load(registry: &mut Registry, gauges: Gauges) {
    let mut add = |name: &str, help: &str, value: usize| {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    add("queries_running", "Reads that run now", gauges.queries_running);
    add("queries_waiting", "Reads that wait for their turn", gauges.queries_waiting);
    add("connections", "Open connections", gauges.connections);
    add("open_collections", "Collections that the server has open", gauges.open_collections);
}

fn of_store(registry: &mut Registry, requests: &Requests) {
    let (calls, bytes, cost) =
        (Family::<Kind, Counter>::default(), Family::<Direction, Counter>::default(), Dollars::default());
    for (kind, count) in requests.iter() {
        calls.get_or_create(&Kind { kind: kind.name().to_owned() }).inc_by(count.calls);
    }
    let total = requests.total();
    bytes.get_or_create(&Direction { direction: "in".to_owned() }).inc_by(total.bytes_in);
    bytes.get_or_create(&Direction { direction: "out".to_owned() }).inc_by(total.bytes_out);
    cost.inc_by(dollars(requests));
    registry.register("store_requests", "Requests to the store", calls);
    registry.register("store_bytes", "Bytes of objects received and sent", bytes);
    registry.register("store_dollars", "List price of these requests in S3 and DynamoDB", cost);
}

fn of_collections(registry: &mut Registry, opened: &[Arc<Opened>]) {
    let (lag, version) = (Family::<OfCollection, Gauge>::default(), Family::<OfCollection, Gauge>::default());
    let (folds, merges) = (Family::<OfCollection, Counter>::default(), Family::<OfCollection, Counter>::default());
    let (folded, written) = (Family::<OfCollection, Counter>::default(), Family::<OfCollection, Counter>::default());
    for open in opened {
        let labels = OfCollection { collection: open.collection().name().to_string() };
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        if let Some(sample) = open.samples().last() {
            lag.get_or_create(&labels).set(number(sample.lag));
            version.get_or_create(&labels).set(number(sample.version));
        }
        let upkeep = open.upkeep();
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        folds.get_or_create(&labels).inc_by(load(&upkeep.folds));
        merges.get_or_create(&labels).inc_by(load(&upkeep.merges));
        folded.get_or_create(&labels).inc_by(load(&upkeep.bytes_folded));
        written.get_or_create(&labels).inc_by(load(&upkeep.bytes_written));
    }
    registry.register("log_lag_segments", "Segments not folded yet, as last seen", lag);
    registry.register("version", "Versions of all shards together, as last seen", version);
    registry.register("folds", "Folds that this server published", folds);
    registry.register("merges", "Merges that this server published", merges);
    registry.register("folded_bytes", "Bytes of segments that these folds read", folded);
    registry.register("compaction_written_bytes", "Bytes that folds and merges wrote", written);
}
