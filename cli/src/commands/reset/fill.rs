//! The backfill with which a reset ends: the collection is created anew as it was, and filled.

use std::path::PathBuf;

use clap::Args;
use deltafold::CreateOptions;
use deltafold::format::CollectionName;
use serde_json::{Value, json};

use crate::backlog::BacklogArguments;
use crate::commands::backfill::{Fill, FillArguments, Terms};
use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};

#[derive(Debug, Args)]
pub(super) struct ThenFillArguments {
    /// Create the collection anew at the end, with the same options, and take over the items of a
    /// table as `backfill` does: with --mapping, and --export or --scan
    #[arg(long, requires = "mapping", conflicts_with = "no_wait")]
    then_backfill: bool,
    /// The mapping file of the backfill
    #[arg(long, value_name = "FILE", requires = "then_backfill")]
    mapping: Option<PathBuf>,
    #[command(flatten)]
    fill: FillArguments,
}

/// The next collection, and its items.
pub(super) struct ThenFill {
    fill: Fill,
    /// The command that fills the collection where this one is broken off.
    again: String,
}

impl ThenFillArguments {
    /// Opens mapping and items, so that nothing is deleted where one is missing.
    pub(super) async fn open(&self, context: &Context, name: &CollectionName) -> Outcome<Option<ThenFill>> {
        let usage = |problem: &str| Err(Failure::new(Exit::Usage, problem));
        let Some(mapping) = self.mapping.as_ref().filter(|_| self.then_backfill) else {
            if self.fill.is_given() {
                return usage("the options of a backfill go with `--then-backfill`");
            }
            return Ok(None);
        };
        let fill = self.fill.clone().open(name, mapping).await?;
        if !fill.is_for_collection() {
            let problem = format!("`{}` has no rule for collection `{name}`; nothing was deleted", mapping.display());
            return Err(Failure::new(Exit::BadInput, problem));
        }
        let again = fill.again(context, &terms());
        Ok(Some(ThenFill { fill, again }))
    }
}

impl ThenFill {
    /// The items, for a plan.
    pub(super) fn document(&self) -> Value {
        json!({ "items": self.fill.what(), "command": self.again })
    }

    /// Opens the file of rejects, or makes it.
    pub(super) fn with_rejects(self) -> Outcome<Self> {
        Ok(Self { fill: self.fill.with_rejects()?, ..self })
    }

    /// Fills the new collection. Returns the report in JSON, and the verdict.
    pub(super) async fn run(self, context: &Context, name: &CollectionName) -> (Option<Value>, Outcome) {
        let Self { fill, again } = self;
        let filled = async {
            let collection = context.collection(name).await?;
            let told = fill.run(context, &collection, &terms()).await?;
            Ok::<_, Failure>((collection, told))
        };
        let (collection, told) = match filled.await {
            Ok(filled) => filled,
            Err(failure) => {
                let done = format!("the reset is done, and `{name}` is created anew; go on with: {again}");
                return (None, Err(failure.help(done)));
            }
        };
        let document = context.output.json.then(|| told.document(&collection));
        let said = if document.is_some() { Ok(()) } else { told.tell(context, &collection) };
        (document, said.and_then(|()| told.verdict(&collection)))
    }
}

/// The options of the collection that is there.
pub(super) async fn options_of(context: &Context, name: &CollectionName) -> Outcome<CreateOptions> {
    match context.collection(name).await {
        Ok(collection) => Ok(CreateOptions::like(collection.config())),
        Err(failure) => {
            Err(failure
                .help("the next collection gets the options of this one: create it, and use `deltafold backfill`"))
        }
    }
}

fn terms() -> Terms {
    Terms { dry_run: false, over_existing: false, backlog: BacklogArguments::default() }
}
