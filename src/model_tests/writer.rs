//! A writer: the requests of `log/place.rs`, one batch of one op after the other.

use std::collections::BTreeMap;

use deltafold_format::{Manifest, Sequence};

use super::bounds::{Guards, Sources};
use super::store::{OpId, Outcome, Segment, Store, Truth, Write, uid};
use crate::log::{Held, writer_source};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Writer {
    source: u8,
    sourced: bool,
    ops: u8,
    /// The uid of this life.
    pub(super) life: u8,
    /// The position being appended.
    position: u8,
    batches: u8,
    /// The number of the batch, from its first attempt on.
    number: Option<u8>,
    doubt: bool,
    /// The slot that was refused last, with somebody else in it, until a look at the head decides it.
    refused: Option<u64>,
    /// The first slot that may be free.
    tail: Option<u64>,
    /// The highest position of each source that is known, and where it was seen.
    marks: Option<BTreeMap<u8, (u8, u64)>>,
    at: At,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum At {
    /// To read the head.
    Look,
    /// To list the log behind what is folded.
    List(u64),
    /// To read the slots listed, from the second number on up to the third.
    Get(u64, u64, u64),
    /// Having read up to a slot, to look whether the head truncates what was read.
    Judge(u64, u64),
    Try,
    /// To look at the head for the slot refused, before another than the next is tried.
    Decide,
    /// The slot is taken, and the one before it was: to look at the head for that one.
    DecideBeside(u64),
    /// The slot is taken.
    Taken(u64),
    /// It is taken, by this segment of somebody else: to look whether that counts.
    TakenBy(u64, Segment),
    /// It was taken, and is empty.
    Gone(u64),
    Confirm(u64),
    /// The slot was swept: to ask the manifest.
    LookUp(u64),
    /// The one before this slot was swept, and this one is taken too: to ask the manifest.
    LookUpBeside(u64),
    Ended,
}

fn sequence(slot: u64) -> Sequence {
    Sequence::new(slot).unwrap()
}

fn source_name(source: u8) -> String {
    format!("source/{source}")
}

impl Writer {
    pub(super) fn new(index: u8, ops: u8, sources: Sources) -> Self {
        let source = if sources == Sources::Shared && index < 2 { 0 } else { index };
        let mut writer = Self {
            source,
            sourced: sources != Sources::None,
            ops,
            life: index * 16,
            position: 1,
            batches: 0,
            number: None,
            doubt: false,
            refused: None,
            tail: None,
            marks: None,
            at: At::Look,
        };
        if ops == 0 {
            writer.at = At::Ended;
        }
        writer
    }

    pub(super) fn ended(&self) -> bool {
        self.at == At::Ended
    }

    /// It dies. What came from a source comes again.
    pub(super) fn crash(&mut self) {
        self.life += 1;
        self.position = 1;
        self.batches = 0;
        self.number = None;
        self.doubt = false;
        self.refused = None;
        self.refused = None;
        self.forget();
        self.at = if self.sourced { At::Look } else { At::Ended };
    }

    fn op(&self) -> OpId {
        OpId { source: self.source, position: self.position }
    }

    fn forget(&mut self) {
        self.tail = None;
        self.marks = None;
    }

    /// The write that it does next, if it is one.
    pub(super) fn write(&self) -> Option<Write> {
        let (At::Try, Some(slot)) = (&self.at, self.tail) else { return None };
        let batch = self.number.unwrap_or(self.batches + 1);
        Some(Write::Segment(slot, Segment { writer: self.life, batch, op: self.op() }))
    }

    pub(super) fn answered(&mut self, outcome: Outcome, truth: &mut Truth, guards: &Guards) {
        let Some(slot) = self.tail else { return };
        self.batches = self.batches.max(self.number.unwrap_or(self.batches + 1));
        self.number = Some(self.number.unwrap_or(self.batches));
        match outcome {
            Outcome::Done => self.landed(slot, truth, guards),
            Outcome::Refused if self.refused.is_some() => self.at = At::DecideBeside(slot),
            Outcome::Refused => self.at = At::Taken(slot),
            Outcome::Unknown if guards.same_slot => self.doubt = true,
            Outcome::Unknown => self.pass(slot),
        }
    }

    pub(super) fn read(&mut self, store: &Store, truth: &mut Truth, guards: &Guards) {
        let head = &store.head;
        let truncated = head.truncated.get();
        match self.at.clone() {
            At::Look => {
                if self.sourced {
                    let marks = Held::of(head);
                    let known = (0..3).filter_map(|source| {
                        let held = (1..=self.ops).rev().find(|p| marks.hold(&source_name(source), u128::from(*p)))?;
                        Some((source, (held, head.folded.get())))
                    });
                    self.marks = Some(known.collect());
                }
                self.at = At::List(head.folded.get());
            }
            At::List(folded) => {
                let (slots, whole) = store.list(folded);
                let last = folded + slots.len() as u64;
                if !whole {
                    // `ends_before`: what lies between was swept, or is damage.
                    if truncated <= last + 1 && !store.log.contains_key(&(last + 1)) {
                        truth.breaks(super::store::GAPS);
                    }
                    self.at = At::Look;
                } else if self.sourced {
                    self.at = if last == folded { At::Judge(folded, last) } else { At::Get(folded, folded + 1, last) };
                } else {
                    self.found(last + 1);
                }
            }
            At::Get(folded, next, last) => match store.log.get(&next) {
                None => self.at = At::Look,
                Some(segment) => {
                    self.learn(next, segment);
                    self.at = if next == last { At::Judge(folded, last) } else { At::Get(folded, next + 1, last) };
                }
            },
            At::Judge(folded, last) => {
                let bound = if guards.slot_counts { folded + 1 } else { last + 1 };
                if truncated <= bound {
                    self.found(last + 1);
                    self.sift(truth);
                } else {
                    self.at = At::Look;
                }
            }
            At::Taken(slot) => match store.log.get(&slot) {
                Some(segment)
                    if guards.batch_id && segment.writer == self.life && Some(segment.batch) == self.number =>
                {
                    self.landed(slot, truth, guards);
                }
                // An earlier attempt may have landed, been folded and swept before this one came. And what it holds of sources counts only if it was not swept.
                Some(segment) if guards.slot_counts && (self.doubt || self.sourced) => {
                    self.at = At::TakenBy(slot, *segment);
                }
                Some(segment) => {
                    self.lost(slot, &segment.clone(), truth);
                    // This attempt may have: the refusal may be its echo.
                    self.refused = guards.slot_counts.then_some(slot);
                }
                None => self.at = At::Gone(slot),
            },
            At::TakenBy(slot, segment) => {
                if slot < truncated {
                    self.at = At::LookUp(slot);
                } else {
                    self.lost(slot, &segment, truth);
                }
            }
            At::Decide => match self.refused {
                Some(refused) if refused < truncated => self.at = At::LookUp(refused),
                _ => {
                    self.refused = None;
                    self.at = At::Try;
                }
            },
            At::DecideBeside(slot) => {
                if self.refused.is_some_and(|refused| refused < truncated) {
                    self.at = At::LookUpBeside(slot);
                } else {
                    self.refused = None;
                    self.at = At::Taken(slot);
                }
            }
            At::Gone(slot) if slot < truncated => self.at = At::LookUp(slot),
            At::Gone(_) => self.go_on(),
            At::Confirm(slot) => {
                if slot >= truncated {
                    self.acknowledged(Some(slot), truth);
                } else {
                    self.at = At::LookUp(slot);
                }
            }
            At::LookUp(slot) | At::LookUpBeside(slot) => {
                let first = self.refused.map_or(slot, |refused| refused.min(slot));
                match earlier(head, self.life, self.number, sequence(first)) {
                    Earlier::At(found) if guards.own_mark => self.acknowledged(Some(found.get()), truth),
                    Earlier::Unknown => truth.breaks("with so few writers nothing is forgotten"),
                    Earlier::At(_) | Earlier::Nowhere => {
                        self.refused = None;
                        self.forget();
                        self.at = if let At::LookUpBeside(slot) = self.at { At::Taken(slot) } else { At::Look };
                    }
                }
            }
            At::Try | At::Ended => {}
        }
    }

    fn found(&mut self, tail: u64) {
        self.tail = Some(tail);
        self.at = if self.refused.is_some_and(|refused| refused + 1 != tail) { At::Decide } else { At::Try };
    }

    /// Tries again, where the log's end is known.
    fn go_on(&mut self) {
        self.at = if self.tail.is_some() { At::Try } else { At::Look };
    }

    fn pass(&mut self, slot: u64) {
        self.tail = self.tail.map(|tail| tail.max(slot + 1));
    }

    fn learn(&mut self, slot: u64, segment: &Segment) {
        if let Some(marks) = &mut self.marks {
            let known = marks.entry(segment.op.source).or_insert((segment.op.position, slot));
            known.0 = known.0.max(segment.op.position);
            known.1 = known.1.max(slot);
        }
    }

    /// Slot `slot` is somebody else's.
    fn lost(&mut self, slot: u64, segment: &Segment, truth: &mut Truth) {
        self.doubt = false;
        self.learn(slot, segment);
        self.pass(slot);
        self.go_on();
        self.sift(truth);
    }

    /// What the log holds is not appended again.
    fn sift(&mut self, truth: &mut Truth) {
        let Some(marks) = &self.marks else { return };
        let mut held = Held::default();
        for (source, (position, slot)) in marks {
            held.add(&source_name(*source), u128::from(*position), sequence(*slot));
        }
        if held.hold(&source_name(self.source), u128::from(self.position)) {
            self.acknowledged(None, truth);
        }
    }

    fn landed(&mut self, slot: u64, truth: &mut Truth, guards: &Guards) {
        self.pass(slot);
        let own = Segment { writer: self.life, batch: 0, op: self.op() };
        self.learn(slot, &own);
        if guards.head_check {
            self.at = At::Confirm(slot);
        } else {
            self.acknowledged(Some(slot), truth);
        }
    }

    fn acknowledged(&mut self, slot: Option<u64>, truth: &mut Truth) {
        truth.acknowledge(self.op(), slot);
        self.number = None;
        self.doubt = false;
        if self.position == self.ops {
            self.forget();
            (self.at, self.batches, self.life) = (At::Ended, 0, 0);
            return;
        }
        self.position += 1;
        self.go_on();
        if self.tail.is_some() {
            self.sift(truth);
        }
    }
}

/// What a manifest tells of a writer's batch whose slot was swept.
enum Earlier {
    /// It had landed before, and was folded from this slot.
    At(Sequence),
    /// It never landed where it counts.
    Nowhere,
    /// Nobody can tell.
    Unknown,
}

/// By the rules of `look_up` in `log/place.rs`.
fn earlier(manifest: &Manifest, life: u8, number: Option<u8>, slot: Sequence) -> Earlier {
    let source = writer_source(uid(life));
    let number = number.map_or(0, u128::from);
    match manifest.marks.iter().find(|mark| mark.source == source) {
        Some(mark) if mark.position == number => Earlier::At(mark.sequence),
        Some(mark) if mark.position > number => Earlier::Unknown,
        _ if manifest.marks_floor >= slot => Earlier::Unknown,
        _ => Earlier::Nowhere,
    }
}
