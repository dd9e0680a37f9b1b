//! The pipelines of `docs/deploy/`: the requests that a load causes.

use super::MINUTES;
use super::bill::Bill;
use super::prices::{Item, Prices};

/// The way of changes to the function that appends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The function reads the table's stream, with a batching window.
    Stream,
    /// A forwarder packs each window of the stream into one message of a FIFO queue.
    Forwarder,
    /// A FIFO queue carries one message for each change; it has no window.
    Fifo,
    /// A standard queue carries one message for each change, with a window.
    Standard,
}

/// Requests of the log to the store, as `tests/services/cost.rs` counts them on a real server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// PUTs of an append of one segment.
    pub append_puts: f64,
    /// GETs of it.
    pub append_gets: f64,
    /// PUTs and LISTs of a fold that starts cold.
    pub fold_puts: f64,
    /// GETs of it, without those of the segments.
    pub fold_gets: f64,
    /// GETs of it for each segment.
    pub fold_gets_a_segment: f64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { append_puts: 1.0, append_gets: 1.0, fold_puts: 7.0, fold_gets: 4.0, fold_gets_a_segment: 1.0 }
    }
}

/// The load to bill. The defaults are those of the template in `docs/deploy/`.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Changes a minute, day and night.
    pub messages: f64,
    /// Records in the collection.
    pub records: f64,
    /// Bytes of one, embedding included.
    pub record_bytes: f64,
    /// Copies of the snapshot in the store: itself, older generations, the log.
    pub generations: f64,
    /// The way of changes.
    pub source: Source,
    /// The batching window in seconds.
    pub window: f64,
    /// Shards of the stream with changes at a time, or pollers of the standard queue.
    pub shards: f64,
    /// Shards of the collection: a batch makes a segment in each that it touches.
    pub log_shards: f64,
    /// Minutes between folds.
    pub fold_minutes: f64,
    /// Readers that poll for changes all the time.
    pub readers: f64,
    /// Seconds between their polls.
    pub poll: f64,
    /// Whether heads are in a DynamoDB table.
    pub heads_in_table: bool,
    /// Memory of the ingest function in GB, and seconds a call.
    pub ingest: (f64, f64),
    /// Memory of the compact function in GB, and seconds a call.
    pub compact: (f64, f64),
    /// Bytes of log that an invocation writes.
    pub log_bytes: f64,
    /// Custom metrics, and alarms.
    pub metrics: (f64, f64),
    /// Requests of appends and folds.
    pub shape: Shape,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            messages: 30.0,
            records: 70_000.0,
            record_bytes: 8_600.0,
            generations: 4.0,
            source: Source::Stream,
            window: 20.0,
            shards: 4.0,
            log_shards: 1.0,
            fold_minutes: 15.0,
            readers: 0.0,
            poll: 60.0,
            heads_in_table: false,
            ingest: (0.25, 0.12),
            compact: (1.0, 3.0),
            log_bytes: 700.0,
            metrics: (10.0, 5.0),
            shape: Shape::default(),
        }
    }
}

/// Bytes of changes in a packed message at most: the limit of 1 MiB, less room for their envelope.
const PACKED_BYTES: f64 = 900_000.0;
/// The billing unit of a request to a queue.
const QUEUE_CHUNK: f64 = 65_536.0;
/// Five pollers, each with a poll every 20 s, as a mapping has them on an idle queue.
const IDLE_POLLS_A_MINUTE: f64 = 15.0;

impl Load {
    /// Invocations of the ingest function a month.
    pub fn batches(&self) -> f64 {
        let changes = self.messages * MINUTES;
        match self.source {
            // A batch in flight locks its group. Changes that come meanwhile form the next batch,
            // 10 at most.
            Source::Fifo => changes / (self.messages * self.ingest.1 / 60.0).clamp(1.0, 10.0),
            _ => self.windows().max(changes / self.most_a_batch()),
        }
    }

    /// Windows with at least one change, if changes come one by one: a window stays empty with the
    /// probability of the Poisson distribution.
    fn windows(&self) -> f64 {
        let expected = self.messages * self.window / 60.0 / self.shards;
        self.shards * MINUTES * 60.0 / self.window * (1.0 - (-expected).exp())
    }

    fn most_a_batch(&self) -> f64 {
        match self.source {
            Source::Forwarder => (PACKED_BYTES / self.record_bytes).max(1.0),
            _ => (6.0e6 / self.record_bytes).clamp(1.0, 10_000.0),
        }
    }

    /// Segments a month: a batch makes one in each shard that its changes fall into.
    pub fn segments(&self) -> f64 {
        let changes = self.messages * MINUTES;
        if changes == 0.0 {
            return 0.0;
        }
        let batches = self.batches();
        let untouched = (1.0 - 1.0 / self.log_shards).powf(changes / batches);
        batches * self.log_shards * (1.0 - untouched)
    }
}

