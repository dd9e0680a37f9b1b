//! All actors at work over a store that fails. Writers, sources, compactors, sweepers, pins and
//! readers act on the first half of an input. The second half gives the fate of each call of the
//! store. Every read agrees with a model of the log.
//!
//! An acknowledged batch is in the log once, in the acknowledged slot and in order. A refused batch
//! never comes. A batch with an unknown outcome may be in the log or not.
#![no_main]

mod promises;
mod reading;
mod seeds;
mod step;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deltafold::Env;
use deltafold::format::Timestamp;
use deltafold::simulation::{Machine, on};
use deltafold_fuzz::Choices;
use deltafold_fuzz::store::Faulty;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: deltafold_fuzz::seeds::write_if_asked(seeds::seeds), |input: &[u8]| run(input));

fn run(input: &[u8]) {
    let (steps, fates) = Choices::of(input).halves();
    let store = Faulty::new(fates.rest());
    let mut builder = tokio::runtime::Builder::new_current_thread();
    // Time passes by itself when all tasks wait.
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime of one thread");
    on(Arc::new(Virtual::default()), || runtime.block_on(world::run(steps, store)));
}

/// One thread, and time that passes only when all tasks wait for it. So an input is the same run
/// every time.
#[derive(Debug, Default)]
struct Virtual(AtomicU64);

impl Machine for Virtual {
    #[expect(clippy::disallowed_methods, reason = "this is the machine")]
    fn spawn(&self, task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) {
        drop(tokio::spawn(task));
    }

    #[expect(clippy::disallowed_methods, reason = "this is the machine")]
    fn sleep(&self, duration: std::time::Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    fn random(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Numbers that count, and a clock that stands still.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Env for Counting {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_577_836_800_000)
    }

    fn random(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
