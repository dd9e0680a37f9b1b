//! The alternatives: the way before, by the same formulas; a file system; a hosted collection.

use super::MINUTES;
use super::bill::Bill;
use super::prices::{Item, Prices};

/// The way before: it downloads the whole snapshot for every ten messages, changes it and uploads
/// it again.
#[derive(Debug, Clone, PartialEq)]
pub struct OldWay {
    /// Messages a minute, day and night.
    pub messages: f64,
    /// Messages a cycle.
    pub batch: f64,
    /// Seconds a cycle.
    pub seconds: f64,
    /// Memory of the function, GB.
    pub memory: f64,
    /// Its temporary disk, GB.
    pub disk: f64,
    /// Bytes of the snapshot, down and up each cycle.
    pub snapshot: f64,
    /// Bytes of a part of an upload, and of a range of a download.
    pub part: f64,
    /// Snapshots kept.
    pub kept: f64,
    /// Writes to the table of locks a cycle: to take, keep and release, and the attempts that lost.
    pub lock_writes: f64,
}

impl Default for OldWay {
    fn default() -> Self {
        Self {
            messages: 30.0,
            batch: 10.0,
            seconds: 19.0,
            memory: 4.0,
            disk: 10.0,
            snapshot: 6.0e8,
            part: 8.0e6,
            kept: 9.0,
            lock_writes: 10.0,
        }
    }
}

impl OldWay {
    /// Cycles a month.
    pub fn cycles(&self) -> f64 {
        self.messages * MINUTES / self.batch
    }

    /// The most messages a minute that it can do, one cycle after the other.
    pub fn at_most(&self) -> f64 {
        60.0 / self.seconds * self.batch
    }

    fn parts(&self) -> f64 {
        (self.snapshot / self.part).ceil()
    }
}

/// Its bill, even if it could not keep up.
pub fn old_way(old: &OldWay, prices: &Prices) -> Bill {
    let mut bill = Bill::default();
    let mut add = |service, what: &str, item, quantity| bill.add(prices, service, what, item, quantity);
    let cycles = old.cycles();
    let seconds = cycles * old.seconds;
    add("Lambda", "memory and time", Item::LambdaX86, seconds * old.memory);
    add("Lambda", "invocations", Item::LambdaRequest, cycles);
    add("Lambda", "temporary disk", Item::LambdaDisk, seconds * (old.disk - 0.5).max(0.0));
    add("S3", "uploads: PUT", Item::S3Put, cycles * (old.parts() + 3.0));
    add("S3", "downloads: GET", Item::S3Get, cycles * (old.parts() + 1.0));
    add("S3", "storage", Item::S3Storage, old.kept * old.snapshot / 1.0e9);
    let changes = old.messages * MINUTES;
    add("SQS", "sends, receives, deletes, idle polls", Item::SqsFifo, changes + 2.0 * cycles + 15.0 * MINUTES);
    add("DynamoDB", "locks", Item::TableWrite, cycles * old.lock_writes);
    bill
}

/// A figure that the owner wrote down for the old way, beside the one from its parameters.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Written {
    /// Its purpose.
    pub what: &'static str,
    /// The bounds written down, in dollars.
    pub written: (f64, f64),
    /// The dollars that follow from the parameters.
    pub follows: f64,
    /// The load that the written figure would pay for.
    pub instead: String,
}

impl Written {
    /// Whether the two agree within a quarter.
    pub fn agrees(&self) -> bool {
        (self.written.0 * 0.75..=self.written.1 * 1.25).contains(&self.follows)
    }
}