/// The bill of a month.
pub fn bill(load: &Load, prices: &Prices) -> Bill {
    let mut bill = Bill::default();
    let mut add = |service, what: &str, item, quantity| bill.add(prices, service, what, item, quantity);
    let (changes, batches, segments) = (load.messages * MINUTES, load.batches(), load.segments());
    let runs = MINUTES / load.fold_minutes;
    let folds = (runs * load.log_shards).min(segments);
    let shape = &load.shape;

    add("S3", "appends: PUT", Item::S3Put, segments * shape.append_puts);
    add("S3", "folds: PUT, LIST", Item::S3Put, folds * shape.fold_puts);
    let head_gets = if load.heads_in_table { 0.0 } else { segments * shape.append_gets };
    add("S3", "appends: GET", Item::S3Get, head_gets);
    add("S3", "folds: GET", Item::S3Get, folds * shape.fold_gets + segments * shape.fold_gets_a_segment);
    let looks = load.readers * MINUTES * 60.0 / load.poll * load.log_shards;
    add("S3", "readers: GET", Item::S3Get, 2.0 * looks + load.readers * segments);
    add("S3", "storage", Item::S3Storage, load.records * load.record_bytes * load.generations / 1.0e9);

    add("Lambda", "ingest: memory and time", Item::LambdaArm, batches * load.ingest.0 * load.ingest.1);
    add("Lambda", "ingest: invocations", Item::LambdaRequest, batches);
    add("Lambda", "compact: memory and time", Item::LambdaArm, runs * load.compact.0 * load.compact.1);
    add("Lambda", "compact: invocations", Item::LambdaRequest, runs);
    let mut invocations = batches + runs;

    let idle = IDLE_POLLS_A_MINUTE * MINUTES;
    match load.source {
        Source::Stream => {}
        Source::Forwarder => {
            let forwarded = load.windows();
            invocations += forwarded;
            add("Lambda", "forward: memory and time", Item::LambdaArm, forwarded * load.ingest.0 * load.ingest.1);
            add("Lambda", "forward: invocations", Item::LambdaRequest, forwarded);
            let chunks = (changes / batches * load.record_bytes / QUEUE_CHUNK).max(1.0);
            add("SQS", "sends and receives", Item::SqsFifo, 2.0 * batches * chunks);
            add("SQS", "deletes and idle polls", Item::SqsFifo, batches + idle);
        }
        Source::Fifo => {
            add("SQS", "sends, receives, deletes, idle polls", Item::SqsFifo, changes + 2.0 * batches + idle)
        }
        Source::Standard => {
            let receives = (changes / 10.0).max(batches);
            add("SQS", "sends, receives, deletes, idle polls", Item::SqsStandard, changes + 2.0 * receives + idle);
        }
    }
    if load.heads_in_table {
        add("DynamoDB", "appends: head read", Item::TableRead, segments);
        add("DynamoDB", "folds: head and claim", Item::TableWrite, 3.0 * folds);
    }
    add("CloudWatch", "logs", Item::LogGb, invocations * load.log_bytes / 1.0e9);
    add("CloudWatch", "metrics", Item::Metric, load.metrics.0);
    add("CloudWatch", "alarms", Item::Alarm, load.metrics.1);
    add("EventBridge", "schedule", Item::Schedule, runs);
    bill
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: Source, messages: f64, window: f64, shards: f64) -> (f64, f64) {
        let load = Load { source, messages, window, shards, ..Load::default() };
        (load.batches(), bill(&load, &Prices::default()).to_pay())
    }

    /// Invocations a month of a load, and the bounds of its bill in dollars, by source.
    #[test]
    fn a_table_of_cases() {
        use Source::{Fifo, Forwarder, Standard, Stream};
        for (source, messages, window, shards, batches, from, to) in [
            (Stream, 30.0, 20.0, 1.0, 129_594.0, 0.9, 1.1),
            (Stream, 30.0, 20.0, 4.0, 475_847.0, 2.7, 3.0),
            (Stream, 300.0, 20.0, 4.0, 518_400.0, 2.9, 5.0),
            (Stream, 3_000.0, 20.0, 4.0, 518_400.0, 2.9, 5.0),
            (Stream, 30.0, 60.0, 4.0, 172_704.0, 1.1, 1.4),
            (Forwarder, 30.0, 20.0, 1.0, 129_594.0, 0.9, 1.5),
            (Fifo, 30.0, 20.0, 4.0, 1_296_000.0, 9.0, 11.5),
            (Fifo, 300.0, 20.0, 4.0, 12_960_000.0, 95.0, 110.0),
            (Standard, 30.0, 20.0, 2.0, 257_453.0, 1.5, 3.0),
            (Stream, 0.0, 20.0, 4.0, 0.0, 0.05, 0.2),
        ] {
            let (got, dollars) = of(source, messages, window, shards);
            let case =
                format!("{source:?} {messages} a minute, {window} s, {shards} shards: {got:.0} batches, ${dollars:.2}");
            assert!((got - batches).abs() <= batches / 1_000.0, "{case}");
            assert!((from..=to).contains(&dollars), "{case}");
        }
    }

    #[test]
    fn more_of_everything_costs_no_less() {
        let least = Load::default();
        let cost = |load: &Load| bill(load, &Prices::default()).list();
        for more in [
            Load { messages: 31.0, ..least.clone() },
            Load { records: 80_000.0, ..least.clone() },
            Load { shards: 5.0, ..least.clone() },
            Load { log_shards: 2.0, ..least.clone() },
            Load { window: 19.0, ..least.clone() },
            Load { fold_minutes: 14.0, ..least.clone() },
            Load { readers: 1.0, ..least.clone() },
        ] {
            assert!(cost(&more) > cost(&least), "{more:?}");
        }
        let table = bill(&Load { heads_in_table: true, ..least.clone() }, &Prices::default());
        assert!(
            table.list_for("DynamoDB") > 0.0 && table.list() < cost(&least),
            "a read of a table is cheaper than a GET"
        );
    }

    #[test]
    fn batches_are_bounded_by_an_invocation() {
        let heavy = Load { messages: 60_000.0, record_bytes: 60_000.0, ..Load::default() };
        assert_eq!(heavy.batches(), 60_000.0 * MINUTES / 100.0);
        let backlog = Load { source: Source::Fifo, messages: 10_000.0, ..Load::default() };
        assert_eq!(backlog.batches(), 10_000.0 * MINUTES / 10.0);
    }
}
