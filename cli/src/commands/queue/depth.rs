//! `queue depth`: the number of waiting messages.

use std::collections::BTreeSet;

use clap::Args;
use deltafold::aws::{Queue, QueueSettings};
use serde_json::{Value, json};

use super::Service;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::Table;
use crate::output::units::{count, duration};

/// Show the depth of queues and of their dead-letter queues
///
/// The service counts approximately. Its counts are right about a minute after the last change.
/// Costs one request a queue, and changes nothing.
#[derive(Debug, Args)]
pub(crate) struct Depth {
    /// The queues, by URL, ARN or name
    #[arg(required = true)]
    queues: Vec<String>,
    #[command(flatten)]
    service: Service,
}

impl Depth {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let mut found: Vec<(Queue, QueueSettings)> = Vec::new();
        for queue in &self.queues {
            let queue = self.service.open(queue).await?;
            let settings = queue.settings().await?;
            found.push((queue, settings));
        }
        let mut known: BTreeSet<String> = found.iter().map(|(_, settings)| settings.arn.clone()).collect();
        let mut next = 0;
        while next < found.len() {
            if let Some(arn) = found[next].1.dead_letters.clone().filter(|arn| known.insert(arn.clone())) {
                let dead = found[next].0.sibling(&arn).await?;
                let settings = dead.settings().await?;
                found.insert(next + 1, (dead, settings));
            }
            next += 1;
        }
        if context.output.json {
            let queues: Vec<Value> = found.iter().map(|(queue, settings)| document(queue, settings)).collect();
            return Ok(context.output.document(&json!({ "queues": queues }))?);
        }
        let columns = ["QUEUE", ">VISIBLE", ">IN FLIGHT", ">DELAYED", ">UNSEEN FOR", ">KEPT FOR", "DEAD LETTERS GO TO"];
        let mut table = Table::new(context.output, &columns);
        for (queue, settings) in &found {
            let dead = settings.dead_letters.as_deref().map_or(String::new(), |arn| {
                let name = arn.rsplit(':').next().unwrap_or(arn);
                settings.max_receives.map_or(name.to_owned(), |max| format!("{name} after {max} receives"))
            });
            table.row([
                queue.name().to_owned(),
                count(settings.depth.visible),
                count(settings.depth.in_flight),
                count(settings.depth.delayed),
                duration(settings.visibility_timeout),
                duration(settings.retention),
                dead,
            ]);
        }
        context.output.table(&table)?;
        for (queue, settings) in found.iter().filter(|(_, settings)| settings.content_based_deduplication) {
            context.output.note(format!(
                "{}: content-based deduplication is on: of the states A, B, A sent within five minutes the last is lost, unless each message has an id of its own",
                settings.arn.rsplit(':').next().unwrap_or(queue.name())
            ));
        }
        Ok(())
    }
}

fn document(queue: &Queue, settings: &QueueSettings) -> Value {
    json!({
        "queue": queue.name(),
        "url": queue.url(),
        "arn": settings.arn,
        "fifo": settings.fifo,
        "visible": settings.depth.visible,
        "in_flight": settings.depth.in_flight,
        "delayed": settings.depth.delayed,
        "visibility_timeout_seconds": settings.visibility_timeout.as_secs(),
        "retention_seconds": settings.retention.as_secs(),
        "dead_letters": settings.dead_letters,
        "max_receives": settings.max_receives,
        "content_based_deduplication": settings.content_based_deduplication,
    })
}
