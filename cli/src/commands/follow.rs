//! `follow`: reads the ops of a shard's log as they arrive.

use std::time::Duration;

use clap::Args;
use deltafold::format::{CollectionName, Op, Position, Sequence, ShardId};
use deltafold::{Collection, FollowOptions};
use futures::StreamExt as _;

use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::units::parse_span;
use crate::signals;

/// Read new ops of a shard's log as they arrive, as JSON Lines, each op with its position. Begins
/// with the oldest segment kept
#[derive(Debug, Args)]
pub(crate) struct Follow {
    /// The collection
    collection: CollectionName,
    /// The shard
    #[arg(long, value_name = "N", default_value_t = 0)]
    shard: u16,
    /// Begin behind this position, as printed in the lines
    #[arg(long, value_name = "POSITION", conflicts_with_all = ["from", "new"])]
    after: Option<Position>,
    /// Begin with this segment
    #[arg(long, value_name = "SEGMENT", conflicts_with = "new")]
    from: Option<u64>,
    /// Begin at the present end of the log
    #[arg(long)]
    new: bool,
    /// Stop at the end of the log
    #[arg(long)]
    until_end: bool,
    /// The interval between looks for new segments
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_span)]
    interval: Duration,
}

impl Follow {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let collection = context.collection(&self.collection).await?;
        let no_shard = || Failure::new(Exit::NotFound, format!("`{}` has no shard {}", self.collection, self.shard));
        let shard = ShardId::new(self.shard).filter(|shard| shard.get() < collection.config().shards);
        let shard = shard.ok_or_else(no_shard)?;
        let options = FollowOptions::default().until_tail(self.until_end).interval(self.interval);
        let options = match self.after {
            Some(after) => options.after(after),
            None => options.from_segment(self.first_segment(&collection, shard).await?),
        };
        let mut ops = std::pin::pin!(collection.follow(shard, options)?);
        let mut interrupted = std::pin::pin!(signals::stopped());
        loop {
            let next = match futures::future::select(&mut interrupted, ops.next()).await {
                futures::future::Either::Left(_) => return Ok(()),
                futures::future::Either::Right((next, _)) => next,
            };
            let Some(next) = next else { return Ok(()) };
            let (position, op) = next?;
            context.output.json_text(line(shard, position, &op))?;
        }
    }

    async fn first_segment(&self, collection: &Collection, shard: ShardId) -> Outcome<Sequence> {
        if let Some(from) = self.from {
            let out_of_range =
                || Failure::new(Exit::Usage, format!("{from} is not a segment: the numbers end at 2^44 - 1"));
            return Sequence::new(from.max(1)).ok_or_else(out_of_range);
        }
        let status = collection.status().await?;
        let status = status.shards.iter().find(|status| status.shard == shard);
        Ok(status.map_or(Sequence::FIRST, |status| if self.new { status.tail.next() } else { status.truncated }))
    }
}

fn line(shard: ShardId, position: Position, op: &Op) -> Vec<u8> {
    let mut text = Vec::new();
    deltafold::jsonl::write_op(&mut text, op);
    let mut line = format!("{{\"shard\":{},\"position\":\"{position}\",", shard.get()).into_bytes();
    line.extend_from_slice(text.get(1..).unwrap_or_default());
    line
}
