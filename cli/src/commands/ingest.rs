//! `ingest`: appends the messages of a queue to a collection until it is stopped.

use std::time::Duration;

use clap::Args;
use deltafold::WriterOptions;
use deltafold::format::CollectionName;
use deltafold::ingest::{BodyReader, ConsumeOptions, consume};
use serde_json::json;

use super::queue::Service;
use crate::backlog::BacklogArguments;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::units::{count, counted, parse_span};
use crate::signals;

/// Append the messages of an SQS queue until stopped. Any number of consumers may run at once,
/// anywhere
#[derive(Debug, Args)]
#[command(after_help = "A message holds one op, a JSON list of ops, or one op a line, as `append` takes them; \
    or, with `--objects`, it names an object of such lines: {\"s3\":\"s3://BUCKET/KEY\"}. It is deleted once \
    its ops are durable. One that is none stays, and the queue's redrive policy moves it to the dead letters.")]
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
        if context.output.json {
            return Ok(context.output.document(&json!({
                "collection": self.collection.as_str(),
                "queue": queue.name(),
                "messages": done.messages,
                "ops": done.ops,
                "duplicates": done.duplicates,
                "skipped": done.skipped,
                "failed": done.failed,
            }))?);
        }
        let again = if done.duplicates > 0 {
            format!("; {} of them had been appended before", count(done.duplicates))
        } else {
            String::new()
        };
        let skipped = if done.skipped > 0 {
            format!("; records that the mapping skips: {}", count(done.skipped))
        } else {
            String::new()
        };
        let failed = if done.failed > 0 {
            format!("; failed, and to come again: {}", count(done.failed))
        } else {
            String::new()
        };
        let (messages, ops) = (counted(done.messages, "message"), counted(done.ops, "op"));
        Ok(context.output.line(format!("{messages}, {ops} appended to {}{again}{skipped}{failed}", self.collection))?)
    }
}
