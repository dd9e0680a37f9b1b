//! Metrics for CloudWatch: a line of JSON in the log, in embedded metric format.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::io::Write;

use deltafold_format::{CollectionName, Timestamp};
use serde_json::{Map, Value, json};

use crate::env::{Env, System};
use crate::store::{RequestKind, Requests};

const NAMESPACE: &str = "Deltafold";

/// A metric. CloudWatch bills each pair of metric and collection; ten are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metric {
    /// Unfolded segments.
    LagSegments,
    /// Unfolded bytes.
    LagBytes,
    /// The age of the oldest: a message that was appended, or an op that was folded.
    LagSeconds,
    /// Ops appended.
    Appended,
    /// Messages whose ops the log held already.
    Duplicates,
    /// Messages reported as failed; requests of the server answered with a status of 500 and above.
    Failed,
    /// Log slots and versions that another process took first.
    Conflicts,
    /// Bytes read from the store.
    BytesIn,
    /// Bytes written to it.
    BytesOut,
    /// The highest version of a shard.
    Version,
}

impl Metric {
    #[cfg(test)]
    const ALL: [Self; 10] = [
        Self::LagSegments,
        Self::LagBytes,
        Self::LagSeconds,
        Self::Appended,
        Self::Duplicates,
        Self::Failed,
        Self::Conflicts,
        Self::BytesIn,
        Self::BytesOut,
        Self::Version,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::LagSegments => "LagSegments",
            Self::LagBytes => "LagBytes",
            Self::LagSeconds => "LagSeconds",
            Self::Appended => "Appended",
            Self::Duplicates => "Duplicates",
            Self::Failed => "Failed",
            Self::Conflicts => "Conflicts",
            Self::BytesIn => "BytesIn",
            Self::BytesOut => "BytesOut",
            Self::Version => "Version",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::LagBytes | Self::BytesIn | Self::BytesOut => "Bytes",
            Self::LagSeconds => "Seconds",
            Self::Version => "None",
            _ => "Count",
        }
    }
}

/// The measurements of one invocation for one collection.
#[derive(Debug, Default)]
pub(super) struct Measured(Vec<(Metric, f64)>);

impl Measured {
    pub(super) fn set(&mut self, metric: Metric, value: f64) {
        self.0.push((metric, value));
    }

    pub(super) fn count(&mut self, metric: Metric, value: u64) {
        #[expect(clippy::cast_precision_loss, reason = "a metric is a double")]
        self.set(metric, value as f64);
    }

    /// Adds the requests to the store.
    pub(super) fn requests(&mut self, requests: &Requests) {
        let total = requests.total();
        self.count(Metric::BytesIn, total.bytes_in);
        self.count(Metric::BytesOut, total.bytes_out);
    }

    /// Prints them. Ignores a closed standard output.
    pub(super) fn print(&self, collection: &CollectionName, request: &str, now: Timestamp) {
        self.print_of(("Collection", collection.as_str()), request, now);
    }

    /// Prints them as those of a function, whatever collections its requests concern.
    pub(super) fn print_of_function(&self, function: &str, request: &str, now: Timestamp) {
        self.print_of(("Function", function), request, now);
    }

    fn print_of(&self, dimension: (&str, &str), request: &str, now: Timestamp) {
        let _ = writeln!(std::io::stdout().lock(), "{}", self.line(dimension, request, now));
    }

    fn line(&self, dimension: (&str, &str), request: &str, now: Timestamp) -> Value {
        let metrics: Vec<Value> =
            self.0.iter().map(|(metric, _)| json!({ "Name": metric.name(), "Unit": metric.unit() })).collect();
        let directive = json!({ "Namespace": NAMESPACE, "Dimensions": [[dimension.0]], "Metrics": metrics });
        let mut line = Map::new();
        line.insert("_aws".to_owned(), json!({ "Timestamp": now.as_millis(), "CloudWatchMetrics": [directive] }));
        line.insert(dimension.0.to_owned(), dimension.1.into());
        line.insert("RequestId".to_owned(), request.into());
        for (metric, value) in &self.0 {
            line.insert(metric.name().to_owned(), number(*value));
        }
        Value::Object(line)
    }
}

/// Log slots and heads that another process took first.
pub(super) fn lost_races(requests: &Requests) -> u64 {
    [RequestKind::Create, RequestKind::Replace, RequestKind::RegisterWrite]
        .map(|kind| requests.of(kind).refused)
        .iter()
        .sum()
}

/// The age, by the clock of this machine.
pub(super) fn seconds_since(then: Timestamp) -> f64 {
    let millis = System.now().as_millis().saturating_sub(then.as_millis());
    #[expect(clippy::cast_precision_loss, reason = "a metric is a double")]
    let seconds = millis.max(0) as f64 / 1_000.0;
    seconds
}

/// A number as JSON; whole numbers have no point.
fn number(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "only where it is whole and small enough")]
    let whole = value as i64;
    #[expect(clippy::cast_precision_loss, reason = "only to see whether it is the same")]
    let same = (whole as f64).to_bits() == value.to_bits();
    if same { whole.into() } else { value.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_declares_its_metrics() {
        let mut measured = Measured::default();
        for metric in Metric::ALL {
            measured.set(metric, 1.0);
        }
        measured.0[2].1 = 0.25;
        let line = measured.line(("Collection", "c"), "r", Timestamp::from_millis(7));
        assert_eq!(line["_aws"]["Timestamp"], 7);
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "Deltafold");
        assert_eq!(directive["Dimensions"], json!([["Collection"]]));
        let names: Vec<&str> =
            directive["Metrics"].as_array().unwrap().iter().map(|metric| metric["Name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), 10, "the eleventh would cost");
        assert!(names.iter().all(|name| line[name].is_number()), "{line}");
        assert_eq!(
            (&line["Collection"], &line["LagSeconds"], &line["LagBytes"]),
            (&json!("c"), &json!(0.25), &json!(1))
        );
    }
}
