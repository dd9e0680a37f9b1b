//! `drop`: a collection is gone, and all its objects.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::Args;
use deltafold::Collection;
use deltafold::format::CollectionName;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Progress;
use crate::cli::output::units::{bytes, counted};

/// Delete a collection and all its objects
#[derive(Debug, Args)]
pub(crate) struct Drop {
    /// The collection
    collection: CollectionName,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Drop {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let store = context.store().await?;
        if !self.yes {
            self.confirm(&store.location())?;
        }
        let mut progress = Progress::new(context.output, "deleting", "object", None);
        let each = |report: deltafold::DropReport| progress.at(report.objects, report.objects, report.bytes);
        let report = Collection::drop(&*store, &self.collection, each).await?;
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

    /// Has the name typed again.
    fn confirm(&self, location: &str) -> Outcome {
        let refused = |reason: &str| {
            Failure::new(Exit::Usage, reason).help(format!("`deltafold drop {} --yes` does not ask", self.collection))
        };
        if !std::io::stdin().is_terminal() {
            return Err(refused("nothing was dropped: there is no terminal to confirm it on"));
        }
        let mut stderr = anstream::stderr();
        let question = format!("this deletes `{}` in {location} for good; type its name to go on: ", self.collection);
        stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush())?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::file("read", "-", &error))?;
        if answer.trim() == self.collection.as_str() { Ok(()) } else { Err(refused("nothing was dropped")) }
    }
}
