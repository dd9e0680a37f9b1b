//! `backfill`: takes over the items of a DynamoDB table from an export or a scan.

mod fill;
mod told;

use std::path::PathBuf;

use clap::Args;
use deltafold::format::CollectionName;

use crate::backlog::BacklogArguments;
use crate::context::Context;
use crate::exit::Outcome;
#[cfg(feature = "sqs")]
pub(crate) use fill::Fill;
pub(crate) use fill::{FillArguments, Terms};

/// Take over the items of a DynamoDB table: from an export to S3, or from the output of a scan
#[derive(Debug, Args)]
#[command(
    after_help = "An export is the folder AWSDynamoDB/ID with its manifests, full or incremental, in DynamoDB JSON. \
    Every file is compared with its checksum before its first item is appended. The same command again goes on where \
    one stopped, and no item takes effect twice.\n\n\
    The stream of the table must have been switched on before the export began. In a collection ordered by revision \
    its consumer may run meanwhile. In log order start the consumer when this has ended, at the stream's beginning."
)]
pub(crate) struct Backfill {
    /// The collection
    collection: CollectionName,
    /// The mapping file, the same as for the stream of the table
    #[arg(long, value_name = "FILE")]
    mapping: PathBuf,
    #[command(flatten)]
    fill: FillArguments,
    /// Read, map and count, and append nothing
    #[arg(long, conflicts_with = "rejects")]
    dry_run: bool,
    /// In log order: begin although the collection holds ops. Items replace newer states of their
    /// records
    #[arg(long)]
    over_existing: bool,
    #[command(flatten)]
    backlog: BacklogArguments,
}

impl Backfill {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let Self { collection, mapping, fill, dry_run, over_existing, backlog } = self;
        let name = collection;
        let collection = context.collection(&name).await?;
        let fill = fill.open(&name, &mapping).await?.with_rejects()?;
        let told = fill.run(context, &collection, &Terms { dry_run, over_existing, backlog }).await?;
        if context.output.json {
            context.output.document(&told.document(&collection))?;
        } else {
            told.tell(context, &collection)?;
        }
        told.verdict(&collection)
    }
}
