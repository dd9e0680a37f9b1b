//! One process stops after each of its calls, another does a step from there to its end, and then
//! the power fails. The second one's answers and actions must not rest on unflushed data of the
//! first.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use deltafold::simulation::DiskCall;
use deltafold::store::Dir;
use deltafold::{Collection, CompactorOptions, ErrorKind, SweepOptions, WriterOptions};

use crate::alone::{Step, take};
use crate::known::{Event, followed, name, ops};
use crate::recording::{Entry, Events, Recording, States};

/// The steps of the process that is stopped.
const FIRST: &[Step] =
    &[Step::Create, Step::FromSource, Step::Append, Step::Fold, Step::MergeAll, Step::Sweep, Step::Drop];

#[derive(Debug, Clone, Copy)]
enum Second {
    /// Appends the ops of the first, from the same source.
    Same,
    Append,
    Fold,
    Sweep,
    /// Keeps more than the first does, so it has no floor to raise.
    SweepLess,
    Follow,
    Drop,
}

const SECOND: &[Second] =
    &[Second::Same, Second::Append, Second::Fold, Second::Sweep, Second::SweepLess, Second::Follow, Second::Drop];

/// The name of the second one's threads.
const SECOND_THREADS: &str = "second";

/// The second waits for a lock that the first holds, and comes no further.
struct Waits;

async fn second(store: Arc<Dir>, what: Second, events: &Events) -> deltafold::Result<()> {
    if let Second::Drop = what {
        events.note(Event::Dropping);
        Collection::drop_collection(&*store, &name(), |_| ()).await?;
        events.note(Event::Dropped);
        return Ok(());
    }
    let collection = Collection::open(store, &name()).await?;
    match what {
        Second::Drop => {}
        Second::Same => {
            let writer = collection.writer(WriterOptions::default())?;
            events.note(Event::Begun(50));
            writer.append_from("file", 1, ops(50)).await?;
            events.note(Event::Acked(50));
        }
        Second::Append => {
            events.note(Event::Begun(60));
            collection.writer(WriterOptions::default())?.append(ops(60)).await?;
            events.note(Event::Acked(60));
        }
        Second::Fold => drop(collection.compactor(CompactorOptions::default()).run_once().await?),
        Second::Sweep => drop(collection.sweep(&SweepOptions::KEEP_NOTHING).await?),
        Second::SweepLess => {
            let options = SweepOptions::KEEP_NOTHING.keep_versions(1);
            drop(collection.sweep(&options).await?);
        }
        Second::Follow => {
            for number in followed(&collection).await? {
                events.note(Event::Followed(number));
            }
        }
    }
    Ok(())
}

/// Runs the second to its end, or to a lock that the first holds.
fn run_second(store: Arc<Dir>, what: Second, events: &Events) {
    let work = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.thread_name(SECOND_THREADS).enable_all().build().unwrap();
        match runtime.block_on(second(store, what, events)) {
            Ok(()) => {}
            // The first is dropping the collection, or is just folding.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Superseded) => {
            }
            Err(error) => panic!("{what:?}: {error} ({:?})", error.kind()),
        }
    };
    let thread = std::thread::Builder::new().name(SECOND_THREADS.to_owned());
    let ended = std::thread::scope(|scope| {
        let thread = thread.spawn_scoped(scope, || catch_unwind(AssertUnwindSafe(work)));
        thread.unwrap().join().unwrap()
    });
    if let Err(panic) = ended
        && !panic.is::<Waits>()
    {
        resume_unwind(panic);
    }
}

