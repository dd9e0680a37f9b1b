//! `queue`: the chores of queues.

mod depth;
mod peek;
mod purge;
mod redrive;
mod wait;

use clap::{Args, Subcommand};
use deltafold::aws::AwsOptions;

use crate::cli::context::Context;
use crate::cli::exit::Outcome;

pub(crate) use wait::{DEDUPLICATION, wait};

/// Look after queues: how much waits, what it is, moving dead letters back, purging
#[derive(Debug, Args)]
pub(crate) struct Queue {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Show how much waits in queues and in their dead-letter queues
    Depth(depth::Depth),
    /// Look at messages and leave them where they are
    Peek(peek::Peek),
    /// Move what lies in a dead-letter queue back to where it came from
    Redrive(redrive::Redrive),
    /// Delete all messages of a queue
    Purge(purge::Purge),
}

/// Where queues are.
#[derive(Debug, Args)]
pub(crate) struct Service {
    /// The region, where the queue's URL does not tell
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Where the service is, for one that is not AWS's
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

impl Service {
    pub(crate) async fn open(&self, queue: &str) -> Outcome<deltafold::aws::Queue> {
        let (region, endpoint) = (self.region.clone(), self.endpoint.clone());
        let options = AwsOptions { region, endpoint, ..AwsOptions::default() };
        Ok(deltafold::aws::Queue::open(queue, &options).await?)
    }
}

impl Queue {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        match self.chore {
            Chore::Depth(chore) => chore.run(context).await,
            Chore::Peek(chore) => chore.run(context).await,
            Chore::Redrive(chore) => chore.run(context).await,
            Chore::Purge(chore) => chore.run(context).await,
        }
    }
}
