//! `queue redrive`: moves dead letters back to their source queue.

use std::time::Duration;

use clap::Args;
use deltafold::aws::{MoveTask, Queue, QueueErrorKind, QueueSettings, Receive};
use serde_json::json;

use super::Service;
use crate::confirm::confirm;
use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Progress;
use crate::output::units::counted;
use crate::quote::quoted;

/// Move the messages of a dead-letter queue back to their source queue
///
/// A task of the service moves them. The command moves them itself if the service has no such task,
/// or if `--max` bounds the move: it receives, sends, and deletes after the acknowledgement. Either
/// way messages get new ids and sequence numbers, so only the body can make a change take effect
/// once.
#[derive(Debug, Args)]
pub(crate) struct Redrive {
    /// The dead-letter queue, by URL, ARN or name
    queue: String,
    /// The destination, by URL, ARN or name, instead of the source queue
    #[arg(long, value_name = "QUEUE")]
    to: Option<String>,
    /// At most this many messages; moves them by hand
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// At most this many a second, 1 to 500, by the service
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=500))]
    rate: Option<u16>,
    /// Move them by hand even if the service has a task for it
    #[arg(long)]
    by_hand: bool,
    /// Only print the number of messages and their destination
    #[arg(long)]
    dry_run: bool,
    /// Skip the confirmation
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    service: Service,
}

/// The outcome of a move.
#[derive(Default)]
struct Done {
    moved: u64,
    by_hand: bool,
    stayed: Vec<(String, String)>,
    doubled: Vec<(String, String)>,
}

impl Done {
    /// Whether the move finished.
    fn verdict(&self, dead: &str) -> Outcome {
        let number = |of: &[(String, String)]| counted(of.len() as u64, "message");
        let mut problems = Vec::new();
        if let Some((id, reason)) = self.stayed.first() {
            problems.push(format!("the other queue refused {}: {id}: {reason}", number(&self.stayed)));
        }
        if let Some((id, reason)) = self.doubled.first() {
            let sent = number(&self.doubled);
            problems.push(format!("{sent} went to the other queue and cannot be deleted in `{dead}`: {id}: {reason}"));
        }
        if problems.is_empty() {
            return Ok(());
        }
        let failure = Failure::new(Exit::Failed, problems.join("; "));
        let failure = if self.doubled.is_empty() {
            failure
        } else {
            failure.help(
                "they are in both queues now. Mend the reason first: the same command sends them once more, and \
                 changes with a source position or a revision take effect once all the same",
            )
        };
        Err(failure.help("`deltafold queue peek` shows them; the same command again goes on with the rest"))
    }
}