/// The events if the first is stopped after this many calls.
fn stopped_after(calls: usize, first: Step, what: Second) -> Option<Vec<Entry>> {
    let (stopped, armed) = (Mutex::new(0), Arc::new(AtomicBool::new(false)));
    let held: Mutex<HashSet<PathBuf>> = Mutex::default();
    let happened: Arc<Mutex<Option<Vec<Entry>>>> = Arc::default();
    let other: Arc<Mutex<Option<Arc<Dir>>>> = Arc::default();
    let each = {
        let (armed, happened, other) = (armed.clone(), happened.clone(), other.clone());
        move |events: &Events, call: &DiskCall| {
            if !armed.load(SeqCst) {
                return;
            }
            if std::thread::current().name() == Some(SECOND_THREADS) {
                if let DiskCall::WillLock(path) = call
                    && held.lock().unwrap().contains(path)
                {
                    resume_unwind(Box::new(Waits));
                }
                return;
            }
            // All of the first's threads stop.
            let mut stopped = stopped.lock().unwrap();
            match call {
                DiskCall::Locked(path) => drop(held.lock().unwrap().insert(path.clone())),
                DiskCall::Unlocked(path) => drop(held.lock().unwrap().remove(path)),
                _ => {}
            }
            *stopped += 1;
            if *stopped == calls {
                let other = other.lock().unwrap().take().unwrap();
                run_second(other, what, events);
                *happened.lock().unwrap() = Some(events.all().clone());
                armed.store(false, SeqCst);
            }
        }
    };
    let recording = Recording::begin(each);
    // All calls of the first come from one thread. With more of them, a call of another thread may
    // be under way where the first is stopped: a fold's object then appears behind the drop of its
    // collection.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.max_blocking_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (store, second) = (Dir::open(recording.root()).unwrap(), Dir::open(recording.root()).unwrap());
        let (store, second) = (Arc::new(store), Arc::new(second));
        let events = recording.events();
        // Both processes have worked before, and take the folders for flushed.
        let before = [Step::Create, Step::Append, Step::Fold, Step::Append, Step::Fold, Step::Append];
        let more = match first {
            Step::Sweep | Step::MergeAll => Some(Step::Fold),
            Step::Create => Some(Step::Drop),
            _ => None,
        };
        for (number, step) in (1..).zip(before.into_iter().chain(more)) {
            take(if number % 2 == 0 { &second } else { &store }, step, number, &events).await.unwrap();
        }
        *other.lock().unwrap() = Some(second);
        armed.store(true, SeqCst);
        match first {
            Step::FromSource => {
                let collection = Collection::open(store.clone(), &name()).await.unwrap();
                let writer = collection.writer(WriterOptions::default()).unwrap();
                events.note(Event::Begun(50));
                // Its answer comes after the power has failed.
                drop(writer.append_from("file", 1, ops(50)).await);
            }
            // The second's work may block the first. The first's answer also comes too late.
            first => drop(take(&store, first, 40, &events).await),
        }
    });
    happened.lock().map(|mut happened| happened.take()).unwrap()
}

/// All states that may remain when one is stopped and another goes on.
fn states(first: &[Step], second: &[Second]) -> States {
    let mut states = States::default();
    for first in first {
        for what in second {
            for calls in 1.. {
                let Some(entries) = stopped_after(calls, *first, *what) else { break };
                states.add(&entries, &format!("{first:?} stopped after {calls} calls, {what:?} done"));
            }
        }
    }
    states
}

/// Story: a consumer had given its segment a name and not flushed it. Another read the segment,
/// found the position that it had come to append, and reported it as known. Its message was
/// deleted. The power failed, and the segment was lost. Now a writer flushes the segments that its
/// acknowledgement rests on.
pub(crate) fn of_a_position_that_is_known() -> States {
    states(&[Step::FromSource], &[Second::Same])
}

#[test]
fn a_position_is_known_only_once_its_segment_is_flushed() {
    let _guards = crate::mutants::in_force();
    assert_eq!(of_a_position_that_is_known().failure(), None);
}

#[test]
fn no_process_acknowledges_on_unflushed_objects_of_another() {
    let _guards = crate::mutants::in_force();
    let states = states(FIRST, SECOND);
    println!("{} states after {} meetings", states.len(), states.points);
    assert!(states.points > 300, "{}", states.points);
    assert_eq!(states.failure(), None);
}
