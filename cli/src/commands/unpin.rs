//! `unpin`: removes a pin, so that a sweep may delete the objects it kept.

use clap::Args;
use deltafold::format::CollectionName;
use serde_json::json;

use crate::context::Context;
use crate::exit::Outcome;

/// Remove a pin
#[derive(Debug, Args)]
pub(crate) struct Unpin {
    /// The collection
    collection: CollectionName,
    /// The name of the pin
    name: String,
}

impl Unpin {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        context.collection(&self.collection).await?.unpin(&self.name).await?;
        if context.output.json {
            let document = json!({ "collection": self.collection.as_str(), "unpinned": self.name });
            return Ok(context.output.document(&document)?);
        }
        Ok(context
            .output
            .line(format!("removed pin `{}`; `sweep` may now delete the objects that it kept", self.name))?)
    }
}
