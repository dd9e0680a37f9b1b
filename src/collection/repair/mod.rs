//! Repair rebuilds the registers of a collection from its other objects.
//!
//! It reads first (`evidence`, `config`), then decides without I/O (`plan`), then writes (`act`).
//! Repair never deletes anything and never overwrites an intact register. It creates a missing one.
//! With consent it replaces, by its tag, one that is not intact. Writers and compactors may run
//! meanwhile.

mod act;
mod config;
mod evidence;
mod plan;

use std::sync::Arc;

use deltafold_format::{CollectionConfig, CollectionName, HeadPlace, Metric, Ordering};

use super::{Collection, CollectionBuilder};
use crate::drop_note;
use crate::error::{Error, Repr, Result};
use crate::layout::Layout;
use crate::setters::setters;
use crate::store::{Key, Store};
use config::Register;
use plan::Action;

/// The permissions of a repair, and settings that it cannot find out.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RepairOptions {
    /// Writes. Without it repair only reads and reports what it would do.
    pub apply: bool,
    /// Replaces registers that exist and are not intact: damaged ones, those of another collection,
    /// old copies.
    pub replace: bool,
    /// Repairs even where data is lost for good. [`RepairStep::losses`] lists the losses.
    pub accept_loss: bool,
    /// The metric, where no manifest holds a copy of the collection register.
    pub metric: Option<Metric>,
    /// The dimension, where neither a manifest nor a segment tells it.
    pub dimension: Option<u32>,
    /// The number of shards, where no manifest holds a copy of the collection register.
    pub shards: Option<u16>,
    /// The ordering, where no manifest holds a copy of the collection register.
    pub ordering: Option<Ordering>,
}

setters!(RepairOptions {
    apply: bool,
    replace: bool,
    accept_loss: bool,
    metric: into Option<Metric>,
    dimension: into Option<u32>,
    shards: into Option<u16>,
    ordering: into Option<Ordering>,
});

/// The findings of a repair, and the steps that it took or would take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// A step for each register that is not intact: the heads in order, the collection register
    /// last.
    pub steps: Vec<RepairStep>,
    /// Registers that are intact.
    pub intact: u64,
}

/// One register, and the way to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairStep {
    /// The register.
    pub key: String,
    /// The problem.
    pub problem: String,
    /// The content that repair writes; `None` where it can do nothing.
    pub remedy: Option<String>,
    /// Further remarks for the user.
    pub notes: Vec<String>,
    /// Losses for good. Repair writes only if they are accepted.
    pub losses: Vec<String>,
    /// Whether the register exists and would be replaced. Repair writes only if that is allowed.
    pub replaces: bool,
    /// Whether it was written.
    pub done: bool,
}

impl RepairStep {
    /// Whether these options allow this step.
    pub fn is_allowed(&self, options: &RepairOptions) -> bool {
        let loss = self.losses.is_empty() || options.accept_loss;
        self.remedy.is_some() && loss && (!self.replaces || options.replace)
    }
}

impl RepairReport {
    /// Whether every register is intact now.
    pub fn is_intact(&self) -> bool {
        self.steps.iter().all(|step| step.done)
    }
}

impl Collection {
    /// Rebuilds lost or damaged registers from the other objects. A head comes from the newest
    /// manifest that proves itself and the log behind it. The collection register comes from the
    /// copy in each manifest. Without [`RepairOptions::apply`] it only reads.
    ///
    /// Costs three LISTs for each shard, and a GET for the head, the claim and each manifest looked
    /// at. It reads segments only where they allow a recount of the last fold.
    ///
    /// # Errors
    ///
    /// `NotFound` where no object of this name is there, or a drop is under way; `InvalidInput`
    /// where the collection register is lost and an option is missing, or the heads lie elsewhere;
    /// `Corrupt` where objects of several collections lie under the name and no register tells
    /// which one it is; `Conflict` where a register changed meanwhile.
    pub async fn repair(store: Arc<dyn Store>, name: &CollectionName, options: &RepairOptions) -> Result<RepairReport> {
        Self::builder(store, name).repair(options).await
    }

    /// The place of a collection's heads, by its register or, where that is lost, by the copy in
    /// its newest manifest. `None` where neither is there. One GET as a rule.
    pub async fn find_heads(store: &dyn Store, name: &CollectionName) -> Result<Option<HeadPlace>> {
        let layout = Layout::new(name.clone());
        Ok(match config::read(store, &layout).await? {
            Register::Intact(config) => Some(config.heads),
            _ => config::copy(store, &layout).await?.map(|config| config.heads),
        })
    }
}

impl CollectionBuilder {
    /// Rebuilds lost or damaged registers, as [`Collection::repair`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Collection::repair`].
    pub async fn repair(&self, options: &RepairOptions) -> Result<RepairReport> {
        let (name, env) = (&self.name, self.env.clone());
        let store = self.store.uncached().unwrap_or_else(|| self.store.clone());
        let layout = Layout::new(name.clone());
        let register = config::read(&*store, &layout).await?;
        let config = match &register {
            Register::Intact(config) => config.clone(),
            Register::Missing | Register::Damaged { .. } => config::rebuild(&*store, &layout, options, &*env).await?,
        };
        if drop_note::is_dropping(&*store, name, Some(config.uid)).await? {
            return Err(Repr::HalfDropped(name.clone()).into());
        }
        if config.heads != store.heads() {
            let (name, recorded, here) = (name.clone(), config.heads, store.heads());
            return Err(Repr::HeadsElsewhere { name, recorded, here }.into());
        }
        let collection = Collection::assemble(layout.clone(), config.clone(), store.clone(), env);
        let mut report = RepairReport::default();
        for shard in &collection.shards {
            let evidence = evidence::gather(shard).await?;
            let plan = plan::plan(&evidence);
            let Some(mut step) = plan.step(shard) else {
                report.intact += 1;
                continue;
            };
            if options.apply && step.is_allowed(options) && !matches!(plan.action, Action::Nothing) {
                act::head(shard, &evidence, plan.action).await?;
                step.done = true;
            }
            report.steps.push(step);
        }
        match register {
            Register::Intact(_) => report.intact += 1,
            broken => {
                let mut step = broken.step(&layout, &config);
                // The next `open` finds the heads in place, or names the one that is missing.
                if options.apply && step.is_allowed(options) {
                    act::collection(&*store, &layout, &broken, &config).await?;
                    step.done = true;
                }
                report.steps.push(step);
            }
        }
        Ok(report)
    }
}

fn conflict(key: &Key) -> Error {
    Repr::Conflict(format!("another process changed register `{key}` meanwhile; run `repair` again")).into()
}

fn describe(config: &CollectionConfig) -> String {
    let shards = config.shards;
    format!("the register of collection {}, dimension {}, {shards} shards", config.uid, config.dimension)
}
