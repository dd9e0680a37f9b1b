//! One history: all actors at work under faults, then calm, and the checks of the end.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deltafold::format::Version;
use deltafold::store::Key;
use deltafold::{Collection, CompactorOptions, Depth, ErrorKind, SweepOptions, WriterOptions};
use futures::future::{BoxFuture, FutureExt, join_all};

use crate::actors::{
    AppendsOnce, Context, Queue, appends, check_reader, compacts, consumes, follows, follows_a_source, reads, sweeps,
};
use crate::broken::Broken;
use crate::checks::{CLEAN, PANIC, PROGRESS, ROT, SOUND};
use crate::executor::{Executor, ProcessId, Stuck, WORLD};
use crate::oracle::Times;
use crate::plan::Plan;
use crate::world::{Failure, World, is_register};
use deltafold_testing::model::untied;
use deltafold_testing::random::Random;

/// Far more than any history takes.
const MOST_STEPS: u64 = 2_000_000;

/// The outcome of a history.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) failure: Option<Failure>,
    /// A hash of all events, in order.
    pub(crate) hash: u64,
    pub(crate) events: u64,
    pub(crate) calls: u64,
    /// The calls before the checks of the end, if they were counted.
    pub(crate) scenario_calls: u64,
    pub(crate) faults: u64,
    pub(crate) appends: usize,
    pub(crate) versions: usize,
    pub(crate) virtual_time: Duration,
    pub(crate) story: Vec<String>,
}

/// Runs the history of a plan.
pub(crate) fn run(plan: &Plan, story: bool) -> Run {
    run_with(plan, story, |_| (), |world| history(world).boxed())
}

/// Runs the history of a plan over a broken store.
pub(crate) fn run_broken(plan: &Plan, broken: Broken) -> Run {
    run_with(plan, false, |world| world.state().broken = broken, |world| history(world).boxed())
}

/// Runs a function in a world of its own.
pub(crate) fn run_with(
    plan: &Plan,
    story: bool,
    prepare: impl FnOnce(&World),
    work: impl FnOnce(World) -> BoxFuture<'static, ()>,
) -> Run {
    let executor = Executor::new(plan.seed ^ 0x5eed_0002);
    let world = World::new(executor.clone(), plan, story);
    prepare(&world);
    let failed = world.clone();
    let main = work(world.clone());
    let ran = catch_unwind(AssertUnwindSafe(|| executor.run(main, MOST_STEPS, || failed.has_failed())));
    match ran {
        Ok(Ok(())) => {}
        Ok(Err(Stuck::Deadlock)) => world.fail(PROGRESS, "every task waits for another"),
        Ok(Err(Stuck::Endless)) => world.fail(PROGRESS, "it goes on for ever"),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            world.fail(PANIC, text.unwrap_or_else(|| "a panic without words".to_owned()));
        }
    }
    let mut state = world.state();
    Run {
        failure: state.failure.clone(),
        hash: state.trace.hash,
        events: state.trace.events,
        calls: state.calls,
        scenario_calls: state.appended,
        faults: state.faults,
        appends: state.oracle.appends.len(),
        versions: state.oracle.published.len(),
        virtual_time: executor.now(),
        story: state.trace.story.take().unwrap_or_default(),
    }
}

/// Restarts a process until it has ended. A process without an end is restarted until the history
/// stops.
pub(crate) async fn keeps_running<F>(world: World, role: u64, name: String, ends: bool, work: F)
where
    F: Fn(Context) -> BoxFuture<'static, ()>,
{
    let mut random = Random::new(world.state().plan.seed ^ (role << 40) ^ 0x5eed_0003);
    let mut starts = 0;
    loop {
        starts += 1;
        let begin = |process: ProcessId| {
            world.name(process, format!("{name}.{starts}"));
            work(Context::new(&world, process, role))
        };
        let (_, ended) = world.executor.start(begin);
        if ended.await.is_ok() || (!ends && world.is_stopped()) {
            return;
        }
        let away = Duration::from_millis(random.below(20_000));
        world.executor.sleep(away).await;
    }
}

