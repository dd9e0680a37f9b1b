//! The bill of a collection that clients query, here and at other services.

use super::bill::Bill;
use super::prices::{Item, Prices};

/// Dollars a month that the owner wrote down for the way before, whatever the number of queries.
pub const OLD_WAY_FLAT: f64 = 130.0;

const GB: f64 = 1.0e9;
const GIB: f64 = 1_073_741_824.0;
/// Bytes that a function reads at once before its connection is slowed down, and then by the
/// second: 300 MiB at 1.2 GiB/s, then 75 MiB/s (arXiv 2501.07771).
const BURST: (f64, f64) = (300.0 * 1_048_576.0, 1.2 * GIB);
const STEADY: f64 = 75.0 * 1_048_576.0;

/// A collection, its writes and its queries of a month.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryLoad {
    /// Records in the collection. Each is written once in the month.
    pub records: f64,
    /// Dimensions of their embeddings.
    pub dimension: f64,
    /// Bytes of id, document and metadata of a record.
    pub rest_bytes: f64,
    /// Records of a write.
    pub batch: f64,
    /// Queries a month.
    pub queries: f64,
    /// Records that a query returns, without their embeddings.
    pub results: f64,
    /// Queries a month that an instance without any copy answers: at least so many, and this share
    /// of all.
    pub cold: (f64, f64),
    /// Copies of the snapshot in the store: itself, older generations, the log.
    pub generations: f64,
    /// Requests and time of a query.
    pub shape: QueryShape,
}

impl Default for QueryLoad {
    fn default() -> Self {
        Self {
            records: 70_000.0,
            dimension: 384.0,
            rest_bytes: 1_000.0,
            batch: 100.0,
            queries: 1.0e6,
            results: 10.0,
            cold: (720.0, 0.001),
            generations: 4.0,
            shape: QueryShape::default(),
        }
    }
}

/// Requests and time of a query, as `docs/benchmarks.md` measures them.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryShape {
    /// GETs of a warm query: the head, and the end of the log.
    pub warm_gets: f64,
    /// Seconds that a function waits for them.
    pub warm_seconds: f64,
    /// Processor seconds for each byte of the 8-bit codes.
    pub scan: f64,
    /// Bytes that a cold exact query reads for each record, besides the codes: columns, factors,
    /// the rows of candidates.
    pub cold_bytes: f64,
    /// Bytes of a GET of a cold query.
    pub cold_get: f64,
    /// Seconds that a cold query takes besides its bytes.
    pub cold_seconds: f64,
    /// Seconds of an append of one batch.
    pub append_seconds: f64,
    /// Memory of the function in GB, besides the codes, and for each GB of codes.
    pub memory: (f64, f64),
    /// The least memory of the function in GB: that of one whole processor.
    pub least_memory: f64,
}

impl Default for QueryShape {
    fn default() -> Self {
        Self {
            warm_gets: 2.0,
            warm_seconds: 0.06,
            scan: 9.0e-11,
            cold_bytes: 28.0,
            cold_get: 41.2e6 / 92.0,
            cold_seconds: 0.2,
            append_seconds: 0.12,
            memory: (0.5, 1.4),
            least_memory: 1.769,
        }
    }
}

impl QueryLoad {
    /// Bytes of the embeddings and the rest, as other services count them.
    pub fn logical(&self) -> f64 {
        self.records * (4.0 * self.dimension + self.rest_bytes)
    }

    fn codes(&self) -> f64 {
        self.records * self.dimension
    }

    /// Queries that an instance without any copy answers.
    pub fn cold_queries(&self) -> f64 {
        (self.cold.0 + self.cold.1 * self.queries).min(self.queries)
    }

    /// Memory of the function in GB.
    pub fn memory(&self) -> f64 {
        (self.shape.memory.0 + self.shape.memory.1 * self.codes() / GB).max(self.shape.least_memory)
    }

    /// Seconds of a warm query.
    pub fn warm_seconds(&self) -> f64 {
        self.shape.warm_seconds + self.codes() * self.shape.scan
    }

