//! `doctor`: tests whether a store keeps every promise that Deltafold relies on.

use clap::Args;
use deltafold::Collection;
use deltafold::format::HeadPlace;
use deltafold::store::{Verdict, probe};
use serde_json::{Value, json};

use super::create::parse_heads;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::Table;

/// Test whether the store keeps every promise that Deltafold relies on
///
/// Tests every promise with objects under a name that no collection can have, and removes them. It
/// makes about 80 requests, one of them of 1 MiB. A promise counts as broken once two tries on
/// fresh objects broke it. A lost answer breaks nothing.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The place of the heads to test: `store`, or `dynamodb:TABLE[@REGION]`
    #[arg(long, value_name = "PLACE", default_value = "store", value_parser = parse_heads)]
    heads: HeadPlace,
}

/// The name of a verdict in JSON, and for people.
fn names(verdict: &Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Kept => ("kept", "kept"),
        Verdict::Costs(_) => ("costs", "costs more"),
        Verdict::Unanswered(_) => ("unanswered", "NO ANSWER"),
        Verdict::Denied(_) => ("denied", "DENIED"),
        Verdict::Unsupported(_) => ("unsupported", "UNSUPPORTED"),
        _ => ("broken", "BROKEN"),
    }
}

impl Doctor {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let store = context.store_with(&self.heads).await?;
        let probe = probe(&*store).await?;
        let judged = Collection::fits(&*store, &probe);
        if context.output.json {
            let checks: Vec<Value> = probe
                .checks
                .iter()
                .map(|check| {
                    json!({
                        "promise": check.promise.to_string(),
                        "verdict": names(&check.verdict).0,
                        "detail": check.verdict.detail(),
                    })
                })
                .collect();
            let document = json!({
                "store": store.location(),
                "proxies": store.proxies(),
                "sound": judged.is_ok(),
                "checks": checks,
            });
            context.output.document(&document)?;
        } else {
            let mut table = Table::new(context.output, &["PROMISE", "VERDICT", "SEEN"]);
            for check in &probe.checks {
                let detail = check.verdict.detail().to_owned();
                table.row([check.promise.to_string(), names(&check.verdict).1.to_owned(), detail]);
            }
            context.output.table(&table)?;
            let reached = |way: String| format!("reached {way}");
            context.output.lines(store.proxies().into_iter().map(reached))?;
        }
        Ok(judged?)
    }
}