/// Suspends processes, kills them, and cuts them off.
async fn chaos(world: World) {
    let plan = world.state().plan.clone();
    let mut random = Random::new(plan.seed ^ 0x5eed_0004);
    let parts: [&'static str; 6] = ["", "/head", "/log/", "/manifest/", "/part/", "/claim"];
    loop {
        world.executor.sleep(Duration::from_millis(1_000 + random.below(20_000))).await;
        let processes = world.processes();
        if processes.is_empty() {
            continue;
        }
        let process = processes[random.index(processes.len())];
        if plan.faults.pauses > 0 && random.once_in(plan.faults.pauses) {
            let length = Duration::from_millis(500 + random.below(90_000));
            world.note(process, || format!("PAUSES for {length:?}"));
            world.state().faults += 1;
            world.executor.pause(process, length);
        }
        if plan.faults.outages > 0 && random.once_in(plan.faults.outages) {
            let until = world.executor.now() + Duration::from_millis(500 + random.below(30_000));
            let (who, part) = if random.once_in(2) { (Some(process), "") } else { (None, parts[random.index(6)]) };
            let permanent = random.once_in(4);
            world.note(WORLD, || format!("OUTAGE of `{part}` for {who:?}, permanent errors: {permanent}"));
            world.outage(until, who, part, permanent);
        }
    }
}

async fn history(world: World) {
    let plan = world.state().plan.clone();
    let setup = Context::new(&world, WORLD, 0);
    if let Err(error) = setup.create(plan.shards).await {
        world.fail(PROGRESS, format!("creating: {error}"));
        return;
    }
    let queue = Queue::new(&setup, if plan.consumers > 0 { plan.messages } else { 0 });
    world.state().faulty = true;
    world.executor.spawn_in(WORLD, chaos(world.clone()).boxed());

    let mut ending: Vec<BoxFuture<'static, ()>> = Vec::new();
    let mut lasting: Vec<BoxFuture<'static, ()>> = Vec::new();
    for number in 0..plan.writers {
        let left = Arc::new(Mutex::new(plan.appends));
        let work = move |context| appends(context, left.clone()).boxed();
        ending.push(
            keeps_running(world.clone(), 100 + u64::from(number), format!("writer-{number}"), true, work).boxed(),
        );
    }
    for number in 0..plan.sources {
        let source = Arc::new(AppendsOnce::new(format!("file-{number}"), plan.positions));
        for twin in 0..2 {
            let (source, reached) = (source.clone(), Arc::new(Mutex::new(0)));
            let work = move |context| follows_a_source(context, source.clone(), reached.clone()).boxed();
            let role = 200 + u64::from(number) * 2 + twin;
            ending.push(keeps_running(world.clone(), role, format!("source-{number}-{twin}"), true, work).boxed());
        }
    }
    for number in 0..plan.consumers {
        let queue = queue.clone();
        let work = move |context| consumes(context, queue.clone()).boxed();
        ending.push(
            keeps_running(world.clone(), 300 + u64::from(number), format!("consumer-{number}"), true, work).boxed(),
        );
    }
    let mut last = |count: u32, role: u64, name: &str, work: fn(Context) -> BoxFuture<'static, ()>| {
        for number in 0..count {
            let name = format!("{name}-{number}");
            lasting.push(keeps_running(world.clone(), role + u64::from(number), name, false, work).boxed());
        }
    };
    last(plan.compactors, 400, "compactor", |context| compacts(context).boxed());
    last(plan.sweepers, 500, "sweeper", |context| sweeps(context).boxed());
    last(plan.readers, 600, "reader", |context| reads(context).boxed());
    last(plan.followers, 700, "follower", |context| follows(context).boxed());

    let all = lasting.into_iter().map(|work| {
        let (done, end) = tokio::sync::oneshot::channel();
        let work = async move {
            work.await;
            let (Ok(()) | Err(())) = done.send(());
        };
        world.executor.spawn_in(WORLD, work.boxed());
        end
    });
    let lasting: Vec<_> = all.collect();
    join_all(ending).await;
    // Compactors and sweepers go on for a while.
    world.executor.sleep(Duration::from_secs(20)).await;
    world.state().stopped = true;
    world.note(WORLD, || "everything is appended".to_owned());
    join_all(lasting).await;
    world.calm();
    // Writes in flight land.
    world.executor.sleep(Duration::from_secs(200)).await;
    world.note(WORLD, || "everything is calm".to_owned());
    finale(&world).await;
}

/// The checks of the end, by a new process. Nothing fails any more.
pub(crate) async fn finale(world: &World) {
    let context = Context::new(world, WORLD, 1);
    let ended = world.state().oracle.settle();
    context.check(ended);
    if let Err(error) = ending(&context).await {
        world.fail(PROGRESS, format!("{error} ({:?})", error.kind()));
    }
}

async fn ending(context: &Context) -> deltafold::Result<()> {
    let world = &context.world;
    let collection = context.open().await;
    let writer = collection.writer(WriterOptions::default())?;
    let (number, ops) = context.issue(Times::Once);
    let answer = writer.append(ops).await;
    context.answered(number, &answer);
    answer?;
    sound(context, &collection).await?;
    read_all(context, &collection).await?;
    collection.compactor(CompactorOptions::default()).run_once().await?;
    read_all(context, &collection).await?;
    let unfolded = {
        let state = world.state();
        let shards = state.oracle.shards.iter();
        shards.filter(|(_, shard)| shard.folded_at(shard.version()) != Some(shard.last())).map(|(id, _)| *id).next()
    };
    if let Some(id) = unfolded {
        world.fail(PROGRESS, format!("shard {id} is not folded to its end"));
    }
    let keep_nothing = SweepOptions::KEEP_NOTHING;
    collection.sweep(&keep_nothing).await?;
    // The version that the sweep published is the floor of the next sweep.
    collection.sweep(&keep_nothing).await?;
    read_all(context, &collection).await?;
    collection.compactor(CompactorOptions::default()).merge_all().await?;
    collection.sweep(&keep_nothing).await?;
    read_all(context, &collection).await?;
    sound(context, &collection).await?;
    clean(context);
    if !world.has_failed() {
        rot(context, &collection).await;
    }
    Ok(())
}

