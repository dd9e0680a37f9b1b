//! Each row of the transition table.

use super::*;

fn slot(number: u64) -> Sequence {
    Sequence::new(number).unwrap()
}

const TAIL: Tail = Tail { slot: Sequence::FIRST, foreign: 0, marks: false };

fn tail(number: u64) -> Option<Tail> {
    Some(Tail { slot: slot(number), ..TAIL })
}

fn with_marks(number: u64) -> Option<Tail> {
    Some(Tail { slot: slot(number), marks: true, ..TAIL })
}

fn end(number: u64) -> End {
    End { slot: slot(number), foreign: 0 }
}

fn status() -> Status {
    Status { number: 7, sourced: false, left: true, in_doubt: false, refused: None, written: false, behind: None }
}

fn sourced() -> Status {
    Status { sourced: true, ..status() }
}

fn in_doubt() -> Status {
    Status { in_doubt: true, ..status() }
}

fn refused(number: u64) -> Status {
    Status { refused: Some(slot(number)), ..status() }
}

fn written() -> Status {
    Status { written: true, ..status() }
}

fn state(tail: Option<Tail>, batch: Status, phase: Phase) -> State {
    State { tail, batch, phase }
}

/// A head with this log start. Slots 1 to 3 are applied.
fn head(log_start: u64) -> Observation {
    Observation::Head { applied: slot(3), log_start: slot(log_start) }
}

fn read(content: Content) -> Observation {
    Observation::Slot(SlotRead { content, log_start: None })
}

fn read_beside(content: Content, log_start: u64) -> Observation {
    Observation::Slot(SlotRead { content, log_start: Some(slot(log_start)) })
}

fn created(created: Created) -> Observation {
    Observation::Created(created)
}

/// A manifest whose mark of the writer names this batch and this slot.
fn snapshot(own: Option<(u64, u64)>, eviction_watermark: u64) -> Observation {
    let own = own.map(|(number, at)| OwnMark { number, slot: slot(at) });
    Observation::Snapshot(Snapshot { applied: slot(3), own, eviction_watermark: slot(eviction_watermark) })
}

fn answer(answer: Answer) -> Phase {
    Phase::Answered(answer)
}

const UNKNOWN: Phase = Phase::Answered(Answer::Unknown(Reason::Failed));
const FAILED: Observation = Observation::Failed(Failure::Other);
const DROPPED: Observation = Observation::Failed(Failure::Dropped);

#[track_caller]
fn leads(from: State, seen: Observation, to: State) {
    let (next, action) = next(from, seen);
    assert_eq!(next, to, "from {from:?} by {seen:?}");
    assert_eq!(action, to.action());
}

/// The same, if only the phase changes.
#[track_caller]
fn moves(from: State, seen: Observation, phase: Phase) {
    leads(from, seen, State { phase, ..from });
}

#[test]
fn a_batch_begins_where_the_log_is_known() {
    let new = |sourced, left| NewBatch { number: 7, sourced, left, behind: None };
    let begin = |tail, sourced, left| State::begin(tail, new(sourced, left)).0.phase;
    assert_eq!(begin(None, false, true), Phase::ReadHead);
    assert_eq!(begin(tail(5), false, true), Phase::Ready { slot: slot(5) });
    assert_eq!(begin(tail(5), true, true), Phase::ReadSnapshot);
    assert_eq!(begin(with_marks(5), true, true), Phase::Deduplicate);
    assert_eq!(begin(with_marks(5), false, true), Phase::Ready { slot: slot(5) });
    assert_eq!(begin(None, false, false), answer(Answer::Known), "a barrier writes nothing");
    assert_eq!(begin(None, true, false), Phase::Settle);
    assert_eq!(begin(with_marks(5), true, false), Phase::Settle);
}

#[test]
fn the_end_is_found_behind_the_applied_slot() {
    moves(state(None, status(), Phase::ReadHead), head(1), Phase::FindEnd { after: slot(3) });
    let finding = Phase::FindEnd { after: slot(3) };
    let found = |search| Observation::Found { search, log_start: None };
    let ready = Phase::Ready { slot: slot(5) };
    leads(state(None, status(), finding), found(Search::At(end(5))), state(tail(5), status(), ready));
    leads(state(None, sourced(), finding), found(Search::At(end(5))), state(tail(5), sourced(), Phase::ReadSnapshot));
    moves(state(None, status(), finding), found(Search::Swept), Phase::ReadHead);
}

