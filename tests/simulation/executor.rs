//! One thread, virtual time, and a scheduler that draws the next task. A run depends only on the
//! seed.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use deltafold::simulation::Machine;
use deltafold_testing::random::Random;
use tokio::sync::oneshot;

/// A process: tasks that crash together. Each start of a process has a new id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ProcessId(pub(crate) u32);

/// The parts that never crash: the network, the queue and the supervisor of the processes.
pub(crate) const WORLD: ProcessId = ProcessId(0);

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The reason why no task can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// All tasks wait for one another.
    Deadlock,
    /// The limit of steps was reached.
    Endless,
}

#[derive(Clone)]
pub(crate) struct Executor(Arc<Mutex<State>>);

struct State {
    random: Random,
    /// Microseconds since the beginning.
    now: u64,
    tasks: BTreeMap<u64, Slot>,
    ready: Vec<u64>,
    /// By time and number.
    timers: BTreeMap<(u64, u64), Waker>,
    numbers: u64,
    current: ProcessId,
    processes: u32,
    dead: BTreeSet<ProcessId>,
    paused: BTreeMap<ProcessId, u64>,
    steps: u64,
}

struct Slot {
    process: ProcessId,
    /// `None` while it is polled.
    work: Option<Work>,
    queued: bool,
    waker: Waker,
}

struct Wakes {
    executor: Executor,
    task: u64,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.executor.wake(self.task);
    }
}

impl Executor {
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            random: Random::new(seed),
            now: 0,
            tasks: BTreeMap::new(),
            ready: Vec::new(),
            timers: BTreeMap::new(),
            numbers: 0,
            current: WORLD,
            processes: 0,
            dead: BTreeSet::new(),
            paused: BTreeMap::new(),
            steps: 0,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Duration {
        Duration::from_micros(self.state().now)
    }

    pub(crate) fn steps(&self) -> u64 {
        self.state().steps
    }

    /// The process whose task is running.
    pub(crate) fn current(&self) -> ProcessId {
        self.state().current
    }

    /// Starts a process. The receiver hears when it has ended. If the sender is gone, the process
    /// has crashed.
    pub(crate) fn start(&self, work: impl FnOnce(ProcessId) -> Work) -> (ProcessId, oneshot::Receiver<()>) {
        let process = {
            let mut state = self.state();
            state.processes += 1;
            ProcessId(state.processes)
        };
        let (ended, end) = oneshot::channel();
        let work = work(process);
        let work = async move {
            work.await;
            let (Ok(()) | Err(())) = ended.send(());
        };
        self.spawn_in(process, Box::pin(work));
        (process, end)
    }

    pub(crate) fn spawn_in(&self, process: ProcessId, work: Work) {
        let mut state = self.state();
        if state.dead.contains(&process) {
            return;
        }
        state.numbers += 1;
        let task = state.numbers;
        let waker = Waker::from(Arc::new(Wakes { executor: self.clone(), task }));
        state.tasks.insert(task, Slot { process, work: Some(work), queued: true, waker });
        state.ready.push(task);
    }

    /// Drops every task of a process. A running task is dropped at its next wait.
    pub(crate) fn kill(&self, process: ProcessId) {
        let gone: Vec<Slot> = {
            let mut state = self.state();
            state.dead.insert(process);
            state
                .tasks
                .extract_if(.., |_, slot| slot.process == process && slot.work.is_some())
                .map(|(_, slot)| slot)
                .collect()
        };
        // A drop wakes others, which takes the lock.
        drop(gone);
    }

    pub(crate) fn is_dead(&self, process: ProcessId) -> bool {
        self.state().dead.contains(&process)
    }

    /// Suspends the tasks of a process for this long.
    pub(crate) fn pause(&self, process: ProcessId, duration: Duration) {
        let mut state = self.state();
        let until = state.now + micros(duration);
        state.paused.insert(process, until);
    }

    fn wake(&self, task: u64) {
        let mut state = self.state();
        if let Some(slot) = state.tasks.get_mut(&task)
            && !slot.queued
        {
            slot.queued = true;
            state.ready.push(task);
        }
    }

