//! Repair: the registers of a collection are rebuilt from its other objects.
//!
//! Reading comes first (`evidence`, `config`), then a pure decision (`plan`), then the writes
//! (`act`). Repair never deletes anything and never overwrites a register that is intact: it
//! creates what is missing, and replaces by its tag what is not intact, with consent. Writers and
//! compactors may be at work meanwhile.

mod act;
mod config;
mod evidence;
mod plan;

use std::sync::Arc;

use deltafold_format::{CollectionConfig, CollectionName, HeadPlace, Metric, Ordering};

use super::Collection;
use crate::drop_note;
use crate::env::{Env, System};
use crate::error::{Error, Repr, Result};
use crate::layout::Layout;
use crate::store::{Key, Store};
use config::Register;
use plan::Action;

/// What repair may do, and what it cannot find out.
#[derive(Debug, Clone, Default)]
pub struct RepairOptions {
    /// Writes. Without it repair only reads and says what it would do.
    pub apply: bool,
    /// Replaces registers that are there and not intact: damaged ones, those of another collection,
    /// old copies.
    pub replace: bool,
    /// Goes on with what is left where something is lost for good. [`RepairStep::losses`] says what
    /// that is.
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

/// What repair found, and what it did or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// A step for each register that is not intact: the heads in order, the collection register
    /// last.
    pub steps: Vec<RepairStep>,
    /// Registers that are intact.
    pub intact: u64,
}

/// What becomes of one register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairStep {
    /// The register.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
    /// What repair writes; `None` where it can do nothing.
    pub remedy: Option<String>,
    /// What else the user should know.
    pub notes: Vec<String>,
    /// What is lost for good. Repair writes only if that is accepted.
    pub losses: Vec<String>,
    /// Whether the register is there and is to be replaced. Repair writes only if that is allowed.
    pub replaces: bool,
    /// Whether it was written.
    pub done: bool,
}

impl RepairStep {
    /// Whether these options allow to write it.
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
    /// Rebuilds registers that are lost or damaged from the other objects: a head from the newest
    /// manifest that proves itself and the log behind it, the collection register from the copy in
    /// each manifest. Without [`RepairOptions::apply`] it only reads.
    ///
    /// Costs for each shard three LISTs, and a GET for the head, the claim and each manifest looked
    /// at; a segment is read where the last fold can be recounted.
    ///
    /// # Errors
    ///
    /// `NotFound` where nothing of this name is there, or it is being dropped; `InvalidInput` where
    /// the collection register is lost and something has to be told, or the heads lie elsewhere;
    /// `Corrupt` where objects of several collections lie under the name and no register tells
    /// which one it is; `Conflict` where a register changed meanwhile.
    pub async fn repair(store: Arc<dyn Store>, name: &CollectionName, options: &RepairOptions) -> Result<RepairReport> {
        Self::repair_in(store, name, options, Arc::new(System)).await
    }

    /// [`repair`](Self::repair) with time and randomness from `env`.
    pub async fn repair_in(
        store: Arc<dyn Store>,
        name: &CollectionName,
        options: &RepairOptions,
        env: Arc<dyn Env>,
    ) -> Result<RepairReport> {
        let store = store.uncached().unwrap_or(store);
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
        let collection = Self::assemble(layout.clone(), config.clone(), store.clone(), env);
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
                // Whoever opens the collection afterwards finds the heads in place, or hears which
                // one is not.
                if options.apply && step.is_allowed(options) {
                    act::collection(&*store, &layout, &broken, &config).await?;
                    step.done = true;
                }
                report.steps.push(step);
            }
        }
        Ok(report)
    }

    /// Where the heads of a collection lie, by its register or, where that is lost, by the copy in
    /// its newest manifest. `None` where neither is there. One GET as a rule.
    pub async fn find_heads(store: &dyn Store, name: &CollectionName) -> Result<Option<HeadPlace>> {
        let layout = Layout::new(name.clone());
        Ok(match config::read(store, &layout).await? {
            Register::Intact(config) => Some(config.heads),
            _ => config::copy(store, &layout).await?.map(|config| config.heads),
        })
    }
}

fn conflict(key: &Key) -> Error {
    Repr::Conflict(format!("register `{key}` was changed by someone else meanwhile; run `repair` again")).into()
}

fn describe(config: &CollectionConfig) -> String {
    let shards = config.shards;
    format!("the register of collection {}, dimension {}, {shards} shards", config.uid, config.dimension)
}
