//! `count`: the number of records.

use clap::Args;
use deltafold::format::CollectionName;
use serde_json::json;

use super::get::AtArguments;
use crate::context::Context;
use crate::exit::Outcome;
use crate::whered::WhereArguments;

/// Count the records, or those that match a filter
#[derive(Debug, Args)]
pub(crate) struct Count {
    /// The collection
    collection: CollectionName,
    #[command(flatten)]
    filter: WhereArguments,
    #[command(flatten)]
    at: AtArguments,
}

impl Count {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let reader = self.at.reader(&context.collection(&self.collection).await?).await?;
        let count = match self.filter.filter()? {
            Some(filter) => reader.count_matching(&filter).await?,
            None => reader.count().await?,
        };
        if context.output.json {
            return Ok(context
                .output
                .document(&json!({ "collection": self.collection.as_str(), "records": count }))?);
        }
        Ok(context.output.line(count)?)
    }
}