    /// Runs until `main` is done or `stop` says so.
    pub(crate) fn run(
        &self,
        main: impl Future<Output = ()> + Send + 'static,
        most_steps: u64,
        stop: impl Fn() -> bool,
    ) -> Result<(), Stuck> {
        let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let ended = done.clone();
        self.spawn_in(
            WORLD,
            Box::pin(async move {
                main.await;
                ended.store(true, std::sync::atomic::Ordering::Relaxed);
            }),
        );
        deltafold::simulation::on(Arc::new(self.clone()), || {
            let result = loop {
                if done.load(std::sync::atomic::Ordering::Relaxed) || stop() {
                    break Ok(());
                }
                if self.steps() > most_steps {
                    break Err(Stuck::Endless);
                }
                if !self.step() {
                    break Err(Stuck::Deadlock);
                }
            };
            // Wakers hold the executor, and tasks hold wakers.
            let rest = std::mem::take(&mut self.state().tasks);
            drop(rest);
            let timers = std::mem::take(&mut self.state().timers);
            drop(timers);
            result
        })
    }

    /// Polls one task once, or steps in time. Returns false if nothing can go on.
    fn step(&self) -> bool {
        let next = self.state().next();
        let (task, mut work, waker, process) = match next {
            Next::Nothing => return false,
            Next::Later => return true,
            Next::Timer(waker) => {
                waker.wake();
                return true;
            }
            Next::Task(task, work, waker, process) => (task, work, waker, process),
        };
        let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
        let gone = {
            let mut state = self.state();
            state.current = WORLD;
            let dead = state.dead.contains(&process);
            match state.tasks.get_mut(&task) {
                Some(slot) if polled.is_pending() && !dead => {
                    slot.work = Some(work);
                    None
                }
                _ => {
                    state.tasks.remove(&task);
                    Some(work)
                }
            }
        };
        // A drop wakes others, which takes the lock.
        drop(gone);
        true
    }
}

/// The next step.
enum Next {
    Task(u64, Work, Waker, ProcessId),
    Timer(Waker),
    /// No work now: the task is gone, or its process is suspended.
    Later,
    Nothing,
}

impl State {
    fn next(&mut self) -> Next {
        if self.ready.is_empty() {
            let Some((at, waker)) = self.timers.pop_first() else { return Next::Nothing };
            self.now = self.now.max(at.0);
            return Next::Timer(waker);
        }
        let pick = usize::try_from(self.random.below(self.ready.len() as u64)).unwrap_or(0);
        let task = self.ready.swap_remove(pick);
        self.steps += 1;
        let Some(slot) = self.tasks.get_mut(&task) else { return Next::Later };
        slot.queued = false;
        if let Some(until) = self.paused.get(&slot.process).copied() {
            if until > self.now {
                self.numbers += 1;
                self.timers.insert((until, self.numbers), slot.waker.clone());
                return Next::Later;
            }
            self.paused.remove(&slot.process);
        }
        match slot.work.take() {
            Some(work) => {
                self.current = slot.process;
                Next::Task(task, work, slot.waker.clone(), slot.process)
            }
            None => Next::Later,
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}

/// A future that is ready at a given time.
struct Sleep {
    executor: Executor,
    until: u64,
    timer: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let executor = self.executor.clone();
        let mut state = executor.state();
        if let Some(timer) = self.timer.take() {
            state.timers.remove(&timer);
        }
        if state.now >= self.until {
            return Poll::Ready(());
        }
        state.numbers += 1;
        let timer = (self.until, state.numbers);
        state.timers.insert(timer, context.waker().clone());
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            let removed = self.executor.state().timers.remove(&timer);
            drop(removed);
        }
    }
}

impl Machine for Executor {
    fn spawn(&self, task: Work) {
        self.spawn_in(self.current(), task);
    }

    fn sleep(&self, duration: Duration) -> Work {
        let until = self.state().now + micros(duration);
        Box::pin(Sleep { executor: self.clone(), until, timer: None })
    }

    fn elapsed(&self) -> Duration {
        self.now()
    }

    fn random(&self) -> u64 {
        self.state().random.next()
    }
}

impl Executor {
    pub(crate) async fn sleep(&self, duration: Duration) {
        Machine::sleep(self, duration).await;
    }
}
