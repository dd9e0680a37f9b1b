//! `queue peek`: shows waiting messages and leaves them there.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use deltafold::aws::{Attribute, Message, Receive};
use serde_json::{Map, Value, json};

use super::Service;
use crate::confirm::confirm;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::units::{counted, date, rfc3339};
use crate::quote::quoted;

/// Look at messages and leave them where they are
///
/// Only a receive shows messages. So other consumers do not get these messages while the command
/// runs, and each look counts as a receive. In a queue with a dead-letter queue, receives bring
/// messages nearer to it, so the command asks for confirmation there.
#[derive(Debug, Args)]
pub(crate) struct Peek {
    /// The queue, by URL, ARN or name
    queue: String,
    /// At most this many messages
    #[arg(long, value_name = "N", default_value_t = 10)]
    max: usize,
    /// Only print the number of messages
    #[arg(long)]
    dry_run: bool,
    /// Skip the confirmation
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    service: Service,
}

/// The visibility timeout of a message that is shown. It counts only if this program dies
/// meanwhile.
const WHILE_LOOKING: Duration = Duration::from_secs(30);

impl Peek {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let queue = self.service.open(&self.queue).await?;
        let settings = queue.settings().await?;
        if self.dry_run {
            let visible = settings.depth.visible;
            if context.output.json {
                let document = json!({ "queue": queue.name(), "dry_run": true, "visible": visible });
                return Ok(context.output.document(&document)?);
            }
            return Ok(context.output.line(format!("{} wait in {}", counted(visible, "message"), queue.name()))?);
        }
        if let (Some(max), false) = (settings.max_receives, self.yes) {
            let what =
                format!("each look counts as one of the {max} receives that `{}` allows a message", queue.name());
            confirm(context, &what, queue.name(), &format!("deltafold queue peek {}", quoted(&self.queue)))?;
        }
        let mut seen: Vec<Message> = Vec::new();
        let mut ids = BTreeSet::new();
        let outcome = async {
            while seen.len() < self.max {
                let max = u8::try_from(self.max - seen.len()).unwrap_or(10).min(10);
                let how = Receive::default().max(max).wait(Duration::from_secs(1)).visibility(Some(WHILE_LOOKING));
                let received = queue.receive(how).await?;
                let before = seen.len();
                seen.extend(received.into_iter().filter(|message| ids.insert(message.id.clone())));
                if seen.len() == before {
                    break;
                }
            }
            Ok::<(), deltafold::aws::QueueError>(())
        }
        .await;
        let receipts: Vec<&str> = seen.iter().map(|message| message.receipt.as_str()).collect();
        let back =
            if receipts.is_empty() { Ok(Vec::new()) } else { queue.change_visibility(&receipts, Duration::ZERO).await };
        outcome?;
        back?;
        for message in &seen {
            if context.output.json { context.output.json_line(&document(message))? } else { show(context, message)? }
        }
        if seen.is_empty() {
            context.output.note("no message could be received: none waits, or all are in flight");
        }
        Ok(())
    }
}

fn show(context: &Context, message: &Message) -> Outcome {
    let mut about = vec![format!("received {}", counted(message.receives.into(), "time"))];
    about.extend(message.sent.map(|sent| format!("sent {}", date(sent))));
    about.extend(message.group.as_ref().map(|group| format!("group {group}")));
    about.extend(message.dead_letter_of.as_ref().map(|arn| format!("from {arn}")));
    let mut body: String = message.body.chars().take(500).collect();
    if body.len() < message.body.len() {
        body.push('…');
    }
    Ok(context.output.lines([format!("{}: {}", message.id, about.join(", ")), format!("  {body}")])?)
}

fn document(message: &Message) -> Value {
    let attribute = |(name, attribute): (&String, &Attribute)| {
        let value = match attribute {
            Attribute::Text(kind, text) => json!({ "type": kind, "value": text }),
            Attribute::Binary(kind, bytes) => json!({ "type": kind, "bytes": bytes.len() }),
        };
        (name.clone(), value)
    };
    json!({
        "id": message.id,
        "body": message.body,
        "receives": message.receives,
        "sent": message.sent.map(rfc3339),
        "group": message.group,
        "deduplication_id": message.deduplication,
        "sequence": message.sequence.map(|sequence| sequence.to_string()),
        "dead_letter_of": message.dead_letter_of,
        "attributes": message.attributes.iter().map(attribute).collect::<Map<String, Value>>(),
    })
}
