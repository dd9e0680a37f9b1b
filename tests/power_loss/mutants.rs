//! The tests notice every missing flush.

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use deltafold::simulation::Guard;

use crate::alone::recorded;
use crate::recording::States;
use crate::together;

/// Guards are switched off for the whole process, so no other test may run then.
static SWITCHES: RwLock<()> = RwLock::new(());

/// All guards hold for as long as this lives.
pub(crate) fn in_force() -> RwLockReadGuard<'static, ()> {
    SWITCHES.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Off(Guard, #[expect(dead_code, reason = "held")] RwLockWriteGuard<'static, ()>);

impl Off {
    fn switch(guard: Guard) -> Self {
        let alone = SWITCHES.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        guard.switch_everywhere(false);
        Self(guard, alone)
    }
}

impl Drop for Off {
    fn drop(&mut self) {
        self.0.switch_everywhere(true);
    }
}

#[test]
fn each_flush_that_is_left_out_is_noticed() {
    for guard in [Guard::FileSync, Guard::FolderSync] {
        let off = Off::switch(guard);
        let mut states = States::default();
        states.add_each(&recorded(false));
        let failure = states.failure();
        drop(off);
        println!("{guard:?}: {failure:?}");
        assert!(failure.is_some(), "no check notices that {guard:?} is off");
    }
    let off = Off::switch(Guard::SettledFirst);
    let failure = together::of_a_position_that_is_known().failure();
    drop(off);
    println!("SettledFirst: {failure:?}");
    assert!(failure.is_some(), "no check notices that SettledFirst is off");
}
