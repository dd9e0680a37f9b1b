//! `reset`: empties queues and collection, so that producers can send everything again.

#[cfg(feature = "mapping")]
mod fill;
#[cfg(feature = "executions")]
mod then;

use std::cell::RefCell;
use std::time::Duration;

use clap::Args;
use deltafold::aws::{Queue, QueueErrorKind, QueueSettings};
use deltafold::format::{CollectionName, HeadPlace};
use deltafold::store::Store;
use deltafold::{Collection, CreateOptions, DropReport, Reset};
use serde_json::{Value, json};

use super::create::parse_heads;
use super::queue::{DEDUPLICATION, Service, wait};
use crate::confirm::confirm;
use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Progress;
use crate::output::units::{bytes, counted};

/// Purge queues and drop a collection, to begin anew
///
/// It first purges the queues and their dead-letter queues, so that no consumer applies an old
/// change to the new data. Then it drops the collection with its heads. Then it waits until the
/// queues have forgotten deduplication ids and no consumer can still work on an old message. Stop
/// the producers first. You can interrupt the command anywhere and call it again: a note in the
/// store keeps its plan until it is done.
#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    /// The collection
    collection: CollectionName,
    /// A queue that feeds it, by URL, ARN or name; several may be given
    #[arg(long = "queue", value_name = "QUEUE")]
    queues: Vec<String>,
    /// Keep the messages of dead-letter queues
    #[arg(long)]
    keep_dead_letters: bool,
    /// The place of the collection's heads: `store`, or `dynamodb:TABLE[@REGION]`; the command
    /// usually knows it
    #[arg(long, value_name = "PLACE", value_parser = parse_heads)]
    heads: Option<HeadPlace>,
    /// Skip the wait at the end, and print how long producers must not send
    #[arg(long)]
    no_wait: bool,
    /// Only print what it would delete
    #[arg(long)]
    dry_run: bool,
    /// Skip the confirmation
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    service: Service,
    #[cfg(feature = "executions")]
    #[command(flatten)]
    then: then::ThenArguments,
    #[cfg(feature = "mapping")]
    #[command(flatten)]
    then_fill: fill::ThenFillArguments,
}

/// The steps behind the reset, in JSON.
#[derive(Default)]
struct Behind {
    /// The execution.
    then: Option<Value>,
    /// The options of the new collection.
    anew: Option<CreateOptions>,
    /// The items that fill it: the plan, or the report.
    filled: Option<Value>,
}

