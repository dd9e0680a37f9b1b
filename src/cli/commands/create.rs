//! `create`: a new, empty collection.

use clap::{Args, ValueEnum};
use deltafold::format::{CollectionName, HeadPlace, Metric};
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
    /// Where the heads lie: `store`, or `dynamodb:TABLE[@REGION]` for a bucket that cannot replace an object on condition
    #[arg(long, value_name = "PLACE", default_value = "store", value_parser = parse_heads)]
    heads: HeadPlace,
    /// Make the table of the heads if it is not there
    #[arg(long)]
    create_table: bool,
}

/// `store`, or `dynamodb:TABLE[@REGION]`; without a region, that of the environment.
pub(crate) fn parse_heads(text: &str) -> Result<HeadPlace, String> {
    if text == "store" {
        return Ok(HeadPlace::Store);
    }
    let place = text.strip_prefix("dynamodb:").filter(|place| !place.is_empty());
    let place = place.ok_or_else(|| format!("`{text}` is neither `store` nor `dynamodb:TABLE[@REGION]`"))?;
    let (table, region) = match place.split_once('@') {
        Some((table, region)) => (table, Some(region.to_owned())),
        None => (place, ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| std::env::var(name).ok())),
    };
    let region = region.filter(|region| !region.is_empty() && !table.is_empty());
    let region =
        region.ok_or_else(|| format!("`{text}` names no region: write `dynamodb:{table}@REGION` or set AWS_REGION"))?;
    Ok(HeadPlace::DynamoDb { table: table.to_owned(), region })
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

/// Where heads lie, in JSON.
pub(crate) fn heads_document(heads: &HeadPlace) -> serde_json::Value {
    match heads {
        HeadPlace::Store => json!({ "place": "store" }),
        HeadPlace::DynamoDb { table, region } => json!({ "place": "dynamodb", "table": table, "region": region }),
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
        if self.create_table {
            let location = context.location()?;
            #[cfg(feature = "dynamodb")]
            location.create_table(location.store().await?, &self.heads).await?;
            #[cfg(not(feature = "dynamodb"))]
            location.with_heads(location.store().await?, &self.heads).await?;
        }
        let store = context.store_with(&self.heads).await?;
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
                "heads": heads_document(&config.heads),
            }))?);
        }
        let heads = match &config.heads {
            HeadPlace::Store => String::new(),
            elsewhere => format!(", heads in {elsewhere}"),
        };
        Ok(context.output.line(format!(
            "created {} in {}: dimension {}, {}, {}{heads}",
            self.collection,
            collection.store().location(),
            config.dimension,
            metric_name(config.metric),
            counted(config.shards.into(), "shard"),
        ))?)
    }
}