#[test]
fn marks_count_only_if_none_was_swept_under_the_reading() {
    let learning = Phase::LearnMarks { after: slot(3) };
    let checking = Phase::RecheckMarks { after: slot(3), end: end(6) };
    moves(state(tail(5), sourced(), Phase::ReadSnapshot), snapshot(None, 0), learning);
    moves(state(tail(5), sourced(), learning), Observation::Learned(Search::At(end(6))), checking);
    moves(state(tail(5), sourced(), learning), Observation::Learned(Search::Swept), Phase::ReadSnapshot);
    let learned = state(with_marks(6), sourced(), Phase::Deduplicate);
    leads(state(tail(5), sourced(), checking), head(4), learned);
    moves(state(tail(5), sourced(), checking), head(5), Phase::ReadSnapshot);
    moves(learned, Observation::Left(true), Phase::Ready { slot: slot(6) });
    let known = Status { left: false, ..sourced() };
    leads(learned, Observation::Left(false), state(with_marks(6), known, Phase::Settle));
    moves(state(with_marks(6), known, Phase::Settle), Observation::Settled, answer(Answer::Known));
}

#[test]
fn no_turn_skips_a_slot_in_doubt() {
    let ready = Phase::Ready { slot: slot(5) };
    let turn = Observation::Turn;
    let create = Phase::Create { slot: slot(5) };
    for status in [status(), in_doubt(), refused(4)] {
        moves(state(tail(5), status, ready), turn(Turn::Try), create);
        moves(state(tail(5), status, ready), turn(Turn::Look), Phase::Look { slot: slot(5) });
    }
    moves(state(tail(5), in_doubt(), ready), turn(Turn::CatchUp), create);
    moves(state(tail(5), status(), ready), turn(Turn::CatchUp), Phase::CatchUp { after: slot(4) });
    let foreign = Some(Tail { slot: slot(5), foreign: 2, marks: false });
    moves(state(foreign, status(), ready), turn(Turn::CatchUp), Phase::CatchUp { after: slot(2) });
    let catching_up = Phase::CatchUpMarks { after: slot(4), first: slot(5) };
    leads(state(with_marks(5), sourced(), ready), turn(Turn::CatchUp), state(tail(5), sourced(), catching_up));
}

#[test]
fn a_refusal_is_decided_before_a_slot_that_is_not_the_next() {
    let from = state(tail(6), refused(4), Phase::Ready { slot: slot(6) });
    let deciding = Phase::DecideRefusal { then: AfterRefusal::Create };
    moves(from, Observation::Turn(Turn::Try), deciding);
    let create = Phase::Create { slot: slot(6) };
    leads(state(tail(6), refused(4), deciding), head(4), state(tail(6), status(), create));
    let look_up = Phase::LookUp { slot: slot(4), then: AfterLookUp::Retry };
    leads(state(tail(6), refused(4), deciding), head(5), state(None, refused(4), look_up));
}

#[test]
fn a_create_lands_or_the_same_slot_is_tried_again() {
    let from = state(tail(5), status(), Phase::Create { slot: slot(5) });
    let landed = Phase::Confirm { slot: slot(5) };
    leads(from, created(Created::Done), state(tail(6), status(), landed));
    moves(from, created(Created::Refused), Phase::ReadTaken { slot: slot(5) });
    leads(from, created(Created::Unknown), state(tail(5), in_doubt(), Phase::Pause));
    moves(from, created(Created::Failed), Phase::Pause);
    moves(state(tail(5), in_doubt(), Phase::Pause), Observation::Paused, Phase::Ready { slot: slot(5) });
}