/// The owner's written figures, each beside the one from the parameters.
pub fn written(old: &OldWay, prices: &Prices) -> Vec<Written> {
    let bill = old_way(old, prices);
    let of = |service: &str, what: fn(&str) -> bool| {
        bill.lines.iter().filter(|line| line.service == service && what(&line.what)).map(|line| line.list).sum::<f64>()
    };
    let cycles = old.cycles();
    let cycle = |item| prices.of(item) * old.memory * old.seconds * MINUTES;
    let millions = |dollars: f64, item| dollars / prices.of(item) / 1.0e6;
    let efs = file_system(old, prices).list();
    vec![
        Written {
            what: "Lambda",
            written: (86.0, 86.0),
            follows: of("Lambda", |_| true),
            instead: format!(
                "pays for {:.2} cycles a minute on x86-64, {:.2} on arm64, not {:.2}",
                86.0 / cycle(Item::LambdaX86),
                86.0 / cycle(Item::LambdaArm),
                cycles / MINUTES
            ),
        },
        Written {
            what: "S3 requests",
            written: (20.0, 20.0),
            follows: of("S3", |what| what != "storage"),
            instead: format!(
                "pays for {:.0} PUTs a cycle; {:.0} MB in parts of {:.0} MB are {:.0}",
                20.0 / prices.of(Item::S3Put) / cycles,
                old.snapshot / 1.0e6,
                old.part / 1.0e6,
                old.parts()
            ),
        },
        Written {
            what: "SQS",
            written: (10.0, 20.0),
            follows: of("SQS", |_| true),
            instead: format!(
                "pays for {:.0} to {:.0} million requests; the load makes {:.1}",
                millions(10.0, Item::SqsFifo),
                millions(20.0, Item::SqsFifo),
                millions(of("SQS", |_| true), Item::SqsFifo)
            ),
        },
        Written {
            what: "DynamoDB",
            written: (5.0, 5.0),
            follows: of("DynamoDB", |_| true),
            instead: format!(
                "pays for {:.0} million writes; {:.0} a cycle are {:.1}",
                millions(5.0, Item::TableWrite),
                old.lock_writes,
                cycles * old.lock_writes / 1.0e6
            ),
        },
        Written {
            what: "S3 storage",
            written: (0.12, 0.12),
            follows: of("S3", |what| what == "storage"),
            instead: format!("pays for {:.1} GB", 0.12 / prices.of(Item::S3Storage)),
        },
        Written {
            what: "a file system instead",
            written: (19_000.0, 19_000.0),
            follows: efs,
            instead: format!(
                "pays for {:.1} GB read a cycle; the snapshot has {:.1} GB, read and written",
                19_000.0 / cycles / prices.of(Item::FileRead),
                old.snapshot / 1.0e9
            ),
        },
    ]
}

/// The old way's snapshot on a file system with elastic throughput, read and written whole each
/// cycle. The transfer alone.
pub fn file_system(old: &OldWay, prices: &Prices) -> Bill {
    let mut bill = Bill::default();
    let moved = old.cycles() * old.snapshot / 1.0e9;
    bill.add(prices, "EFS", "read", Item::FileRead, moved);
    bill.add(prices, "EFS", "written", Item::FileWrite, moved);
    bill
}

/// A collection at a hosted service, by its stated rates.
#[derive(Debug, Clone, PartialEq)]
pub struct Hosted {
    /// Changes a minute.
    pub messages: f64,
    /// Bytes sent for a change.
    pub change_bytes: f64,
    /// Bytes kept.
    pub stored: f64,
    /// Queries a month, each a scan of all stored data.
    pub queries: f64,
}

/// Its bill.
pub fn hosted(load: &Hosted, prices: &Prices) -> Bill {
    const GIB: f64 = 1_073_741_824.0;
    let mut bill = Bill::default();
    bill.add(prices, "hosted", "written", Item::HostedWrite, load.messages * MINUTES * load.change_bytes / GIB);
    bill.add(prices, "hosted", "kept", Item::HostedStorage, load.stored / GIB);
    bill.add(prices, "hosted", "queries", Item::HostedScan, load.queries * load.stored / GIB / 1_024.0);
    bill
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_figures_are_recomputed_and_compared() {
        let old = OldWay::default();
        assert_eq!(old.cycles(), 129_600.0);
        assert!((old.at_most() - 31.6).abs() < 0.1, "it is saturated by the load");
        let figures = written(&old, &Prices::default());
        let follows: Vec<(&str, f64, bool)> =
            figures.iter().map(|figure| (figure.what, figure.follows.round(), figure.agrees())).collect();
        assert_eq!(
            follows,
            [
                ("Lambda", 165.0, false),
                ("S3 requests", 54.0, false),
                ("SQS", 1.0, false),
                ("DynamoDB", 1.0, false),
                ("S3 storage", 0.0, true),
                ("a file system instead", 6_998.0, false),
            ]
        );
        assert!(figures[0].instead.contains("1.57 cycles a minute on x86-64, 1.96 on arm64, not 3.00"), "{figures:?}");
        assert!(figures[1].instead.contains("31 PUTs a cycle"), "{figures:?}");
        assert!(figures[2].instead.contains("20 to 40 million requests; the load makes 2.2"), "{figures:?}");
        assert!(figures[5].instead.contains("4.9 GB read a cycle"), "{figures:?}");
    }

    #[test]
    fn a_hosted_collection_at_its_stated_rates() {
        let load = Hosted { messages: 30.0, change_bytes: 2_568.0, stored: 6.44e8, queries: 1.0e6 };
        let dollars = hosted(&load, &Prices::default()).list();
        assert!((12.0..13.0).contains(&dollars), "{dollars}");
    }
}
