//! `create`: creates an empty collection.

use std::time::Duration;

use clap::{Args, ValueEnum};
use deltafold::format::{CollectionName, HeadPlace, Metric, Ordering};
use deltafold::{Collection, CreateOptions, KEEP_TOMBSTONES};

use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::config;
use crate::output::units::{counted, parse_duration};

/// Make a collection
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its name: a-z, 0-9, `.`, `_`, `-`
    collection: CollectionName,
    /// Length of every embedding, 1 to 65,536
    #[arg(long, short, value_name = "N")]
    dimension: u32,
    /// The distance between embeddings
    #[arg(long, value_enum, default_value_t = MetricArgument::L2)]
    metric: MetricArgument,
    /// Number of shards, each a log of its own; a million records a shard work well
    #[arg(long, default_value_t = 1, value_name = "N")]
    shards: u16,
    /// The rule that decides which of two ops on a record wins
    #[arg(long, value_enum, default_value_t = OrderingArgument::Log)]
    ordering: OrderingArgument,
    /// By revision: the retention of tombstones; a late op of a lower revision does not bring a
    /// deleted record back within it [default: 14d]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    keep_tombstones: Option<Duration>,
    /// The place of the heads: `store`, or `dynamodb:TABLE[@REGION]` for a bucket without
    /// conditional replacement
    #[arg(long, value_name = "PLACE", default_value = "store", value_parser = parse_heads)]
    heads: HeadPlace,
    /// Create the table of the heads if it is missing
    #[arg(long)]
    create_table: bool,
}

/// Parses `store`, or `dynamodb:TABLE[@REGION]`. Without a region, the environment's counts.
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
pub(crate) enum MetricArgument {
    /// Squared Euclidean distance
    L2,
    /// 1 - cosine similarity
    Cosine,
    /// 1 - inner product
    InnerProduct,
}

impl MetricArgument {
    pub(crate) fn metric(self) -> Metric {
        match self {
            Self::L2 => Metric::L2,
            Self::Cosine => Metric::Cosine,
            Self::InnerProduct => Metric::InnerProduct,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OrderingArgument {
    /// The op that was appended later
    Log,
    /// The op of the higher `revision`, in whatever order and however often ops are appended
    Revision,
}

impl Create {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let metric = self.metric.metric();
        let mut options = CreateOptions::new(self.dimension).metric(metric).shards(self.shards);
        match (self.ordering, self.keep_tombstones) {
            (OrderingArgument::Log, None) => {}
            (OrderingArgument::Log, Some(_)) => {
                return Err(Failure::new(Exit::Usage, "`--keep-tombstones` is for collections ordered by revision")
                    .help("add `--ordering revision`, or leave it out"));
            }
            (OrderingArgument::Revision, keep) => options = options.by_revision(keep.unwrap_or(KEEP_TOMBSTONES)),
        }
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
            let mut document = config::document(config);
            document["collection"] = self.collection.as_str().into();
            document["store"] = collection.store().location().into();
            document["heads"] = config::heads(&config.heads);
            return Ok(context.output.document(&document)?);
        }
        let ordering = match config.ordering {
            Ordering::Log => String::new(),
            ordering => format!(", {}", config::ordering_words(ordering)),
        };
        let heads = match &config.heads {
            HeadPlace::Store => String::new(),
            elsewhere => format!(", heads in {elsewhere}"),
        };
        Ok(context.output.line(format!(
            "created {} in {}: dimension {}, {}, {}{ordering}{heads}",
            self.collection,
            collection.store().location(),
            config.dimension,
            config.metric.name(),
            counted(config.shards.into(), "shard"),
        ))?)
    }
}