#[test]
fn a_speculative_read_spares_the_read_of_a_taken_slot() {
    let from = state(tail(5), status(), Phase::Create { slot: slot(5) });
    let by = |content| created(Created::RefusedBy(SlotRead { content, log_start: None }));
    leads(from, by(Content::Own), state(tail(6), status(), Phase::Confirm { slot: slot(5) }));
    let absorb = Phase::Absorb { slot: slot(5), taker: Taker::Other };
    leads(from, by(Content::Other), state(tail(5), refused(5), absorb));
    for unclear in [Content::Absent, Content::Foreign] {
        moves(from, by(unclear), Phase::ReadTaken { slot: slot(5) });
    }
}

#[test]
fn a_refused_slot_is_read() {
    let reading = Phase::ReadTaken { slot: slot(5) };
    let from = state(tail(5), status(), reading);
    leads(from, read(Content::Own), state(tail(6), status(), Phase::Confirm { slot: slot(5) }));
    moves(from, read(Content::Absent), Phase::CheckVanished { slot: slot(5) });
    for (content, taker) in [(Content::Other, Taker::Other), (Content::Foreign, Taker::Foreign)] {
        let checking = Phase::CheckTaker { slot: slot(5), taker, attempt: Attempt::Refused };
        leads(from, read(content), state(tail(5), refused(5), Phase::Absorb { slot: slot(5), taker }));
        moves(state(tail(5), in_doubt(), reading), read(content), checking);
        moves(state(with_marks(5), sourced(), reading), read(content), checking);
    }
}

#[test]
fn a_head_beside_the_read_decides_the_refusal_before() {
    let reading = Phase::ReadTaken { slot: slot(5) };
    let absorb = Phase::Absorb { slot: slot(5), taker: Taker::Other };
    let from = state(tail(5), refused(4), reading);
    assert_eq!(from.action(), Action::ReadSlot { slot: slot(5), check_head: true });
    leads(from, read_beside(Content::Other, 4), state(tail(5), refused(5), absorb));
    let look_up = Phase::LookUp { slot: slot(5), then: AfterLookUp::Reread };
    leads(from, read_beside(Content::Own, 5), state(None, refused(4), look_up));
    let looking = state(tail(5), refused(4), Phase::Look { slot: slot(5) });
    leads(looking, read_beside(Content::Absent, 4), state(tail(5), status(), Phase::Ready { slot: slot(5) }));
    let look_up = Phase::LookUp { slot: slot(4), then: AfterLookUp::Retry };
    leads(looking, read_beside(Content::Absent, 5), state(None, refused(4), look_up));
    // Slot 5 is in doubt, too, and the batch may have been folded from there.
    let both = Status { in_doubt: true, ..refused(4) };
    let look_up = Phase::LookUp { slot: slot(5), then: AfterLookUp::Retry };
    let looking = state(tail(5), both, Phase::Look { slot: slot(5) });
    leads(looking, read_beside(Content::Own, 5), state(None, both, look_up));
}

#[test]
fn a_look_passes_a_taken_slot_without_a_refusal() {
    let looking = Phase::Look { slot: slot(5) };
    moves(state(tail(5), status(), looking), read(Content::Absent), Phase::Ready { slot: slot(5) });
    let absorb = Phase::Absorb { slot: slot(5), taker: Taker::Other };
    moves(state(tail(5), status(), looking), read(Content::Other), absorb);
    let checking = Phase::CheckTaker { slot: slot(5), taker: Taker::Other, attempt: Attempt::Looked };
    moves(state(with_marks(5), sourced(), looking), read(Content::Other), checking);
    leads(state(with_marks(5), sourced(), checking), head(6), state(None, sourced(), Phase::ReadHead));
    let look_up = Phase::LookUp { slot: slot(5), then: AfterLookUp::Retry };
    leads(state(tail(5), in_doubt(), checking), head(6), state(None, in_doubt(), look_up));
}

#[test]
fn a_taker_counts_only_if_its_slot_is_not_swept() {
    let checking = Phase::CheckTaker { slot: slot(5), taker: Taker::Other, attempt: Attempt::Refused };
    let absorb = Phase::Absorb { slot: slot(5), taker: Taker::Other };
    leads(state(tail(5), in_doubt(), checking), head(5), state(tail(5), status(), absorb));
    let look_up = Phase::LookUp { slot: slot(5), then: AfterLookUp::Retry };
    leads(state(tail(5), in_doubt(), checking), head(6), state(None, in_doubt(), look_up));
    leads(state(with_marks(5), sourced(), checking), head(6), state(None, sourced(), look_up));
}