    fn cold_bytes(&self) -> f64 {
        self.codes() + self.records * self.shape.cold_bytes
    }

    /// Seconds of a cold query.
    pub fn cold_seconds(&self) -> f64 {
        let (burst, speed) = BURST;
        let quick = self.cold_bytes().min(burst);
        self.shape.cold_seconds + quick / speed + (self.cold_bytes() - quick) / STEADY + self.codes() * self.shape.scan
    }

    fn returned(&self) -> f64 {
        self.queries * self.results * self.rest_bytes
    }
}

/// The bill of the server behind a function URL.
pub fn function_url(load: &QueryLoad, prices: &Prices) -> Bill {
    let mut bill = Bill::default();
    let mut add = |service, what: &str, item, quantity| bill.add(prices, service, what, item, quantity);
    let shape = &load.shape;
    let (cold, appends) = (load.cold_queries(), load.records / load.batch);
    let warm = load.queries - cold;
    // 8-bit and 1-bit codes lie beside the rows.
    let stored = load.records * (load.dimension * (4.0 + 1.0 + 0.125) + load.rest_bytes);
    add("S3", "storage", Item::S3Storage, stored * load.generations / GB);
    add("S3", "queries: GET", Item::S3Get, load.queries * shape.warm_gets + cold * load.cold_bytes() / shape.cold_get);
    add("S3", "appends: PUT", Item::S3Put, appends);
    // A head for each append. A fold reads each segment once.
    add("S3", "appends and folds: GET", Item::S3Get, 2.0 * appends);
    let seconds = warm * load.warm_seconds() + cold * load.cold_seconds() + appends * shape.append_seconds;
    add("Lambda", "memory and time", Item::LambdaArm, seconds * load.memory());
    add("Lambda", "invocations", Item::LambdaRequest, load.queries + appends);
    bill
}

/// The bill at S3 Vectors, by its stated rates.
pub fn s3_vectors(load: &QueryLoad, prices: &Prices) -> Bill {
    let mut bill = Bill::default();
    let mut add = |what: &str, item, quantity| bill.add(prices, "S3 Vectors", what, item, quantity);
    add("written", Item::VectorsWrite, load.logical() / GB);
    add("kept", Item::VectorsStorage, load.logical() / GB);
    add("queries", Item::VectorsQuery, load.queries);
    add("data processed", Item::VectorsScan, load.queries * load.logical() / 1.0e12);
    bill
}

/// The bill at turbopuffer, by its stated rates, with its monthly minimum.
pub fn turbopuffer(load: &QueryLoad, prices: &Prices) -> Bill {
    /// Bytes that a query counts for, at least.
    const LEAST: f64 = 1.28e9;
    let mut bill = Bill::default();
    let mut add = |what: &str, item, quantity| bill.add(prices, "turbopuffer", what, item, quantity);
    add("written", Item::PufferWrite, load.logical() / GB);
    add("kept", Item::PufferStorage, load.logical() / GB);
    add("queried", Item::PufferScan, load.queries * load.logical().max(LEAST) / 1.0e15);
    add("returned", Item::PufferReturn, load.returned() / GB);
    let missing = prices.of(Item::PufferMinimum) - bill.list();
    bill.add(prices, "turbopuffer", "up to the minimum", Item::PufferMinimum, missing / prices.of(Item::PufferMinimum));
    bill
}

/// The bill at Chroma Cloud, by its stated rates.
pub fn chroma_cloud(load: &QueryLoad, prices: &Prices) -> Bill {
    let mut bill = Bill::default();
    let mut add = |what: &str, item, quantity| bill.add(prices, "Chroma Cloud", what, item, quantity);
    add("written", Item::HostedWrite, load.logical() / GIB);
    add("kept", Item::HostedStorage, load.logical() / GIB);
    add("queries", Item::HostedScan, load.queries * load.logical() / GIB / 1_024.0);
    add("returned", Item::HostedReturn, load.returned() / GIB);
    bill
}

