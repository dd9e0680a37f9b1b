//! A process that dies at every single call of the store: before the call, after it, and while its
//! write is in flight.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use deltafold::format::HeadPlace;
use deltafold::{Collection, CompactorOptions, Error, ErrorKind, Policy, Reset, SweepOptions, Writer, WriterOptions};
use futures::FutureExt;

use crate::actors::{AppendsOnce, Context, Queue, check_reader, consumes, follows_a_source};
use crate::checks::RESET;
use crate::executor::WORLD;
use crate::history::{Run, finale, keeps_running, run_with};
use crate::oracle::Times;
use crate::plan::{Faults, Plan};
use crate::world::{Fault, World};

/// The steps of a process, one after another. A restarted process knows its last step.
#[derive(Debug, Clone, Copy)]
enum Step {
    Create,
    Append,
    Source,
    Fold,
    MergeAll,
    Pin,
    Unpin,
    Sweep,
    Read,
    Ingest,
    Send,
    Reset,
}

const STEPS: &[Step] = &[
    Step::Create,
    Step::Append,
    Step::Append,
    Step::Source,
    Step::Fold,
    Step::Read,
    Step::Append,
    Step::Pin,
    Step::Append,
    Step::Fold,
    Step::Sweep,
    Step::Append,
    Step::Fold,
    Step::MergeAll,
    Step::Sweep,
    Step::Unpin,
    Step::Ingest,
    Step::Fold,
    Step::Sweep,
    Step::Read,
    Step::Send,
    Step::Reset,
    Step::Create,
    Step::Ingest,
    Step::Append,
    Step::Fold,
    Step::Append,
    Step::Read,
];

/// The state that outlasts the process.
#[derive(Default)]
struct Notes {
    step: usize,
    reached: Arc<Mutex<u32>>,
    source: Option<Arc<AppendsOnce>>,
    queue: Option<Queue>,
}

/// One of two orderings: by the log with an ordered queue, or by revision with an unordered one.
fn plan(revisions: bool) -> Plan {
    Plan {
        seed: 1,
        revisions,
        unordered_queue: revisions,
        shards: 2,
        heads_elsewhere: false,
        writers: 0,
        appends: 0,
        sources: 0,
        positions: 3,
        consumers: 0,
        messages: 4,
        compactors: 0,
        sweepers: 0,
        readers: 0,
        followers: 0,
        faults: Faults::default(),
    }
}

/// Creates the collection over the leftovers of any earlier attempt.
async fn create(context: &Context) {
    loop {
        match context.create(2).await {
            Ok(_) => return,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if Collection::open(context.store(), &Context::name()).await.is_ok() {
                    return;
                }
                drop_all(context).await;
            }
            Err(error) => return context.explained("creating", &error, &[]),
        }
    }
}

async fn drop_all(context: &Context) {
    if let Err(error) = Collection::drop_collection(&*context.store(), &Context::name(), |_| ()).await {
        context.explained("dropping", &error, &[ErrorKind::NotFound]);
    }
}

/// Purges the queue and drops the collection, as `deltafold reset` does.
async fn reset(context: &Context, notes: &Arc<Mutex<Notes>>) {
    let store = context.store();
    let queue = notes.lock().unwrap().queue.clone();
    let noted = Reset::noted(&*store, &Context::name()).await;
    let reset = match noted {
        Ok(noted) => noted.unwrap_or(Reset::new(HeadPlace::Store).queues(vec!["queue".to_owned()])),
        Err(error) => return context.explained("looking for a reset", &error, &[]),
    };
    let purges = async {
        queue.iter().for_each(Queue::purge);
        Ok::<(), Error>(())
    };
    let done = reset.run(&*store, &*store, &Context::name(), purges, async { Ok(()) }, |_| ()).await;
    match done {
        Ok(_) if queue.is_some_and(|queue| !queue.is_empty()) => {
            context.world.fail(RESET, "a message sent before is still in the queue".to_owned());
        }
        Ok(_) => {}
        Err(error) => context.explained("resetting", &error, &[]),
    }
}

async fn append(context: &Context, writer: &Writer) {
    let (number, ops) = context.issue(Times::Once);
    let answer = writer.append(ops).await;
    context.answered(number, &answer);
}

