//! `queue purge`: deletes all messages of a queue.

use clap::Args;
use serde_json::json;

use super::{DEDUPLICATION, Service, wait};
use crate::confirm::confirm;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::units::counted;
use crate::quote::quoted;

/// Delete all messages of a queue
///
/// The service takes up to 60 s. A FIFO queue remembers deduplication ids for five minutes longer
/// than the messages. It silently drops the same events if a producer sends them again before that.
#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// The queue, by URL, ARN or name
    queue: String,
    /// Only print the number of messages
    #[arg(long)]
    dry_run: bool,
    /// Wait until producers can send the same events again
    #[arg(long)]
    wait: bool,
    /// Skip the confirmation
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    service: Service,
}

impl Purge {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let queue = self.service.open(&self.queue).await?;
        let depth = queue.depth().await?;
        let about = counted(depth.total(), "message");
        if !self.dry_run {
            if !self.yes {
                let what = format!("this deletes about {about} of `{}` for good", queue.name());
                confirm(context, &what, queue.name(), &format!("deltafold queue purge {}", quoted(&self.queue)))?;
            }
            queue.purge().await?;
        }
        let seconds = if queue.is_fifo() { DEDUPLICATION.as_secs() } else { 60 };
        if !self.dry_run && self.wait {
            wait(context.output, std::time::Duration::from_secs(seconds), "until the same events can be sent again")
                .await;
        }
        if context.output.json {
            return Ok(context.output.document(&json!({
                "queue": queue.name(),
                "dry_run": self.dry_run,
                "messages": depth.total(),
                "in_flight": depth.in_flight,
                "send_again_after_seconds": if self.wait { 0 } else { seconds },
            }))?);
        }
        if self.dry_run {
            return Ok(context.output.line(format!("about {about} of {} would be deleted", queue.name()))?);
        }
        context.output.line(format!("purged {}: about {about}", queue.name()))?;
        if !self.wait {
            context.output.note(format!("send nothing again before {seconds} s are over: it would be lost silently"));
        }
        Ok(())
    }
}
