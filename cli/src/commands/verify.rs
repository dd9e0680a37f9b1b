//! `verify`: checks that every object is there and undamaged.

use clap::Args;
use deltafold::format::CollectionName;
use deltafold::{Depth, Finding};
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Progress;
use crate::output::units::{bytes, counted};

/// Check a collection for damage. Reads only
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The collection
    collection: CollectionName,
    /// Read and check every byte, and recompute the accounting
    #[arg(long)]
    deep: bool,
}

/// A finding in JSON.
pub(crate) fn finding_document(finding: &Finding) -> Value {
    json!({ "shard": finding.shard.get(), "key": finding.key, "problem": finding.problem })
}

/// The failure of a command that met damage, printed behind its output.
pub(crate) fn damaged(collection: &CollectionName, damage: &[Finding]) -> Outcome {
    if damage.is_empty() {
        return Ok(());
    }
    let found = counted(damage.len() as u64, "problem");
    let failure = Failure::new(Exit::Damaged, format!("`{collection}` is damaged: {found} found"));
    Err(failure.help("`deltafold verify --deep` lists everything that is damaged"))
}

impl Verify {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let collection = context.collection(&self.collection).await?;
        let depth = if self.deep { Depth::Deep } else { Depth::Quick };
        let mut progress = Progress::new(context.output, "verifying", "object", None);
        let report =
            collection.verify(depth, |report| progress.at(report.objects, report.objects, report.bytes)).await?;
        drop(progress);
        let depth = if self.deep { "deep" } else { "quick" };
        if context.output.json {
            let findings: Vec<Value> = report.findings.iter().map(finding_document).collect();
            let notes: Vec<Value> = report.notes.iter().map(finding_document).collect();
            context.output.document(&json!({
                "collection": self.collection.as_str(),
                "depth": depth,
                "sound": report.is_sound(),
                "findings": findings,
                "notes": notes,
                "objects": report.objects,
                "bytes": report.bytes,
                "rows": report.rows,
                "ops": report.ops,
                "unreferenced": report.unreferenced,
            }))?;
        } else {
            for finding in &report.findings {
                context.output.line(format!("{}: {}", finding.key, finding.problem))?;
            }
            for note in &report.notes {
                context.output.line(format!("note: {}: {}", note.key, note.problem))?;
            }
        }
        if !report.is_sound() {
            let found = counted(report.findings.len() as u64, "problem");
            let failure = Failure::new(Exit::Damaged, format!("`{}` is damaged: {found} found", self.collection));
            return Err(if self.deep { failure } else { failure.help("`verify --deep` looks at every byte") }
                .help("restore the objects named above from a copy; readers of sound objects go on undisturbed"));
        }
        if context.output.json {
            return Ok(());
        }
        let read = format!("{} and {}", counted(report.objects, "object"), bytes(report.bytes));
        let more = if self.deep {
            format!(", {} and {}", counted(report.rows, "row"), counted(report.ops, "op"))
        } else {
            "; `--deep` reads every byte".to_owned()
        };
        Ok(context.output.line(format!("{} is sound ({depth}): {read}{more}", self.collection))?)
    }
}
