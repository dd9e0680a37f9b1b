//! `queue`: the commands that manage queues.

mod depth;
mod peek;
mod purge;
mod redrive;
mod wait;

use clap::{Args, Subcommand};
use deltafold::aws::AwsOptions;

use crate::context::Context;
use crate::exit::Outcome;

pub(crate) use wait::{DEDUPLICATION, wait};

/// Manage queues: show their depth, peek, move dead letters back, purge
#[derive(Debug, Args)]
pub(crate) struct Queue {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Show the depth of queues and of their dead-letter queues
    Depth(depth::Depth),
    /// Look at messages and leave them where they are
    Peek(peek::Peek),
    /// Move the messages of a dead-letter queue back to their source queue
    Redrive(redrive::Redrive),
    /// Delete all messages of a queue
    Purge(purge::Purge),
}

/// The service that has the queues.
#[derive(Debug, Args)]
pub(crate) struct Service {
    /// The region, if the queue's URL does not name it
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The endpoint of a service other than AWS's
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

impl Service {
    pub(crate) async fn open(&self, queue: &str) -> Outcome<deltafold::aws::Queue> {
        let (region, endpoint) = (self.region.clone(), self.endpoint.clone());
        let options = AwsOptions::default().region(region).endpoint(endpoint);
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