async fn sound(context: &Context, collection: &Collection) -> deltafold::Result<()> {
    let report = collection.verify(Depth::Deep, |_| ()).await?;
    if let Some(finding) = report.findings.first() {
        context.world.fail(SOUND, format!("{}: {}", finding.key, finding.problem));
    }
    Ok(())
}

async fn read_all(context: &Context, collection: &Collection) -> deltafold::Result<()> {
    let reader = collection.reader().await?;
    let at_end = {
        let state = context.world.state();
        reader
            .positions()
            .iter()
            .all(|at| state.oracle.shards.get(&at.shard).is_some_and(|shard| shard.last() == at.tail))
    };
    if !at_end {
        context.world.fail(PROGRESS, format!("a reader sees no more than {:?}", reader.positions()));
    }
    for way in [0, 1, 3] {
        check_reader(context, &reader, way).await;
    }
    Ok(())
}

/// Checks that sweeps that keep no old version leave the needed objects.
fn clean(context: &Context) {
    let state = context.world.state();
    let needed = state.oracle.needed("c");
    let there: BTreeSet<Key> = state
        .keys()
        .filter(|key| !is_register(key.as_str()) && !key.as_str().ends_with("/collection"))
        .cloned()
        .collect();
    let floor = |key: &Key| {
        // An edit may still add an object born at the floor.
        let name = key.as_str().rsplit('/').next().unwrap_or_default();
        let version = name.split('-').next().and_then(|text| text.parse::<Version>().ok());
        version.is_some_and(|version| state.oracle.shards.values().any(|shard| version >= shard.floor()))
    };
    let missing = needed.difference(&there).next().cloned();
    let too_much = there.difference(&needed).find(|key| !floor(key)).cloned();
    drop(state);
    if let Some(key) = missing {
        context.world.fail(CLEAN, format!("{key} is gone"));
    }
    if let Some(key) = too_much {
        context.world.fail(CLEAN, format!("{key} is left"));
    }
}

/// One object rots for good: from then on every answer is right or an error.
async fn rot(context: &Context, collection: &Collection) {
    let world = &context.world;
    let (key, sound) = {
        let mut state = world.state();
        let keys: Vec<Key> = state.keys().filter(|key| !key.as_str().ends_with("/claim")).cloned().collect();
        let key = keys[usize::try_from(context.below(keys.len() as u64)).unwrap_or(0)].clone();
        let sound = state.get(&key).map(|stored| stored.bytes.clone()).unwrap_or_default();
        let rotten = state.rotten(&sound);
        state.damage(&key, |bytes| *bytes = rotten.to_vec());
        (key, sound)
    };
    world.note(WORLD, || format!("{key} ROTS"));
    let damaged = |error: &deltafold::Error| matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NewerFormat);
    let unexpected =
        |what: &str, error: &deltafold::Error| world.fail(ROT, format!("{what} with {key} damaged: {error}"));
    match collection.reader().await {
        Ok(reader) => {
            use futures::TryStreamExt;
            let tails = reader.positions().into_iter().map(|at| (at.shard, at.tail)).collect();
            let expected = world.state().oracle.model(&tails).by_id();
            match reader.scan(deltafold::ScanOptions::default()).try_collect::<Vec<_>>().await {
                Ok(found) if found.iter().cloned().map(untied).eq(expected.iter().cloned()) => {}
                Ok(_) => world.fail(ROT, format!("an answer is wrong with {key} damaged")),
                Err(error) if damaged(&error) => {}
                Err(error) => unexpected("scanning", &error),
            }
        }
        Err(error) if damaged(&error) => {}
        Err(error) => unexpected("opening a reader", &error),
    }
    let same = world.state().get(&key).is_some_and(|stored| stored.bytes == sound);
    match collection.verify(Depth::Deep, |_| ()).await {
        // The collection's register is read at opening, and padding has no meaning.
        Ok(report) if report.is_sound() && !same && !key.as_str().ends_with("/collection") => {
            world.note(WORLD, || format!("verification finds nothing wrong with {key}"));
        }
        Ok(_) => {}
        Err(error) if damaged(&error) => {}
        Err(error) => unexpected("verifying", &error),
    }
}
