//! `import`: collections of other programs.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use deltafold::MemoryLimit;
use deltafold::format::CollectionName;
use deltafold::import::chroma::{self, Copied, CopyOptions, Directory, Found, OnMismatch, Source, Stage, Survey};
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::units::{count, counted};
use crate::output::{Output, Progress, Table};
use crate::quote::quoted;

/// Import collections of other programs
#[derive(Debug, Args)]
pub(crate) struct Import {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// Import the collections of a persistent directory of Chroma 0.5 or 1.x
    Chroma(Chroma),
}

/// Import the collections of a persistent directory of Chroma 0.5 or 1.x
#[derive(Debug, Args)]
#[command(
    after_help = "`deltafold serve` has each collection under its old tenant, database, name and UUID. Other commands \
    know it by the name in the output. With `--into` it is a collection of that name and nothing else.\n\
    The directory is only read. Stop Chroma first, or import a copy.\n\
    The same command resumes an import that broke off."
)]
struct Chroma {
    /// The directory, or `s3://BUCKET/PREFIX` of a copy of it
    #[arg(value_name = "PATH")]
    path: String,
    /// Import only the collection of this name: `NAME`, or `TENANT/DATABASE/NAME`
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// The name of the new collection; with one collection
    #[arg(long, value_name = "NAME")]
    into: Option<CollectionName>,
    /// The handling of ids that only the records or only the embeddings know
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnMismatchArgument::Fail)]
    on_mismatch: OnMismatchArgument,
    /// Number of shards of each new collection
    #[arg(long, default_value_t = 1, value_name = "N")]
    shards: u16,
    /// Show the collections and what would come, and import nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnMismatchArgument {
    /// Import nothing
    Fail,
    /// Leave these records out
    Skip,
    /// Import the half that is there
    Keep,
}

impl OnMismatchArgument {
    fn choice(self) -> OnMismatch {
        match self {
            Self::Fail => OnMismatch::Fail,
            Self::Skip => OnMismatch::Skip,
            Self::Keep => OnMismatch::Keep,
        }
    }
}

impl Import {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        match self.from {
            From::Chroma(chroma) => chroma.run(context).await,
        }
    }
}

impl Chroma {
    async fn run(self, context: &Context) -> Outcome {
        let (path, _copy) = self.local(context).await?;
        let directory = tokio::task::block_in_place(|| Directory::open(&path, context.memory()))?;
        let chosen = self.chosen(&directory)?;
        if self.dry_run {
            return self.show(context, &directory, &chosen);
        }
        let store = context.new_store().await?;
        // The reader of the directory takes three sixteenths.
        let share = MemoryLimit::new(context.memory().bytes() / 16 * 13).unwrap_or(MemoryLimit::SMALLEST);
        let mut done = Vec::new();
        for found in chosen {
            let source = tokio::task::block_in_place(|| directory.source(found))?;
            let options = CopyOptions::default()
                .into(self.into.clone())
                .on_mismatch(self.on_mismatch.choice())
                .shards(self.shards)
                .memory(share);
            let copied = copied(context.output, store.clone(), source, &options).await;
            let copied = copied.map_err(|failure| remaining(failure, found, &done))?;
            if !context.output.json {
                context.output.line(sentence(found, &copied))?;
            }
            done.push((found, copied));
        }
        if context.output.json {
            let all: Vec<Value> = done.iter().map(|(found, copied)| report(found, copied)).collect();
            context.output.document(&json!({ "source": self.path, "collections": all }))?;
        }
        Ok(())
    }

    /// The directory on this machine. A copy of one in S3 ends with the second value.
    async fn local(&self, context: &Context) -> Outcome<(PathBuf, Option<deltafold::import::Download>)> {
        if !self.path.contains("://") {
            return Ok((PathBuf::from(&self.path), None));
        }
        let location = self.path.parse::<deltafold::Location>().map_err(|error| Failure::new(Exit::Usage, error))?;
        let store = location.store().await?;
        let mut progress = None;
        let output = context.output;
        let download = deltafold::import::Download::of(&*store, |bytes, of| {
            let progress = progress.get_or_insert_with(|| Progress::new(output, "downloading", "file", Some(of)));
            progress.at(bytes, 0, bytes);
        })
        .await?;
        Ok((download.path(), Some(download)))
    }

