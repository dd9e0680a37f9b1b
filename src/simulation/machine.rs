//! The machine of a simulation.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A simulated machine.
pub trait Machine: Send + Sync {
    /// Starts a task beside the one that is running.
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>);

    /// Ready once this much time has passed.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// The time since the machine began.
    fn elapsed(&self) -> Duration;

    /// 64 random bits.
    fn random(&self) -> u64;
}

thread_local! {
    static MACHINE: RefCell<Option<Arc<dyn Machine>>> = const { RefCell::new(None) };
}

/// Runs `work` with the given machine in place of the real one, on this thread.
pub fn on<R>(machine: Arc<dyn Machine>, work: impl FnOnce() -> R) -> R {
    struct Restore(Option<Arc<dyn Machine>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let before = self.0.take();
            MACHINE.with(|machine| *machine.borrow_mut() = before);
        }
    }
    let _restore = Restore(MACHINE.with(|current| current.borrow_mut().replace(machine)));
    work()
}

/// The simulated machine of this thread, if any.
pub(crate) fn current() -> Option<Arc<dyn Machine>> {
    MACHINE.with(|machine| machine.borrow().clone())
}
