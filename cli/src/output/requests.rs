//! Requests to the store, for people and for scripts.

use deltafold::store::Requests;
use serde_json::{Map, Value, json};

use super::units::{bytes, count};
use super::{Output, Table};

/// A table with a line for each kind.
pub(crate) fn table(output: Output, requests: &Requests) -> Table {
    let columns = [
        "REQUEST",
        ">CALLS",
        ">RETRIES",
        ">CONFLICTS",
        ">REFUSED",
        ">UNCHANGED",
        ">ABSENT",
        ">FAILED",
        ">SENT",
        ">RECEIVED",
    ];
    let mut table = Table::new(output, &columns);
    for (kind, counted) in requests.iter() {
        table.row([
            kind.to_string(),
            count(counted.calls),
            count(counted.retries),
            count(counted.conflicts),
            count(counted.refused),
            count(counted.unchanged),
            count(counted.absent),
            count(counted.failed),
            bytes(counted.bytes_out),
            bytes(counted.bytes_in),
        ]);
    }
    table
}

/// The requests by kind, in JSON.
pub(crate) fn document(requests: &Requests) -> Value {
    let kinds = requests.iter().map(|(kind, counted)| {
        let counted = json!({
            "calls": counted.calls,
            "retries": counted.retries,
            "conflicts": counted.conflicts,
            "refused": counted.refused,
            "unchanged": counted.unchanged,
            "absent": counted.absent,
            "failed": counted.failed,
            "bytes_out": counted.bytes_out,
            "bytes_in": counted.bytes_in,
        });
        (kind.name().to_owned(), counted)
    });
    Value::Object(kinds.collect::<Map<String, Value>>())
}
