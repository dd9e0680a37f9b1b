//! `ingest`: appends the messages of a queue to a collection until it is stopped.

use std::time::Duration;

use clap::Args;
use deltafold::WriterOptions;
use deltafold::aws::QueueSettings;
use deltafold::format::CollectionName;
use deltafold::ingest::{BodyReader, ConsumeOptions, Consumed, consume};
use serde_json::json;

use super::queue::Service;
use crate::backlog::BacklogArguments;
use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::units::{count, counted, parse_span};
use crate::signals;

/// Append the messages of an SQS queue until stopped. Any number of consumers may run at once,
/// anywhere
#[derive(Debug, Args)]
#[command(after_help = "A message holds one op, a JSON list of ops, or one op a line, as `append` takes them; \
    or, with `--objects`, it names an object of such lines: {\"s3\":\"s3://BUCKET/KEY\"}, or is the event \
    notification of one. Envelopes of SNS, EventBridge, Lambda and Kinesis are opened. A message is deleted once \
    its ops are durable. One that is none stays, and the queue's redrive policy moves it to the dead letters. \
    With `--until-empty`, exit code 8 says that messages failed.")]
pub(crate) struct Ingest {
    /// The collection
    collection: CollectionName,
    /// The queue: its URL, ARN or name. A FIFO queue's messages take effect exactly once
    #[arg(long, value_name = "QUEUE")]
    queue: String,
    #[command(flatten)]
    service: Service,
    /// The mapping file, for messages that hold records of a DynamoDB stream
    #[cfg(feature = "mapping")]
    #[arg(long, value_name = "FILE")]
    mapping: Option<std::path::PathBuf>,
    /// The prefix of objects that messages may name: s3://BUCKET/PREFIX, with the parameters of a
    /// store
    #[cfg(feature = "objects")]
    #[arg(long, value_name = "ADDRESS")]
    objects: Option<deltafold::store::S3Address>,
    /// The visibility timeout of messages in work [default: the queue's]
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    visibility: Option<Duration>,
    /// Stop when the queue has no more messages to receive
    #[arg(long)]
    until_empty: bool,
    #[command(flatten)]
    backlog: BacklogArguments,
}

impl Ingest {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let collection = context.collection(&self.collection).await?;
        let queue = self.service.open(&self.queue).await?;
        let bodies = BodyReader::new(&collection);
        #[cfg(feature = "mapping")]
        let bodies = match &self.mapping {
            Some(path) => bodies.with_mapping(super::map::read_mapping(path)?)?,
            None => bodies,
        };
        #[cfg(feature = "objects")]
        let bodies = match &self.objects {
            Some(address) => bodies.with_objects(deltafold::ingest::Objects::open(address).await?),
            None => bodies,
        };
        let options = ConsumeOptions::default()
            .bodies(Some(bodies))
            .visibility(self.visibility)
            .until_empty(self.until_empty)
            .writer(self.backlog.writer(WriterOptions::default()))
            .keep_up(self.backlog.folds_beyond());
        if !self.until_empty {
            context.output.note(format!("consuming {}; interrupt to stop", queue.name()));
        }
        let done = consume(&collection, &queue, &options, signals::stopped(), |_| ()).await?;
        self.report(context, queue.name(), &done)?;
        // A signal is no failure of the messages.
        if !self.until_empty || done.left == 0 {
            return Ok(());
        }
        Err(left(&queue.settings().await?, queue.name(), self.visibility, &done))
    }

    fn report(&self, context: &Context, queue: &str, done: &Consumed) -> Outcome {
        if context.output.json {
            return Ok(context.output.document(&json!({
                "collection": self.collection.as_str(),
                "queue": queue,
                "messages": done.messages,
                "ops": done.ops,
                "duplicates": done.duplicates,
                "skipped": done.skipped,
                "ignored": done.ignored,
                "failed": done.failed,
                "left": done.left,
            }))?);
        }
        let mut line = format!(
            "{}, {} appended to {}",
            counted(done.messages, "message"),
            counted(done.ops, "op"),
            self.collection
        );
        for (number, said) in [
            (done.duplicates, "; messages that had been appended before: "),
            (done.skipped, "; records that the mapping skips: "),
            (done.ignored, "; events that call for no op: "),
            (done.failed, "; deliveries that failed: "),
        ] {
            if number > 0 {
                line.push_str(&format!("{said}{}", count(number)));
            }
        }
        Ok(context.output.line(line)?)
    }
}

/// The failure of a queue that is empty but for messages that failed: where they are, and what to
/// do.
fn left(settings: &QueueSettings, queue: &str, visibility: Option<Duration>, done: &Consumed) -> Failure {
    let back = done.left.saturating_sub(done.dead);
    let seconds = visibility.unwrap_or(settings.visibility_timeout).as_secs();
    let dead_letters = settings.dead_letters.as_deref().map(|arn| arn.rsplit(':').next().unwrap_or(arn));
    let mut places = Vec::new();
    if back > 0 {
        places.push(format!("{} back in `{queue}` within {seconds} s", count(back)));
    }
    if let Some(dead_letters) = dead_letters.filter(|_| done.dead > 0) {
        places.push(format!(
            "{} among the dead letters of `{dead_letters}`, or there at the next receive",
            count(done.dead)
        ));
    }
    let failure = Failure::new(
        Exit::MessagesFailed,
        format!("{} failed, and nothing is lost: {}", counted(done.left, "message"), places.join("; ")),
    )
    .help("the warnings above name each message and its mistake")
    .detail("left", done.left)
    .detail("in_queue", back)
    .detail("in_dead_letters", done.dead)
    .detail("visible_after_seconds", seconds);
    match dead_letters {
        Some(dead_letters) => failure
            .help(format!("`deltafold queue peek {dead_letters}` shows the dead letters; `deltafold queue redrive {dead_letters}` moves them back"))
            .detail("dead_letters", dead_letters),
        None => failure.help(format!("`{queue}` has no dead letters: set a redrive policy, or such a message comes again until the queue forgets it")),
    }
}