#[test]
fn a_vanished_slot_was_swept_or_is_tried_again() {
    let from = state(tail(5), status(), Phase::CheckVanished { slot: slot(5) });
    moves(from, head(5), Phase::Pause);
    let look_up = Phase::LookUp { slot: slot(5), then: AfterLookUp::Retry };
    leads(from, head(6), state(None, status(), look_up));
}

#[test]
fn the_tail_moves_behind_an_absorbed_slot() {
    let absorb = |taker| Phase::Absorb { slot: slot(5), taker };
    let ready = Phase::Ready { slot: slot(6) };
    let behind_two = Some(Tail { slot: slot(5), foreign: 2, marks: false });
    let behind_three = Some(Tail { slot: slot(6), foreign: 3, marks: false });
    let left = Observation::Left(true);
    leads(state(behind_two, refused(5), absorb(Taker::Other)), left, state(tail(6), refused(5), ready));
    leads(state(behind_two, refused(5), absorb(Taker::Foreign)), left, state(behind_three, refused(5), ready));
    leads(state(tail(4), status(), absorb(Taker::Foreign)), left, state(None, status(), Phase::ReadHead));
    let known = Status { left: false, ..sourced() };
    leads(
        state(with_marks(5), sourced(), absorb(Taker::Other)),
        Observation::Left(false),
        state(with_marks(6), known, Phase::Settle),
    );
}

#[test]
fn an_appender_catches_up_with_the_tail() {
    let found = |search, log_start: Option<u64>| Observation::Found { search, log_start: log_start.map(slot) };
    let catching_up = Phase::CatchUp { after: slot(4) };
    let ready = |at| Phase::Ready { slot: slot(at) };
    let at = Search::At(end(9));
    leads(state(tail(5), status(), catching_up), found(at, None), state(tail(9), status(), ready(9)));
    moves(state(tail(5), status(), catching_up), found(Search::Swept, None), ready(5));
    let from = state(tail(5), refused(4), catching_up);
    assert_eq!(from.action(), Action::FindEnd { after: slot(4), check_head: true });
    leads(from, found(at, Some(4)), state(tail(9), status(), ready(9)));
    let look_up = Phase::LookUp { slot: slot(4), then: AfterLookUp::Retry };
    leads(from, found(at, Some(5)), state(None, refused(4), look_up));
}

#[test]
fn marks_that_were_caught_up_count_unless_swept() {
    let catching_up = Phase::CatchUpMarks { after: slot(4), first: slot(5) };
    let from = state(tail(5), sourced(), catching_up);
    let checking = Phase::RecheckCaughtUp { end: end(9), first: slot(5) };
    moves(from, Observation::Learned(Search::At(end(9))), checking);
    leads(from, Observation::Learned(Search::Swept), state(None, sourced(), Phase::ReadHead));
    let from = state(tail(5), sourced(), checking);
    leads(from, head(5), state(with_marks(9), sourced(), Phase::Deduplicate));
    leads(from, head(6), state(None, sourced(), Phase::ReadHead));
}

#[test]
fn a_slot_counts_if_the_head_does_not_sweep_it() {
    let from = state(tail(6), status(), Phase::Confirm { slot: slot(5) });
    moves(from, head(5), answer(Answer::At(slot(5))));
    let look_up = Phase::LookUp { slot: slot(5), then: AfterLookUp::PlaceAnew };
    leads(from, head(6), state(None, written(), look_up));
}

