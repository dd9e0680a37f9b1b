//! Random histories meet these narrow races too rarely. So their tests must fail when a guard is
//! switched off.

use std::panic::{AssertUnwindSafe, catch_unwind};

use deltafold::simulation::Guard;
use deltafold_testing::watched::Watched;

use super::{lost_answers, swept_slots};
use crate::{echoes, lost_update, pins};

/// Asserts that the test passes, and fails without these guards.
fn lost<F: Future<Output = ()>>(guards: &[Guard], race: impl Fn(Watched) -> F) {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(race(Watched::default()));
    };
    run();
    let bitten = Guard::without(guards, || catch_unwind(AssertUnwindSafe(run)).is_err());
    assert!(bitten, "{guards:?} is switched off, and nothing is lost");
}

#[test]
fn without_its_guard_each_of_these_races_is_lost() {
    lost(&[Guard::PassedIsRead], swept_slots::r11_a_stale_segment_does_not_pass_for_the_log);
    lost(&[Guard::PassedIsRead], swept_slots::r3_a_batch_lands_once_though_its_slot_was_created_anew);
    lost(&[Guard::PassedIsRead], swept_slots::a_self_conflict_behind_a_stale_segment_is_recognised);
    lost(&[Guard::PassedIsRead], swept_slots::a_waiting_writer_recognises_its_self_conflict);
    lost(&[Guard::LastSegmentKept, Guard::Invariants], swept_slots::no_append_after_unseen_sweep);
    lost(&[Guard::MarksRecheck], swept_slots::a_slot_swept_while_marks_are_read_hides_no_position);
    lost(&[Guard::PinsById], pins::a_pin_made_anew_survives_the_sweep_of_the_old_one);
    lost(&[Guard::PinsById], pins::a_pin_made_anew_survives_the_unpin_of_the_old_one);
    lost(&[Guard::ManifestNonces], lost_answers::a_publish_is_found_behind_a_lost_one_and_another_s);
}

/// The tests of self-conflicts and of workers that sleep notice their guards, too.
#[test]
fn echo_and_lost_update_tests_notice_their_guards() {
    lost(&[Guard::ManifestNonces], echoes::every_actor_bears_an_echo_of_each_write);
    lost(&[Guard::FoldConflict], lost_update::a_folds_and_b_folds);
    lost(&[Guard::FoldConflict], lost_update::a_folds_and_b_does_all);
    lost(&[Guard::FoldConflict], lost_update::a_merges_and_b_does_all);
    lost(&[Guard::SweepFloor], lost_update::a_folds_and_b_sweeps);
    lost(&[Guard::SweepFloor], lost_update::a_merges_and_b_sweeps);
    lost(&[Guard::PublishBeforeDelete], lost_update::a_sweeps_and_b_does_all);
}