impl ResetArgs {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let store = context.store().await?;
        let noted = Reset::noted(&*store, &self.collection).await?;
        let heads = match (&self.heads, &noted) {
            (Some(heads), _) => heads.clone(),
            (None, Some(note)) => note.heads.clone(),
            (None, None) => context.store_of(&self.collection).await?.heads(),
        };
        let mut names = self.queues.clone();
        names.extend(noted.iter().flat_map(|note| note.queues.clone()));
        let queues = self.queues(&names).await?;
        let noted_then = noted.as_ref().and_then(|note| note.then.clone());
        #[cfg(feature = "executions")]
        let then = self.then.of(&self.collection, noted_then.as_ref()).await?;
        #[cfg(feature = "mapping")]
        let then_fill = self.then_fill.open(context, &self.collection).await?;
        #[cfg(all(feature = "mapping", feature = "executions"))]
        if then.is_some() && then_fill.is_some() {
            return Err(Failure::new(Exit::Usage, "an execution and a backfill cannot both follow a reset")
                .help("the state machine may run the backfill"));
        }
        let store_with_heads = context.store_with(&heads).await?;
        let there = size(&*store_with_heads, &self.collection).await?;
        if there.0 == 0 && noted.is_none() && queues.is_empty() {
            return Err(Failure::new(Exit::NotFound, format!("there is no collection `{}`", self.collection)).help(
                "`deltafold status` lists the collections of a store; `--store` or DELTAFOLD_STORE names another",
            ));
        }
        let noted_anew = noted.as_ref().and_then(|note| note.anew.clone());
        let behind = Behind { anew: noted_anew, ..Behind::default() };
        #[cfg(feature = "executions")]
        let behind = Behind { then: then.as_ref().map(then::Then::document), ..behind };
        #[cfg(feature = "mapping")]
        let behind = match &then_fill {
            None => behind,
            Some(then_fill) => {
                let anew = match behind.anew {
                    Some(anew) => anew,
                    None => fill::options_of(context, &self.collection).await?,
                };
                Behind { anew: Some(anew), filled: Some(then_fill.document()), ..behind }
            }
        };
        let rest = self.rest(&queues);
        if self.dry_run {
            return self.tell(context, &queues, there, rest, &behind);
        }
        if !self.yes {
            let messages: u64 = queues.iter().map(|(_, settings)| settings.depth.total()).sum();
            let what = format!(
                "this deletes about {} of {} and `{}` in {} for good",
                counted(messages, "message"),
                counted(queues.len() as u64, "queue"),
                self.collection,
                store_with_heads.location()
            );
            confirm(context, &what, self.collection.as_str(), &format!("deltafold reset {}", self.collection))?;
        }
        // Before anything is deleted: the file may be that of another load.
        #[cfg(feature = "mapping")]
        let then_fill = then_fill.map(fill::ThenFill::with_rejects).transpose()?;
        let urls: Vec<String> = queues.iter().map(|(queue, _)| queue.url().to_owned()).collect();
        let purges = async {
            for (queue, _) in &queues {
                purge(context, queue).await?;
            }
            Ok::<(), Failure>(())
        };
        let progress = RefCell::new(Some(Progress::new(context.output, "deleting", "object", None)));
        let each = |report: DropReport| {
            if let Some(progress) = progress.borrow_mut().as_mut() {
                progress.at(report.objects, report.objects, report.bytes);
            }
        };
        let rests = async {
            drop(progress.take());
            if !self.no_wait {
                wait(context.output, rest, "until the queues have dropped their messages").await;
            }
            #[cfg(feature = "executions")]
            if let Some(then) = &then {
                then.start().await?;
            }
            if let Some(options) = &behind.anew {
                Collection::create(store_with_heads.clone(), &self.collection, options).await?;
            }
            Ok(())
        };
        #[cfg(feature = "executions")]
        let noted_then = then.as_ref().map(|then| then.execution.clone());
        let reset = Reset::new(heads).queues(urls).then(noted_then).anew(behind.anew.clone());
        reset.run(&*store, &*store_with_heads, &self.collection, purges, rests, each).await?;
        let rest = if self.no_wait { rest } else { Duration::ZERO };
        #[cfg(feature = "mapping")]
        if let Some(then_fill) = then_fill {
            if !context.output.json {
                self.tell(context, &queues, there, rest, &behind)?;
            }
            let (filled, verdict) = then_fill.run(context, &self.collection).await;
            if context.output.json {
                self.tell(context, &queues, there, rest, &Behind { filled, ..behind })?;
            }
            return verdict;
        }
        self.tell(context, &queues, there, rest, &behind)
    }

    /// The queues, each once, and their dead-letter queues.
    async fn queues(&self, names: &[String]) -> Outcome<Vec<(Queue, QueueSettings)>> {
        let mut found: Vec<(Queue, QueueSettings)> = Vec::new();
        for name in names {
            let queue = self.service.open(name).await?;
            let mut next = Some(queue);
            while let Some(queue) = next.take() {
                if found.iter().any(|(known, _)| known.url() == queue.url()) {
                    break;
                }
                let settings = queue.settings().await?;
                if let Some(arn) = settings.dead_letters.as_deref().filter(|_| !self.keep_dead_letters) {
                    next = Some(queue.sibling(arn).await?);
                }
                found.push((queue, settings));
            }
        }
        Ok(found)
    }

    /// The time in which producers must not send again. Deduplication ids outlive their messages,
    /// and a consumer may still work on a message received before.
    fn rest(&self, queues: &[(Queue, QueueSettings)]) -> Duration {
        let of = |(_, settings): &(Queue, QueueSettings)| {
            let forgotten = if settings.fifo { DEDUPLICATION } else { Duration::from_secs(60) };
            settings.visibility_timeout.max(forgotten)
        };
        queues.iter().map(of).max().unwrap_or_default()
    }

    fn tell(
        &self,
        context: &Context,
        queues: &[(Queue, QueueSettings)],
        there: (u64, u64),
        rest: Duration,
        behind: &Behind,
    ) -> Outcome {
        if context.output.json {
            let queues: Vec<Value> = queues
                .iter()
                .map(|(queue, settings)| json!({ "queue": queue.name(), "messages": settings.depth.total() }))
                .collect();
            return Ok(context.output.document(&json!({
                "collection": self.collection.as_str(),
                "dry_run": self.dry_run,
                "queues": queues,
                "objects": there.0,
                "bytes": there.1,
                "send_again_after_seconds": rest.as_secs(),
                "then": behind.then,
                "created_anew": behind.anew.is_some() && !self.dry_run,
                "backfill": behind.filled,
            }))?);
        }
        let (purged, dropped) = if self.dry_run { ("would purge", "would drop") } else { ("purged", "dropped") };
        for (queue, settings) in queues {
            let about = counted(settings.depth.total(), "message");
            context.output.line(format!("{purged} {}: about {about}", queue.name()))?;
        }
        let objects = counted(there.0, "object");
        context.output.line(format!("{dropped} {}: {objects}, {}", self.collection, bytes(there.1)))?;
        let text = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(then) = &behind.then {
            let text = |key: &str| text(then, key);
            context.output.line(if self.dry_run {
                format!("would start an execution of {}", text("state_machine"))
            } else {
                format!("started the execution {} of {}", text("execution"), text("state_machine"))
            })?;
        }
        if behind.anew.is_some() {
            let word = if self.dry_run { "would create" } else { "created" };
            context.output.line(format!("{word} {} anew, with the same options", self.collection))?;
            match &behind.filled {
                Some(plan) if self.dry_run => {
                    context.output.line(format!("would fill it with the items of {}", text(plan, "items")))?;
                }
                Some(_) => {}
                None => context.output.note(format!(
                    "a backfill was to follow: deltafold {}backfill {} --mapping FILE --export ADDRESS",
                    context.store_option(),
                    self.collection
                )),
            }
        }
        if !rest.is_zero() {
            let seconds = rest.as_secs();
            context.output.note(if self.dry_run {
                format!("it would wait {seconds} s at the end")
            } else {
                format!("send nothing again before {seconds} s are over: it would be lost silently")
            });
        }
        Ok(())
    }
}

/// Purges a queue. Waits first if it was purged within the last minute.
async fn purge(context: &Context, queue: &Queue) -> Outcome {
    match queue.purge().await {
        Err(error) if error.kind() == QueueErrorKind::Busy => {
            wait(context.output, Duration::from_secs(60), "a queue can be purged once a minute").await;
            Ok(queue.purge().await?)
        }
        purged => Ok(purged?),
    }
}

/// Objects and bytes under a collection's name.
async fn size(store: &dyn Store, name: &CollectionName) -> Outcome<(u64, u64)> {
    let prefix = format!("{name}/");
    let (mut objects, mut bytes, mut after) = (0, 0, None);
    loop {
        let page = store.list_after(&prefix, after.as_ref(), 1_000).await?;
        objects += page.len() as u64;
        bytes += page.iter().map(|listed| listed.bytes).sum::<u64>();
        match page.last() {
            Some(last) if page.len() == 1_000 => after = Some(last.key.clone()),
            _ => return Ok((objects, bytes)),
        }
    }
}