#[test]
fn the_manifest_tells_the_fate_of_a_swept_slot() {
    let look_up = |then| state(None, status(), Phase::LookUp { slot: slot(5), then });
    for then in [AfterLookUp::Reread, AfterLookUp::Retry, AfterLookUp::Fail, AfterLookUp::PlaceAnew] {
        // The mark may name a later slot.
        moves(look_up(then), snapshot(Some((7, 6)), 0), Phase::SettleFolded { slot: slot(5) });
        let unknown = |reason| answer(Answer::Unknown(reason));
        moves(look_up(then), snapshot(Some((8, 6)), 0), unknown(Reason::LaterBatch));
        moves(look_up(then), snapshot(Some((6, 4)), 5), unknown(Reason::Forgotten));
        moves(look_up(then), snapshot(None, 5), unknown(Reason::Forgotten));
    }
    let nowhere = snapshot(Some((6, 4)), 4);
    moves(look_up(AfterLookUp::Reread), nowhere, Phase::ReadTaken { slot: slot(5) });
    moves(look_up(AfterLookUp::Retry), nowhere, Phase::ReadHead);
    moves(look_up(AfterLookUp::PlaceAnew), nowhere, Phase::ReadHead);
    moves(look_up(AfterLookUp::Fail), nowhere, answer(Answer::NotAppended));
    let settling = state(None, status(), Phase::SettleFolded { slot: slot(5) });
    moves(settling, Observation::Settled, answer(Answer::At(slot(5))));
}

#[test]
fn the_mark_decides_between_two_slots_of_a_batch() {
    let from = state(None, refused(4), Phase::LookUp { slot: slot(5), then: AfterLookUp::Retry });
    moves(from, snapshot(Some((7, 4)), 0), Phase::SettleFolded { slot: slot(4) });
    moves(from, snapshot(Some((7, 5)), 0), Phase::SettleFolded { slot: slot(5) });
    moves(from, snapshot(Some((7, 9)), 0), answer(Answer::Unknown(Reason::TwoSlots)));
    moves(from, snapshot(None, 4), answer(Answer::Unknown(Reason::Forgotten)));
    leads(from, snapshot(None, 3), state(None, status(), Phase::ReadHead));
    // Only the refused slot was tried.
    let one = state(None, refused(4), Phase::LookUp { slot: slot(4), then: AfterLookUp::Retry });
    moves(one, snapshot(Some((7, 6)), 0), Phase::SettleFolded { slot: slot(4) });
}

#[test]
fn a_failure_is_plain_only_if_no_attempt_can_land() {
    let create = Phase::Create { slot: slot(5) };
    moves(state(tail(5), status(), create), FAILED, answer(Answer::NotAppended));
    moves(state(tail(5), status(), create), DROPPED, answer(Answer::NotAppended));
    moves(state(tail(5), in_doubt(), create), FAILED, UNKNOWN);
    moves(state(tail(5), in_doubt(), create), DROPPED, UNKNOWN);
    leads(state(tail(5), written(), create), FAILED, state(None, written(), UNKNOWN));
    // The taker was not read, so the refusal may be a self-conflict.
    for phase in [
        Phase::ReadTaken { slot: slot(5) },
        Phase::CheckVanished { slot: slot(5) },
        Phase::CheckTaker { slot: slot(5), taker: Taker::Other, attempt: Attempt::Refused },
        Phase::SettleFolded { slot: slot(5) },
        Phase::LookUp { slot: slot(5), then: AfterLookUp::Retry },
    ] {
        leads(state(tail(5), status(), phase), FAILED, state(tail(5), in_doubt(), UNKNOWN));
    }
    let looked = Phase::CheckTaker { slot: slot(5), taker: Taker::Other, attempt: Attempt::Looked };
    moves(state(tail(5), status(), looked), FAILED, answer(Answer::NotAppended));
}

#[test]
fn a_failure_decides_the_refusal_first() {
    let deciding = Phase::DecideRefusal { then: AfterRefusal::Fail };
    let look_up = |at| Phase::LookUp { slot: slot(at), then: AfterLookUp::Fail };
    moves(state(tail(5), refused(4), Phase::Create { slot: slot(5) }), FAILED, deciding);
    let from = state(tail(5), refused(4), deciding);
    leads(from, head(4), state(tail(5), status(), answer(Answer::NotAppended)));
    leads(from, head(5), state(None, refused(4), look_up(4)));
    leads(from, FAILED, state(tail(5), Status { in_doubt: true, ..refused(4) }, UNKNOWN));
    moves(from, DROPPED, answer(Answer::NotAppended));
    // The next slot is in doubt, too, and the batch may have been folded from there.
    let both = Status { in_doubt: true, ..refused(4) };
    leads(state(tail(5), both, deciding), head(5), state(None, both, look_up(5)));
    leads(state(tail(5), both, deciding), head(4), state(tail(5), in_doubt(), UNKNOWN));
    moves(state(tail(5), both, deciding), DROPPED, UNKNOWN);
    leads(state(None, both, look_up(5)), snapshot(None, 3), state(None, in_doubt(), UNKNOWN));
}

