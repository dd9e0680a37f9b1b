//! The configuration of a collection, in words and in JSON.

use std::time::Duration;

use deltafold::format::{CollectionConfig, HeadPlace, Ordering};
use serde_json::{Value, json};

use super::units::{rfc3339, span};

/// The configuration in JSON, without the place of the heads.
pub(crate) fn document(config: &CollectionConfig) -> Value {
    json!({
        "uid": config.uid.to_string(),
        "dimension": config.dimension,
        "metric": config.metric.name(),
        "shards": config.shards,
        "ordering": ordering_name(config.ordering),
        "keep_tombstones_seconds": keep_tombstones_seconds(config.ordering),
        "created": rfc3339(config.created),
    })
}

/// The name of an ordering in arguments and JSON.
fn ordering_name(ordering: Ordering) -> &'static str {
    if ordering.is_revision() { "revision" } else { "log" }
}

/// The retention of tombstones in JSON: null where the ordering needs none.
fn keep_tombstones_seconds(ordering: Ordering) -> Option<f64> {
    match ordering {
        Ordering::Log => None,
        Ordering::Revision { keep_tombstones_millis } => {
            Some(Duration::from_millis(keep_tombstones_millis).as_secs_f64())
        }
    }
}

/// The ordering of a collection, for people.
pub(crate) fn ordering_words(ordering: Ordering) -> String {
    match ordering {
        Ordering::Log => "ordered by its log".to_owned(),
        Ordering::Revision { keep_tombstones_millis } => {
            format!("ordered by revision, tombstones kept for {}", span(Duration::from_millis(keep_tombstones_millis)))
        }
    }
}

/// The place of the heads, in JSON.
pub(crate) fn heads(heads: &HeadPlace) -> Value {
    match heads {
        HeadPlace::Store => json!({ "place": "store" }),
        HeadPlace::DynamoDb { table, region } => json!({ "place": "dynamodb", "table": table, "region": region }),
    }
}
