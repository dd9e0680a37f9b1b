//! `copy`: copies a collection into another one, and follows its log.

use std::time::Duration;

use clap::Args;
use deltafold::format::{CollectionName, HeadPlace, Ordering};
use deltafold::{Collection, Copier, CopyOptions, CopyReport, CreateOptions, KEEP_TOMBSTONES, MemoryLimit};
use serde_json::json;

use super::create::{OrderingArgument, parse_heads};
use super::get::AtArguments;
use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Progress;
use crate::output::config::ordering_words;
use crate::output::units::{count, counted, duration, parse_duration, parse_span};
use crate::signals;

/// Copy a collection into another one. The same command again goes on where the last one stopped:
/// it applies the new ops of the log, each once, or writes what differs
#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// The collection to copy
    from: CollectionName,
    /// The target; the command makes it if it is missing
    to: CollectionName,
    /// The store of the target: a path, `dir:PATH`, or `s3://BUCKET/PREFIX` [default: the same
    /// store]
    #[arg(long, value_name = "STORE")]
    to_store: Option<String>,
    /// Number of shards of a new target [default: that of the original]
    #[arg(long, value_name = "N")]
    shards: Option<u16>,
    /// The ordering of a new target [default: that of the original]
    #[arg(long, value_enum)]
    ordering: Option<OrderingArgument>,
    /// By revision: the retention of tombstones in a new target
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    keep_tombstones: Option<Duration>,
    /// The place of the heads of a new target: `store`, or `dynamodb:TABLE[@REGION]`
    #[arg(long, value_name = "PLACE", default_value = "store", value_parser = parse_heads)]
    heads: HeadPlace,
    /// Go on with the log until a signal: a warm standby. Both must be ordered by the log
    #[arg(long)]
    follow: bool,
    /// With `--follow`: the interval between looks for new segments
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_span)]
    interval: Duration,
    /// Make the target equal to the original, whatever it holds
    #[arg(long)]
    overwrite: bool,
    /// Do not compare number and digest of the records at the end
    #[arg(long)]
    no_verify: bool,
    #[command(flatten)]
    at: AtArguments,
}

impl Copy {
    /// Whether the command goes on until a signal.
    pub(crate) fn follows(&self) -> bool {
        self.follow
    }

    pub(crate) async fn run(self: Box<Self>, context: &Context) -> Outcome {
        // Two readers and a writer work at once.
        let share = MemoryLimit::new(context.memory().bytes() / 3).unwrap_or(MemoryLimit::SMALLEST);
        let from = context.collection(&self.from).await?.with_memory(share);
        if self.follow && !self.at.is_latest() {
            return Err(Failure::new(Exit::Usage, "`--follow` begins with the latest state")
                .help("leave out `--version` and `--pin`"));
        }
        let to = self.target(context, &from).await?.with_memory(share);
        let options = CopyOptions::default()
            .at(self.at.at(&from)?)
            .follow(self.follow)
            .interval(self.interval)
            .overwrite(self.overwrite)
            .verify(!self.no_verify);
        let copier = Copier::new(&from, &to, options)?;
        let mut progress = Progress::new(context.output, "copying", "record", None);
        let mut following = false;
        let each = |report: &CopyReport| {
            let done = report.written + report.deleted + report.ops + report.compared;
            progress.at(done, done, 0);
            if report.following && !following {
                following = true;
                self.tell_following(context, report);
            }
        };
        let report = if self.follow {
            copier.run(signals::stopped(), each).await?
        } else {
            copier.run(std::future::pending(), each).await?
        };
        self.tell(context, &to, &report, progress.elapsed())
    }

    /// The target. Makes it if it is missing.
    async fn target(&self, context: &Context, from: &Collection) -> Outcome<Collection> {
        let elsewhere = self.to_store.as_deref().map(|store| context.elsewhere(store));
        let context = elsewhere.as_ref().unwrap_or(context);
        match context.collection(&self.to).await {
            Ok(found) => self.fits(found),
            Err(failure) if failure.is_not_found() => {
                let store = context.store_with(&self.heads).await?;
                Ok(Collection::create(store, &self.to, &self.options(from)?).await?)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Checks that an existing target is as the arguments say.
    fn fits(&self, found: Collection) -> Outcome<Collection> {
        let config = found.config();
        let wanted = self.ordering.map(|wanted| wanted == OrderingArgument::Revision);
        if wanted.is_none_or(|by_revision| by_revision == config.ordering.is_revision())
            && self.shards.is_none_or(|shards| shards == config.shards)
        {
            return Ok(found);
        }
        let problem = format!(
            "`{}` exists with {}, {}, and these never change",
            self.to,
            counted(config.shards.into(), "shard"),
            ordering_words(config.ordering)
        );
        Err(Failure::new(Exit::Usage, problem).help("name another target, or leave the options out"))
    }

    /// The settings of a new target.
    fn options(&self, from: &Collection) -> Outcome<CreateOptions> {
        let mut options = Copier::target(from);
        if let Some(shards) = self.shards {
            options = options.shards(shards);
        }
        match (self.ordering, self.keep_tombstones) {
            (Some(OrderingArgument::Log), None) => Ok(options.ordering(Ordering::Log)),
            (Some(OrderingArgument::Revision), keep) => Ok(options.by_revision(keep.unwrap_or(KEEP_TOMBSTONES))),
            (None, None) => Ok(options),
            (None, Some(keep)) if from.config().ordering.is_revision() => Ok(options.by_revision(keep)),
            (_, Some(_)) => {
                Err(Failure::new(Exit::Usage, "`--keep-tombstones` is for collections ordered by revision")
                    .help("add `--ordering revision`, or leave it out"))
            }
        }
    }

    fn tell_following(&self, context: &Context, report: &CopyReport) {
        let output = context.output;
        // A follower goes on without a reader of its output.
        let _ = if output.json {
            output.json_line(&json!({ "following": true, "written": report.written, "ops": report.ops }))
        } else {
            output.line(format_args!("{} equals {}; following the log until a signal", self.to, self.from))
        };
    }

    fn tell(&self, context: &Context, to: &Collection, report: &CopyReport, took: Duration) -> Outcome {
        let output = context.output;
        if output.json {
            let document = json!({
                "from": self.from.as_str(),
                "to": self.to.as_str(),
                "store": to.store().location(),
                "transfers": report.transfers,
                "written": report.written,
                "deleted": report.deleted,
                "ops": report.ops,
                "repeated": report.repeated,
                "records": report.verified.map(|(records, _)| records),
                "digest": report.verified.map(|(_, digest)| digest.to_string()),
                "seconds": took.as_secs_f64(),
            });
            return Ok(if self.follow { output.json_line(&document) } else { output.document(&document) }?);
        }
        let equal = match report.verified {
            Some((records, digest)) => format!("; both hold {}, digest {digest}", counted(records, "record")),
            None => String::new(),
        };
        Ok(output.line(format!(
            "copied {} to {} in {}: {} written, {} deleted, {} of the log{equal}",
            self.from,
            self.to,
            duration(took),
            counted(report.written, "record"),
            count(report.deleted),
            counted(report.ops - report.repeated, "op"),
        ))?)
    }
}
