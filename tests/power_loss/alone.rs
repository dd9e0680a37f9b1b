//! One process does every step, one after another.

use std::sync::Arc;

use deltafold::store::Dir;
use deltafold::{Collection, CompactorOptions, CreateOptions, Policy, SweepOptions, WriterOptions};

use crate::known::{Event, name, ops};
use crate::recording::{Entry, Events, Recording, States};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Create,
    Append,
    FromSource,
    Fold,
    MergeAll,
    Pin,
    Unpin,
    Sweep,
    Drop,
}

use Step::{Append, Create, Drop, Fold, FromSource, MergeAll, Pin, Sweep, Unpin};

const SCENARIO: &[Step] = &[
    Create, Append, Append, Fold, FromSource, Pin, Append, Fold, Sweep, MergeAll, Sweep, Append, Unpin, Sweep, Fold,
    Sweep, Append, Drop, Create, Append, Fold, Append,
];

/// Does a step; an append has the number `number`.
pub(crate) async fn take(store: &Arc<Dir>, step: Step, number: i64, events: &Events) -> deltafold::Result<()> {
    match step {
        Create => {
            events.note(Event::Creating);
            Collection::create(store.clone(), &name(), &CreateOptions::new(2)).await?;
            events.note(Event::Created);
            return Ok(());
        }
        Drop => {
            events.note(Event::Dropping);
            Collection::drop_collection(&**store, &name(), |_| ()).await?;
            events.note(Event::Dropped);
            return Ok(());
        }
        _ => {}
    }
    let collection = Collection::open(store.clone(), &name()).await?;
    let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
    let mut compactor = collection.compactor(CompactorOptions::default().policy(policy));
    match step {
        Create | Drop => {}
        Append | FromSource => {
            events.note(Event::Begun(number));
            let writer = collection.writer(WriterOptions::default())?;
            match step {
                FromSource => writer.append_from("file", 1, ops(number)).await?,
                _ => writer.append(ops(number)).await?,
            };
            events.note(Event::Acked(number));
        }
        Fold => drop(compactor.run_once().await?),
        MergeAll => drop(compactor.merge_all().await?),
        Pin => drop(collection.pin("p", None).await?),
        Unpin => collection.unpin("p").await?,
        Sweep => drop(collection.sweep(&SweepOptions::KEEP_NOTHING).await?),
    }
    Ok(())
}

/// The scenario, recorded.
pub(crate) fn recorded(portable: bool) -> Vec<Entry> {
    let recording = Recording::begin(|_, _| ());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let root = recording.root();
        let store = Arc::new(if portable { Dir::open_portable(root) } else { Dir::open(root) }.unwrap());
        for (number, step) in (1..).zip(SCENARIO) {
            take(&store, *step, number, &recording.events()).await.unwrap();
        }
    });
    recording.events().into_entries()
}

#[test]
fn no_power_failure_loses_an_acknowledged_op() {
    let _guards = crate::mutants::in_force();
    for portable in [false, true] {
        let entries = recorded(portable);
        let calls = entries.iter().filter(|entry| matches!(entry, Entry::Call(_))).count();
        let mut states = States::default();
        states.add_each(&entries);
        println!("{} states after {calls} calls, files {}", states.len(), if portable { "named" } else { "unnamed" });
        assert!(calls > 200 && states.len() > 300, "{calls}, {}", states.len());
        assert_eq!(states.failure(), None);
    }
}