/// The loads of the table in `docs/costs.md`: records, dimensions and queries a month.
pub fn query_loads() -> Vec<QueryLoad> {
    let mut loads = Vec::new();
    for records in [70_000.0, 1.0e6] {
        for dimension in [384.0, 1_536.0] {
            for queries in [1.0e6, 1.0e7, 1.0e8] {
                loads.push(QueryLoad { records, dimension, queries, ..QueryLoad::default() });
            }
        }
    }
    loads
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bills of two loads, worked out by hand.
    #[test]
    fn bills_follow_from_the_rates() {
        let prices = Prices::default();
        let near = |found: f64, expected: f64| (found - expected).abs() <= expected / 100.0;
        let load = QueryLoad::default();
        // 70,000 x 2,536 B are 0.1775 GB.
        let vectors = s3_vectors(&load, &prices);
        assert!(near(vectors.list(), 0.1775 * 0.26 + 2.5 + 177.5 * 0.004), "{vectors:?}");
        let cloud = chroma_cloud(&load, &prices);
        assert!(near(cloud.list(), 0.1653 * 2.83 + 161.4 * 0.0075 + 9.313 * 0.09), "{cloud:?}");
        let puffer = turbopuffer(&load, &prices);
        assert!(near(puffer.list(), 16.0), "the minimum: {puffer:?}");
        let large = QueryLoad { records: 1.0e6, dimension: 1_536.0, queries: 1.0e8, ..load };
        // 7.144 GB.
        let puffer = turbopuffer(&large, &prices);
        assert!(near(puffer.list(), 7.144 * 2.33 + 714.4 + 1_000.0 * 0.05), "{puffer:?}");
        assert!(!puffer.lines.iter().any(|line| line.item == Item::PufferMinimum), "{puffer:?}");
    }

    #[test]
    fn the_function_pays_for_requests_memory_and_time() {
        let prices = Prices::default();
        let load = QueryLoad { cold: (0.0, 0.0), ..QueryLoad::default() };
        let bill = function_url(&load, &prices);
        let of = |what: &str| bill.lines.iter().find(|line| line.what == what).map_or(0.0, |line| line.quantity);
        assert_eq!(of("queries: GET"), 2.0e6);
        assert_eq!((of("appends: PUT"), of("invocations")), (700.0, 1_000_700.0));
        let seconds = 1.0e6 * (0.06 + 70_000.0 * 384.0 * 9.0e-11) + 84.0;
        assert!((of("memory and time") - seconds * 1.769).abs() < 1.0, "{bill:?}");

        // A cold query of the measured collection reads as much as was measured.
        let measured = QueryLoad { records: 100_000.0, ..QueryLoad::default() };
        assert!((measured.cold_bytes() - 41.2e6).abs() < 0.1e6, "{}", measured.cold_bytes());
        assert!((0.2..0.3).contains(&measured.cold_seconds()), "{}", measured.cold_seconds());
        let large = QueryLoad { records: 1.0e6, dimension: 1_536.0, ..QueryLoad::default() };
        assert!((15.0..18.0).contains(&large.cold_seconds()), "75 MiB/s beyond the burst: {}", large.cold_seconds());
        assert!(large.memory() > 2.5, "the codes fit into memory: {}", large.memory());
        let few = QueryLoad { queries: 10.0, ..QueryLoad::default() };
        assert_eq!(few.cold_queries(), 10.0, "no more than there are");
    }

    #[test]
    fn more_of_everything_costs_no_less() {
        let prices = Prices::default();
        let least = QueryLoad::default();
        for bill in [function_url, s3_vectors, chroma_cloud, turbopuffer] {
            for more in [
                QueryLoad { records: 1.0e6, ..least.clone() },
                QueryLoad { dimension: 1_536.0, ..least.clone() },
                QueryLoad { queries: 2.0e6, ..least.clone() },
                QueryLoad { rest_bytes: 4_000.0, ..least.clone() },
            ] {
                assert!(bill(&more, &prices).list() >= bill(&least, &prices).list(), "{more:?}");
            }
        }
        assert_eq!(query_loads().len(), 12);
    }
}
