//! `drop`: deletes a collection and all its objects.

use clap::Args;
use deltafold::Collection;
use deltafold::format::{CollectionName, HeadPlace};
use serde_json::json;

use super::create::parse_heads;
use crate::confirm::confirm;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::Progress;
use crate::output::units::{bytes, counted};

/// Delete a collection and all its objects
#[derive(Debug, Args)]
pub(crate) struct Drop {
    /// The collection
    collection: CollectionName,
    /// The place of its heads, to finish a drop that broke off: `store`, or
    /// `dynamodb:TABLE[@REGION]`
    #[arg(long, value_name = "PLACE", value_parser = parse_heads)]
    heads: Option<HeadPlace>,
    /// Skip the confirmation
    #[arg(long, short)]
    yes: bool,
}

impl Drop {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let store = match &self.heads {
            Some(heads) => context.store_with(heads).await?,
            None => context.store_of(&self.collection).await?,
        };
        if !self.yes {
            let what = format!("this deletes `{}` in {} for good", self.collection, store.location());
            confirm(context, &what, self.collection.as_str(), &format!("deltafold drop {}", self.collection))?;
        }
        let mut progress = Progress::new(context.output, "deleting", "object", None);
        let each = |report: deltafold::DropReport| progress.at(report.objects, report.objects, report.bytes);
        let report = Collection::drop_collection(&*store, &self.collection, each).await?;
        drop(progress);
        if context.output.json {
            return Ok(context.output.document(&json!({
                "collection": self.collection.as_str(),
                "objects": report.objects,
                "bytes": report.bytes,
            }))?);
        }
        let gone = format!("{}, {}", counted(report.objects, "object"), bytes(report.bytes));
        Ok(context.output.line(format!("dropped {}: {gone}", self.collection))?)
    }
}
