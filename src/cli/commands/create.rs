//! `create`: a new, empty collection.

use clap::{Args, ValueEnum};
use deltafold::format::{CollectionName, Metric};
use deltafold::{Collection, CreateOptions};
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::exit::Outcome;
use crate::cli::output::units::{counted, rfc3339};

/// Make a collection
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its name: a-z, 0-9, `.`, `_`, `-`
    collection: CollectionName,
    /// Length of every embedding, 1 to 65,536
    #[arg(long, short, value_name = "N")]
    dimension: u32,
    /// How distances between embeddings are measured
    #[arg(long, value_enum, default_value_t = MetricArgument::L2)]
    metric: MetricArgument,
    /// Number of shards, each a log of its own; one holds a million records well
    #[arg(long, default_value_t = 1, value_name = "N")]
    shards: u16,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MetricArgument {
    /// Squared Euclidean distance
    L2,
    /// 1 - cosine similarity
    Cosine,
    /// 1 - inner product
    InnerProduct,
}

/// The name of a metric in arguments and JSON.
pub(crate) fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::L2 => "l2",
        Metric::Cosine => "cosine",
        Metric::InnerProduct => "inner-product",
    }
}

impl Create {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let metric = match self.metric {
            MetricArgument::L2 => Metric::L2,
            MetricArgument::Cosine => Metric::Cosine,
            MetricArgument::InnerProduct => Metric::InnerProduct,
        };
        let options = CreateOptions { metric, shards: self.shards, ..CreateOptions::new(self.dimension) };
        let store = context.new_store().await?;
        let collection = Collection::create(store, &self.collection, &options).await?;
        let config = collection.config();
        if context.output.json {
            return Ok(context.output.document(&json!({
                "collection": self.collection.as_str(),
                "store": collection.store().location(),
                "uid": config.uid.to_string(),
                "dimension": config.dimension,
                "metric": metric_name(config.metric),
                "shards": config.shards,
                "created": rfc3339(config.created),
            }))?);
        }
        Ok(context.output.line(format!(
            "created {} in {}: dimension {}, {}, {}",
            self.collection,
            collection.store().location(),
            config.dimension,
            metric_name(config.metric),
            counted(config.shards.into(), "shard"),
        ))?)
    }
}