async fn works(context: Context, notes: Arc<Mutex<Notes>>) {
    loop {
        let at = notes.lock().unwrap().step;
        let Some(step) = STEPS.get(at) else { return };
        context.note(|| format!("{step:?} begins"));
        take(&context, *step, &notes).await;
        notes.lock().unwrap().step = at + 1;
    }
}

async fn take(context: &Context, step: Step, notes: &Arc<Mutex<Notes>>) {
    match step {
        Step::Create => return create(context).await,
        Step::Reset => return reset(context, notes).await,
        Step::Send => {
            notes.lock().unwrap().queue = Some(Queue::new(context, 4));
            return;
        }
        _ => {}
    }
    let collection = context.open().await;
    let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
    let mut compactor = collection.compactor(CompactorOptions::default().policy(policy));
    let done = match step {
        Step::Create | Step::Send | Step::Reset => Ok(()),
        Step::Append => {
            append(context, &collection.writer(WriterOptions::default()).unwrap()).await;
            Ok(())
        }
        Step::Source => {
            let (source, reached) = {
                let mut notes = notes.lock().unwrap();
                let source =
                    notes.source.get_or_insert_with(|| Arc::new(AppendsOnce::new("file".to_owned(), 3))).clone();
                (source, notes.reached.clone())
            };
            follows_a_source(context.clone(), source, reached).await;
            Ok(())
        }
        Step::Fold => compactor.run_once().await.map(drop),
        Step::MergeAll => compactor.merge_all().await.map(drop),
        Step::Pin => match collection.pin("p", None).await {
            // The pin was made before the crash, in some shards or in all.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            pinned => pinned.map(drop),
        },
        Step::Unpin => match collection.unpin("p").await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            unpinned => unpinned,
        },
        Step::Sweep => {
            let options = SweepOptions::KEEP_NOTHING;
            collection.sweep(&options).await.map(drop)
        }
        Step::Read => match collection.reader().await {
            Ok(reader) => {
                check_reader(context, &reader, 0).await;
                Ok(())
            }
            Err(error) => Err(error),
        },
        Step::Ingest => {
            let queue = {
                let mut notes = notes.lock().unwrap();
                notes.queue.get_or_insert_with(|| Queue::new(context, 4)).clone()
            };
            consumes(context.clone(), queue).await;
            Ok(())
        }
    };
    if let Err(error) = done {
        context.explained(&format!("{step:?}"), &error, &[]);
    }
}

fn run_crashing(revisions: bool, at: Option<(u64, Fault)>, story: bool) -> Run {
    let work = |world: World| {
        async move {
            let notes: Arc<Mutex<Notes>> = Arc::default();
            let work = move |context| works(context, notes.clone()).boxed();
            keeps_running(world.clone(), 1, "worker".to_owned(), true, work).await;
            let calls = world.state().calls;
            world.state().appended = calls;
            world.executor.sleep(Duration::from_secs(200)).await;
            world.note(WORLD, || "everything is done".to_owned());
            finale(&world).await;
        }
        .boxed()
    };
    run_with(&plan(revisions), story, |world| world.state().scripted = at, work)
}

fn crash_everywhere(revisions: bool) {
    let whole = run_crashing(revisions, None, false);
    assert_eq!(whole.failure, None, "\n{}", run_crashing(revisions, None, true).story.join("\n"));
    let calls = whole.scenario_calls;
    let late = Fault::CrashLate(Duration::from_secs(5));
    let mut points = 0;
    for at in 1..=calls {
        for fault in [Fault::CrashBefore, Fault::CrashAfter, late] {
            let run = run_crashing(revisions, Some((at, fault)), false);
            if let Some(failure) = run.failure {
                let story = run_crashing(revisions, Some((at, fault)), true).story.join("\n");
                panic!("{story}\n{fault:?} at call {at}: {}\n    {}", failure.check, failure.detail);
            }
            assert_eq!(run.faults, 1, "call {at} is reached");
            points += 1;
        }
    }
    println!("{points} crashes: before, after and during each of {calls} calls of the store");
    assert!(calls > 150, "{calls}");
}

#[test]
fn a_crash_at_any_call_loses_nothing_and_blocks_nothing() {
    crash_everywhere(false);
}

#[test]
fn a_crash_at_any_call_loses_nothing_where_revisions_decide() {
    crash_everywhere(true);
}
