//! `doctor`: whether a store does what Deltafold relies on.

use clap::Args;
use deltafold::format::HeadPlace;
use deltafold::store::probe;
use serde_json::{Value, json};

use super::create::parse_heads;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Table;

/// Try whether the store does what Deltafold relies on
///
/// Makes objects under a name that no collection can have, tries every promise with them, and removes them: about thirty requests.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Where the heads of collections are to lie: `store`, or `dynamodb:TABLE[@REGION]`
    #[arg(long, value_name = "PLACE", default_value = "store", value_parser = parse_heads)]
    heads: HeadPlace,
}

impl Doctor {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let store = context.store_with(&self.heads).await?;
        let probe = probe(&*store).await?;
        if context.output.json {
            let checks: Vec<Value> = probe
                .checks
                .iter()
                .map(
                    |check| json!({ "promise": check.promise, "kept": check.broken.is_none(), "broken": check.broken }),
                )
                .collect();
            let document = json!({ "store": store.location(), "sound": probe.is_sound(), "checks": checks });
            context.output.document(&document)?;
        } else {
            let mut table = Table::new(context.output, &["PROMISE", "KEPT", "INSTEAD"]);
            for check in &probe.checks {
                let kept = if check.broken.is_none() { "yes" } else { "NO" };
                table.row([check.promise.to_owned(), kept.to_owned(), check.broken.clone().unwrap_or_default()]);
            }
            context.output.line(table)?;
        }
        match probe.broken() {
            None => Ok(()),
            Some((promise, broken)) => {
                let problem =
                    format!("{} cannot hold a collection: \"{promise}\" is not so: {broken}", store.location());
                Err(Failure::new(Exit::Failed, problem)
                    .help("`docs/s3.md` tells which stores can, and what else can be done"))
            }
        }
    }
}