    /// The collections to import.
    fn chosen<'a>(&self, directory: &'a Directory) -> Outcome<Vec<&'a Found>> {
        let wanted = |found: &&Found| match &self.collection {
            Some(name) => found.name() == name || full_name(found) == *name,
            None => true,
        };
        let chosen: Vec<&Found> = directory.collections().iter().filter(wanted).collect();
        let all = || directory.collections().iter().map(full_name).collect::<Vec<_>>().join(", ");
        match (&self.collection, chosen.len()) {
            (Some(name), 0) => {
                let problem = format!("`{}` holds no collection {}", self.path, quoted(name));
                Err(Failure::new(Exit::NotFound, problem).help(format!("it holds: {}", all())))
            }
            (Some(name), 2..) => {
                let problem = format!("`{}` holds several collections {}", self.path, quoted(name));
                Err(Failure::new(Exit::Usage, problem).help(format!("give the full name of one of: {}", all())))
            }
            (None, 2..) if self.into.is_some() => {
                let problem = format!("`{}` holds several collections, and `--into` names one", self.path);
                Err(Failure::new(Exit::Usage, problem).help(format!("choose with `--collection` one of: {}", all())))
            }
            _ => Ok(chosen),
        }
    }

    /// Shows what would come.
    fn show(&self, context: &Context, directory: &Directory, chosen: &[&Found]) -> Outcome {
        let mut documents = Vec::new();
        let head = ["COLLECTION", "UUID", ">DIMENSION", "METRIC", ">RECORDS", "HALVES", "INTO"];
        let mut table = Table::new(context.output, &head);
        for found in chosen {
            let source = tokio::task::block_in_place(|| directory.source(found))?;
            let target = chroma::target(found, self.into.as_ref());
            let target = match (target, source.dimension()) {
                (Ok(_), None) => "-".to_owned(),
                (Ok(name), Some(_)) => name.to_string(),
                (Err(error), _) => error.to_string(),
            };
            let survey = source.survey();
            documents.push(json!({
                "tenant": found.tenant(),
                "database": found.database(),
                "name": found.name(),
                "id": found.id(),
                "dimension": source.dimension(),
                "metric": found.metric().name(),
                "records": survey.records(self.on_mismatch.choice()),
                "without_embedding": survey.without_embedding.0,
                "only_embedding": survey.only_embedding.0,
                "into": target,
            }));
            table.row([
                full_name(found),
                found.id(),
                source.dimension().map_or_else(|| "-".to_owned(), |dimension| dimension.to_string()),
                found.metric().name().to_owned(),
                count(survey.rows),
                halves(survey),
                target,
            ]);
        }
        if context.output.json {
            return Ok(context.output.document(&json!({ "source": self.path, "collections": documents }))?);
        }
        Ok(context.output.table(&table)?)
    }
}

/// Copies one collection, with its progress.
async fn copied(
    output: Output,
    store: std::sync::Arc<dyn deltafold::store::Store>,
    source: Source,
    options: &CopyOptions,
) -> Outcome<Copied> {
    let mut stage: Option<(Stage, Progress)> = None;
    let copied = chroma::copy(store, source, options, |now| {
        if stage.as_ref().is_none_or(|(stage, _)| *stage != now.stage) {
            let word = match now.stage {
                Stage::Compare => "comparing",
                Stage::Verify => "verifying",
                _ => "importing",
            };
            stage = Some((now.stage, Progress::new(output, word, "record", Some(now.of))));
        }
        if let Some((_, progress)) = &mut stage {
            progress.at(now.records, now.records, now.bytes);
        }
    });
    Ok(copied.await?)
}

fn full_name(found: &Found) -> String {
    format!("{}/{}/{}", found.tenant(), found.database(), found.name())
}

/// Tells whether the two halves of a collection fit.
fn halves(survey: &Survey) -> String {
    let mut told = Vec::new();
    if survey.without_embedding.0 > 0 {
        told.push(format!("{} without embedding", count(survey.without_embedding.0)));
    }
    if survey.only_embedding.0 > 0 {
        told.push(format!("{} only embedding", count(survey.only_embedding.0)));
    }
    if told.is_empty() { "fit".to_owned() } else { told.join(", ") }
}

fn sentence(found: &Found, copied: &Copied) -> String {
    let Some(collection) = &copied.collection else {
        return format!("imported {}: it has no records", full_name(found));
    };
    let mut text =
        format!("imported {} into {collection}: {}, all compared", full_name(found), counted(copied.records, "record"));
    if copied.resumed > 0 {
        text.push_str(&format!("; {} of them were there", count(copied.resumed)));
    }
    if copied.skipped > 0 {
        text.push_str(&format!("; {} left out", counted(copied.skipped, "half record")));
    }
    text
}

fn report(found: &Found, copied: &Copied) -> Value {
    json!({
        "tenant": found.tenant(),
        "database": found.database(),
        "name": found.name(),
        "id": found.id(),
        "into": copied.collection.as_ref().map(ToString::to_string),
        "records": copied.records,
        "resumed": copied.resumed,
        "skipped": copied.skipped,
        "digest": copied.digest,
    })
}

/// A failure with the collections that were imported before it.
fn remaining(failure: Failure, found: &Found, done: &[(&Found, Copied)]) -> Failure {
    let names: Vec<String> = done.iter().map(|(found, _)| full_name(found)).collect();
    let failure = failure.detail("collection", full_name(found)).detail("imported", names.clone());
    let failure = failure.help(format!("the collection is {}; the same command resumes its import", full_name(found)));
    if names.is_empty() { failure } else { failure.help(format!("imported before it: {}", names.join(", "))) }
}
