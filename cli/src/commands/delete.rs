//! `delete`: deletes records by filter.

use clap::Args;
use deltafold::WriterOptions;
use deltafold::format::{CollectionName, Revision};
use serde_json::json;

use crate::confirm::confirm;
use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::units::counted;
use crate::whered::WhereArguments;

/// Delete the records that match a filter
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The collection
    collection: CollectionName,
    #[command(flatten)]
    filter: WhereArguments,
    /// Count the matching records, and delete none
    #[arg(long)]
    dry_run: bool,
    /// Skip the confirmation
    #[arg(long, short)]
    yes: bool,
    /// The revision of the deletes, in a collection ordered by revision
    #[arg(long, value_name = "REVISION")]
    revision: Option<Revision>,
}

impl Delete {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let Some(filter) = self.filter.filter()? else {
            let problem = "`delete` needs a filter".to_owned();
            return Err(Failure::new(Exit::Usage, problem)
                .help("give `--where` or `--where-document`; `drop` deletes a whole collection"));
        };
        let collection = context.collection(&self.collection).await?;
        if collection.config().ordering.is_revision() != self.revision.is_some() {
            let problem = match self.revision {
                Some(_) => format!("`{}` is not ordered by revision", self.collection),
                None => format!("`{}` is ordered by revision", self.collection),
            };
            let help = match self.revision {
                Some(_) => "leave `--revision` out",
                None => "give the deletes a revision with `--revision`; records changed at a higher one stay",
            };
            return Err(Failure::new(Exit::Usage, problem).help(help));
        }
        let reader = collection.reader().await?;
        let matching = reader.count_matching(&filter).await?;
        if self.dry_run || matching == 0 {
            return self.tell(context, matching, 0);
        }
        if !self.yes {
            let what = format!("this deletes {} of `{}`", counted(matching, "record"), self.collection);
            let command = format!("deltafold delete {} …", self.collection);
            confirm(context, &what, self.collection.as_str(), &command)?;
        }
        let writer = collection.writer(WriterOptions::default())?;
        let deleted = writer.delete_matching(&reader, &filter, self.revision).await?;
        writer.close().await?;
        self.tell(context, matching, deleted)
    }

    fn tell(&self, context: &Context, matching: u64, deleted: u64) -> Outcome {
        if context.output.json {
            let name = self.collection.as_str();
            return Ok(context.output.document(&json!({
                "collection": name, "matching": matching, "deleted": deleted, "dry_run": self.dry_run,
            }))?);
        }
        let records = counted(matching, "record");
        let said = match self.dry_run {
            true => format!("{records} of {} would be deleted", self.collection),
            false => format!("deleted {} of {}", counted(deleted, "record"), self.collection),
        };
        Ok(context.output.line(said)?)
    }
}
