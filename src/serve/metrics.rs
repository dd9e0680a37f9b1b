//! Counts of requests, in the text form of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::store::Requests;

/// Counts since the start of the server.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// By method, route and status. Routes are templates, so clients cannot make more of them.
    calls: Mutex<BTreeMap<(String, String, u16), Calls>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Calls {
    count: u64,
    time: Duration,
}

impl Metrics {
    /// Counts an answered request.
    pub(super) fn count(&self, method: &str, route: &str, status: u16, time: Duration) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = calls.entry((method.to_owned(), route.to_owned(), status)).or_default();
        calls.count += 1;
        calls.time += time;
    }

    /// All counts, with those of the store.
    pub(super) fn text(&self, requests: &Requests, open: usize) -> String {
        let mut text = String::from("# TYPE deltafold_http_requests_total counter\n");
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Writing to a string cannot fail.
        for ((method, route, status), calls) in &calls {
            let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
            let _ = writeln!(text, "deltafold_http_requests_total{{{labels}}} {}", calls.count);
        }
        text.push_str("# TYPE deltafold_http_request_seconds_total counter\n");
        for ((method, route, status), calls) in &calls {
            let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
            let _ = writeln!(text, "deltafold_http_request_seconds_total{{{labels}}} {}", calls.time.as_secs_f64());
        }
        text.push_str("# TYPE deltafold_store_requests_total counter\n");
        for (kind, count) in requests.iter() {
            let kind = kind.name();
            let _ = writeln!(text, "deltafold_store_requests_total{{kind=\"{kind}\"}} {}", count.calls);
        }
        let total = requests.total();
        let _ = writeln!(text, "# TYPE deltafold_store_bytes_total counter");
        let _ = writeln!(text, "deltafold_store_bytes_total{{direction=\"in\"}} {}", total.bytes_in);
        let _ = writeln!(text, "deltafold_store_bytes_total{{direction=\"out\"}} {}", total.bytes_out);
        let _ = writeln!(text, "# TYPE deltafold_open_collections gauge\ndeltafold_open_collections {open}");
        text
    }
}
