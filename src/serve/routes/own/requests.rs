//! Requests to the store, in JSON.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::cost::PRICES_OF;
use crate::serve::metrics::dollars;
use crate::store::Requests;

/// Requests to the store since the server, or the collection in it, was opened.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Made {
    /// All requests.
    calls: u64,
    /// Bytes of objects received.
    bytes_in: u64,
    /// Bytes of objects sent.
    bytes_out: u64,
    /// Their list price in S3 and DynamoDB, in US dollars. A folder costs nothing.
    dollars: f64,
    /// The date of the prices.
    prices_of: &'static str,
    /// The requests by kind.
    kinds: BTreeMap<&'static str, OfKind>,
}

/// Requests of one kind.
#[derive(Debug, Serialize, JsonSchema)]
struct OfKind {
    /// All of them.
    calls: u64,
    /// Those that failed or had no answer.
    failed: u64,
    /// Bytes of objects received.
    bytes_in: u64,
    /// Bytes of objects sent.
    bytes_out: u64,
}

impl Made {
    pub(super) fn of(requests: &Requests) -> Self {
        let total = requests.total();
        let kinds = requests.iter().map(|(kind, count)| {
            let of_kind = OfKind {
                calls: count.calls,
                failed: count.failed,
                bytes_in: count.bytes_in,
                bytes_out: count.bytes_out,
            };
            (kind.name(), of_kind)
        });
        Self {
            calls: total.calls,
            bytes_in: total.bytes_in,
            bytes_out: total.bytes_out,
            dollars: dollars(requests),
            prices_of: PRICES_OF,
            kinds: kinds.collect(),
        }
    }
}
