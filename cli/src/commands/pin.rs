//! `pin`: keeps the current version readable under a name.

use std::time::Duration;

use clap::Args;
use deltafold::format::CollectionName;
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::Outcome;
use crate::output::units::{duration, parse_span};

/// Keep the current version readable under a name. A pin does not cover the unfolded log: run
/// `compact` first to include it
#[derive(Debug, Args)]
pub(crate) struct Pin {
    /// The collection
    collection: CollectionName,
    /// The name of the pin
    name: String,
    /// Let the pin expire after this long, as in `7d`; by default it stays until `unpin`
    #[arg(long, value_parser = parse_span, value_name = "TIME")]
    ttl: Option<Duration>,
}

impl Pin {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let pinned = context.collection(&self.collection).await?.pin(&self.name, self.ttl).await?;
        if context.output.json {
            let versions: Vec<Value> = pinned
                .iter()
                .map(|(shard, version)| json!({ "shard": shard.get(), "version": version.get() }))
                .collect();
            return Ok(context.output.document(&json!({
                "collection": self.collection.as_str(),
                "pin": self.name,
                "ttl_seconds": self.ttl.map(|ttl| ttl.as_secs_f64()),
                "versions": versions,
            }))?);
        }
        let versions: Vec<String> = pinned.iter().map(|(_, version)| version.get().to_string()).collect();
        let until = self.ttl.map_or("until it is removed".to_owned(), |ttl| format!("for {}", duration(ttl)));
        Ok(context.output.line(format!("`{}` keeps version {} {until}", self.name, versions.join(", ")))?)
    }
}