#[test]
fn a_failed_look_up_is_unknown() {
    let look_up = Phase::LookUp { slot: slot(4), then: AfterLookUp::Fail };
    let from = state(None, refused(4), look_up);
    leads(from, FAILED, state(None, Status { in_doubt: true, ..refused(4) }, UNKNOWN));
    moves(from, DROPPED, answer(Answer::NotAppended));
    let retry = Phase::LookUp { slot: slot(4), then: AfterLookUp::Retry };
    moves(state(None, refused(4), retry), FAILED, Phase::DecideRefusal { then: AfterRefusal::Fail });
    let reread = Phase::LookUp { slot: slot(5), then: AfterLookUp::Reread };
    let both = Status { in_doubt: true, ..refused(4) };
    leads(state(None, refused(4), reread), FAILED, state(None, both, UNKNOWN));
}

#[test]
fn a_failed_head_check_is_unknown_unless_dropped() {
    let from = state(tail(6), status(), Phase::Confirm { slot: slot(5) });
    leads(from, FAILED, state(None, status(), UNKNOWN));
    leads(from, DROPPED, state(None, status(), answer(Answer::NotAppended)));
}

/// A batch that must follow slot 4 directly.
fn behind_4() -> Status {
    Status { behind: Some(slot(4)), ..status() }
}

#[test]
fn a_conditional_batch_takes_only_the_next_slot() {
    let begin = |tail| {
        let batch = NewBatch { number: 7, sourced: false, left: true, behind: Some(slot(4)) };
        State::begin(tail, batch).0.phase
    };
    let ready = |at| Phase::Ready { slot: slot(at) };
    assert_eq!(begin(tail(5)), ready(5));
    assert_eq!(begin(tail(6)), answer(Answer::Moved));
    let passed = Some(Tail { slot: slot(6), foreign: 1, marks: false });
    assert_eq!(begin(passed), ready(6), "slot 5 is of another collection");
    assert_eq!(begin(tail(4)), Phase::ReadHead, "the tail is out of date");
    let finding = state(None, behind_4(), Phase::FindEnd { after: slot(3) });
    let found = |at| Observation::Found { search: Search::At(end(at)), log_start: None };
    leads(finding, found(5), state(tail(5), behind_4(), ready(5)));
    leads(finding, found(7), state(tail(7), behind_4(), answer(Answer::Moved)));
}

#[test]
fn a_conditional_batch_moves_only_once_nothing_is_open() {
    let taken = state(tail(5), behind_4(), Phase::Absorb { slot: slot(5), taker: Taker::Other });
    let left = Observation::Left(true);
    leads(taken, left, state(tail(6), behind_4(), answer(Answer::Moved)));
    // The refusal may be a self-conflict, so the head decides it first.
    let refused = Status { refused: Some(slot(5)), ..behind_4() };
    let deciding = Phase::DecideRefusal { then: AfterRefusal::Move };
    leads(state(tail(5), refused, taken.phase), left, state(tail(6), refused, deciding));
    leads(state(tail(6), refused, deciding), head(5), state(tail(6), behind_4(), answer(Answer::Moved)));
    let look_up = Phase::LookUp { slot: slot(5), then: AfterLookUp::Retry };
    leads(state(tail(6), refused, deciding), head(6), state(None, refused, look_up));
    leads(
        state(tail(6), refused, deciding),
        FAILED,
        state(tail(6), refused, Phase::DecideRefusal { then: AfterRefusal::Fail }),
    );
    for open in [Status { in_doubt: true, ..behind_4() }, Status { written: true, ..behind_4() }] {
        let passed = state(tail(5), open, taken.phase);
        leads(passed, left, state(tail(6), open, answer(Answer::Unknown(Reason::Moved))));
    }
}
