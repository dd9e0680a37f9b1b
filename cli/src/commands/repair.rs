//! `repair`: rebuilds lost and damaged registers from the collection's other objects.

use std::time::Duration;

use clap::Args;
use deltafold::format::{CollectionName, HeadPlace, Ordering};
use deltafold::{Collection, KEEP_TOMBSTONES, RepairOptions, RepairReport, RepairStep};
use serde_json::{Value, json};

use super::create::{MetricArgument, OrderingArgument, parse_heads};
use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::units::{counted, parse_duration};

/// Rebuild lost or damaged registers of a collection from its other objects
///
/// Without `--yes` it only reads, and prints its plan. It deletes nothing, and overwrites no intact
/// register. Writers, readers and compactors may go on meanwhile.
#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// The collection
    collection: CollectionName,
    /// Write the registers as planned
    #[arg(long, short)]
    yes: bool,
    /// Replace existing registers that are damaged, of another collection, or an old copy
    #[arg(long)]
    replace: bool,
    /// Accept a permanent loss, and rebuild from the remaining objects
    #[arg(long)]
    accept_loss: bool,
    /// The metric chosen at `create`, if the command asks for it
    #[arg(long, value_enum)]
    metric: Option<MetricArgument>,
    /// The dimension chosen at `create`, if the command asks for it
    #[arg(long, value_name = "N")]
    dimension: Option<u32>,
    /// The number of shards chosen at `create`, if the command asks for it
    #[arg(long, value_name = "N")]
    shards: Option<u16>,
    /// The ordering chosen at `create`, if the command asks for it
    #[arg(long, value_enum)]
    ordering: Option<OrderingArgument>,
    /// By revision: the retention of tombstones [default: 14d]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    keep_tombstones: Option<Duration>,
    /// The place of the heads, if it is unknown: `store`, or `dynamodb:TABLE[@REGION]`
    #[arg(long, value_name = "PLACE", value_parser = parse_heads)]
    heads: Option<HeadPlace>,
}

impl Repair {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let heads = match &self.heads {
            Some(heads) => heads.clone(),
            None => Collection::find_heads(&*context.store().await?, &self.collection).await?.unwrap_or_default(),
        };
        let store = context.store_with(&heads).await?;
        let options = RepairOptions::default()
            .apply(self.yes)
            .replace(self.replace)
            .accept_loss(self.accept_loss)
            .metric(self.metric.map(MetricArgument::metric))
            .dimension(self.dimension)
            .shards(self.shards)
            .ordering(self.ordering());
        let report = match Collection::repair(store, &self.collection, &options).await {
            Err(error) if error.kind() == deltafold::ErrorKind::InvalidInput => {
                return Err(Failure::new(Exit::BadInput, error).help(
                    "`--metric`, `--shards`, `--ordering` and `--dimension` tell it; `--heads` where heads lie",
                ));
            }
            report => report?,
        };
        if context.output.json {
            context.output.document(&self.document(&report))?;
        } else {
            for step in &report.steps {
                self.print(context, step)?;
            }
        }
        self.judge(context, &report, &options)
    }

    fn ordering(&self) -> Option<Ordering> {
        self.ordering.map(|ordering| match ordering {
            OrderingArgument::Log => Ordering::Log,
            OrderingArgument::Revision => {
                let keep = self.keep_tombstones.unwrap_or(KEEP_TOMBSTONES);
                Ordering::Revision { keep_tombstones_millis: u64::try_from(keep.as_millis()).unwrap_or(u64::MAX) }
            }
        })
    }

    fn print(&self, context: &Context, step: &RepairStep) -> Outcome {
        context.output.line(format!("{}: {}", step.key, step.problem))?;
        for loss in &step.losses {
            context.output.line(format!("  lost: {loss}"))?;
        }
        for note in &step.notes {
            context.output.line(format!("  note: {note}"))?;
        }
        let verb = match (step.done, step.replaces) {
            (true, _) => "wrote",
            (false, true) => "would replace it by",
            (false, false) => "would write",
        };
        if let Some(remedy) = &step.remedy {
            context.output.line(format!("  {verb} {remedy}"))?;
        }
        Ok(())
    }

    /// The verdict: the remaining work, and the command for it.
    fn judge(&self, context: &Context, report: &RepairReport, options: &RepairOptions) -> Outcome {
        let intact = counted(report.intact, "register");
        if report.steps.is_empty() {
            return match context.output.json {
                true => Ok(()),
                false => Ok(context.output.line(format!("nothing to repair: {intact} intact"))?),
            };
        }
        let name = &self.collection;
        let verify = format!("`deltafold {}verify {name} --deep` looks at everything else", context.store_option());
        if report.is_intact() {
            context.output.note(format!("all registers of {name} are intact; {verify}"));
            return Ok(());
        }
        let open: Vec<&RepairStep> = report.steps.iter().filter(|step| !step.done).collect();
        let count = counted(open.len() as u64, "register");
        let mut failure = Failure::new(Exit::Damaged, format!("{count} of `{name}` lost or damaged"));
        if open.iter().any(|step| step.remedy.is_some()) {
            let needs = |flag: bool, text: &str| if flag { text.to_owned() } else { String::new() };
            let replaces = open.iter().any(|step| step.replaces && step.remedy.is_some());
            let loses = open.iter().any(|step| !step.losses.is_empty() && step.remedy.is_some());
            let (store, replace) = (context.store_option(), needs(replaces, " --replace"));
            let loss = needs(loses, " --accept-loss");
            failure =
                failure.help(format!("`deltafold {store}repair {name} --yes{replace}{loss}` writes these registers"));
            if loses && !options.accept_loss {
                failure = failure.help("a copy of the store may hold the records printed as lost: look there first");
            }
        } else {
            failure = failure.help("restore the objects named above from a copy");
        }
        Err(failure)
    }

    fn document(&self, report: &RepairReport) -> Value {
        let steps: Vec<Value> = report
            .steps
            .iter()
            .map(|step| {
                json!({
                    "key": step.key,
                    "problem": step.problem,
                    "remedy": step.remedy,
                    "notes": step.notes,
                    "losses": step.losses,
                    "replaces": step.replaces,
                    "done": step.done,
                })
            })
            .collect();
        json!({
            "collection": self.collection.as_str(),
            "applied": self.yes,
            "intact": report.intact,
            "is_intact": report.is_intact(),
            "steps": steps,
        })
    }
}