impl Redrive {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let dead = self.service.open(&self.queue).await?;
        let settings = dead.settings().await?;
        let to = match &self.to {
            Some(to) => Some(dead.sibling(to).await?),
            None => None,
        };
        let waiting = settings.depth.visible.min(self.max.unwrap_or(u64::MAX));
        let place = to.as_ref().map_or("where they came from".to_owned(), |to| format!("`{}`", to.name()));
        if self.dry_run {
            if context.output.json {
                let to = to.as_ref().map(Queue::name);
                let document = json!({ "queue": dead.name(), "dry_run": true, "messages": waiting, "to": to });
                return Ok(context.output.document(&document)?);
            }
            let about = counted(waiting, "message");
            return Ok(context.output.line(format!("about {about} of {} would go to {place}", dead.name()))?);
        }
        if !self.yes {
            let what = format!("this moves about {} of `{}` to {place}", counted(waiting, "message"), dead.name());
            confirm(context, &what, dead.name(), &format!("deltafold queue redrive {}", quoted(&self.queue)))?;
        }
        let done = self.redrive(context, &dead, &settings, to).await?;
        if context.output.json {
            let list = |of: &[(String, String)]| -> Vec<_> {
                of.iter().map(|(id, reason)| json!({ "id": id, "reason": reason })).collect()
            };
            context.output.document(&json!({
                "queue": dead.name(),
                "dry_run": false,
                "moved": done.moved,
                "by_hand": done.by_hand,
                "stayed": list(&done.stayed),
                "doubled": list(&done.doubled),
            }))?;
        } else {
            context.output.line(format!("moved {} of {} to {place}", counted(done.moved, "message"), dead.name()))?;
        }
        done.verdict(dead.name())
    }

    async fn redrive(
        &self,
        context: &Context,
        dead: &Queue,
        settings: &QueueSettings,
        to: Option<Queue>,
    ) -> Outcome<Done> {
        if !self.by_hand && self.max.is_none() {
            match dead.moves(&settings.arn).await {
                Ok(moves) => {
                    // Asks first, because the service answers a second task much like a service
                    // without tasks.
                    if let Some(task) = moves.iter().find(|task| task.is_running()) {
                        let moved = counted(task.moved, "message");
                        let problem =
                            format!("the service is moving messages of `{}` already: {moved} so far", dead.name());
                        return Err(Failure::new(Exit::TryAgain, problem).help("wait until it is done"));
                    }
                    let destination = match &to {
                        Some(to) => Some(to.settings().await?.arn),
                        None => None,
                    };
                    let handle = dead.start_move(&settings.arn, destination.as_deref(), self.rate).await?;
                    return by_service(context, dead, settings, &handle).await;
                }
                Err(error) if error.kind() == QueueErrorKind::Unsupported => {
                    context.output.note("this service moves nothing by itself; moving by hand");
                }
                Err(error) => return Err(error.into()),
            }
        }
        let to = match to {
            Some(to) => to,
            None => source(dead).await?,
        };
        let mut done = Done { by_hand: true, ..Done::default() };
        let mut progress = Progress::new(context.output, "moving", "message", Some(settings.depth.visible));
        // Leaves messages that arrive meanwhile to the next call: without a bound, poison would
        // circle for ever. The count may lag, so one batch is tried whatever it says.
        let most = self.max.unwrap_or(settings.depth.total().max(10));
        while done.moved < most && done.stayed.is_empty() && done.doubled.is_empty() {
            let max = u8::try_from(most - done.moved).unwrap_or(10).min(10);
            let step = dead.move_some(&to, max).await?;
            done.moved += step.moved;
            done.stayed.extend(step.stayed);
            done.doubled.extend(step.doubled);
            progress.at(done.moved, done.moved, 0);
            if step.finished {
                break;
            }
        }
        Ok(done)
    }
}

/// Follows the service's task to its end.
async fn by_service(context: &Context, dead: &Queue, settings: &QueueSettings, handle: &str) -> Outcome<Done> {
    let mut progress = Progress::new(context.output, "moving", "message", Some(settings.depth.visible));
    let mut done = Done::default();
    loop {
        let moves = dead.moves(&settings.arn).await?;
        // The service names the handle only while a task runs. The newest task is ours.
        let ours = |task: &&MoveTask| task.handle.as_deref() == Some(handle);
        let Some(task) = moves.iter().find(ours).or(moves.first()) else { return Ok(done) };
        done.moved = task.moved;
        progress.at(task.moved, task.moved, 0);
        if task.is_running() {
            pause().await;
            continue;
        }
        if task.status != "COMPLETED" {
            let reason = task.failure.clone().unwrap_or_else(|| task.status.to_lowercase());
            let problem = format!("the service moved {} and stopped: {reason}", counted(task.moved, "message"));
            return Err(Failure::new(Exit::Failed, problem).help("the same command again goes on with the rest"));
        }
        return Ok(done);
    }
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a task; nothing is decided by it")]
async fn pause() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// The one source queue of these dead letters.
async fn source(dead: &Queue) -> Outcome<Queue> {
    let which = |found: &str| {
        Failure::new(
            Exit::Usage,
            format!("{found}, so it must be said where the messages of `{}` are to go", dead.name()),
        )
        .help("`--to QUEUE` names it")
    };
    match dead.dead_letter_sources().await {
        Ok(urls) => match urls.as_slice() {
            [url] => Ok(dead.sibling(url).await?),
            [] => Err(which("no queue sends its dead letters here")),
            _ => Err(which("several queues send their dead letters here")),
        },
        Err(error) if error.kind() == QueueErrorKind::Unsupported => {
            // A message may name its source.
            let how = Receive::default().max(1).wait(Duration::from_secs(1)).visibility(Some(Duration::ZERO));
            let told = dead.receive(how).await?.into_iter().find_map(|message| message.dead_letter_of);
            match told {
                Some(arn) => Ok(dead.sibling(&arn).await?),
                None => Err(which("the service does not tell where they came from")),
            }
        }
        Err(error) => Err(error.into()),
    }
}
