//! A call in a batch: what of it is written, what the log holds already, and what its caller is told.

use std::collections::HashMap;

use deltafold_format::Op;
use tokio::sync::oneshot;

use super::call::{Call, Permit, Placed, Source};
use super::marks::Marks;
use super::origin::{SOURCE, Trace, Verdict};
use crate::error::{Error, ErrorKind, Repr, Result};
use crate::simulation::Guard;

/// Some of a call's ops, in their order: those of one change, or such as do not say where they stand.
#[derive(Debug)]
pub(super) struct Part {
    ops: usize,
    pub(super) trace: Option<Trace>,
    standing: Standing,
}

/// What is to be done with a part.
#[derive(Debug)]
enum Standing {
    /// It is written.
    New,
    /// Something before it in its batch is the same, or comes behind it in its source: it takes effect with that, and what becomes of that is open. So its ops are kept.
    Covered(Vec<Op>),
    /// The log holds it already.
    Held,
}

impl Part {
    pub(super) fn new(ops: usize, trace: Option<Trace>) -> Self {
        Self { ops, trace, standing: Standing::New }
    }

    fn is_new(&self) -> bool {
        matches!(self.standing, Standing::New)
    }
}

/// A call in a batch; its ops are in the batch's list.
#[derive(Debug)]
pub(super) struct Member {
    source: Option<Source>,
    /// Those that are not new have no ops in the batch's list.
    parts: Vec<Part>,
    reply: oneshot::Sender<Result<Placed>>,
    permit: Permit,
    /// Why it fails if its batch lands: what comes before it in that comes behind it in its source.
    passed: Option<Error>,
}

/// Positions of sources whose append failed: what follows them has to wait until they come again.
pub(super) type Failed = HashMap<String, u128>;

impl Member {
    /// Of a call, and its ops.
    pub(super) fn of(call: Call) -> (Self, Vec<Op>) {
        let Call { ops, source, parts, reply, permit, .. } = call;
        (Self { source, parts, reply, permit, passed: None }, ops)
    }

    /// Nothing of it is written.
    fn is_known(&self) -> bool {
        !self.parts.iter().any(Part::is_new)
    }

    /// The log holds all of it already.
    fn is_held(&self) -> bool {
        self.parts.iter().all(|part| matches!(part.standing, Standing::Held))
    }

    fn traces(&self) -> impl Iterator<Item = &Trace> {
        self.parts.iter().filter_map(|part| part.trace.as_ref())
    }

    /// The sources whose order it keeps, and its positions there.
    pub(super) fn sources(&self) -> impl Iterator<Item = (&str, u128)> {
        let source = self.source.iter().map(|source| (&*source.name, source.position));
        source.chain(self.traces().map(|trace| (trace.source.as_str(), trace.position)))
    }

    /// The marks of what of it is written.
    pub(super) fn marks(&self) -> impl Iterator<Item = (&str, u128)> {
        let source = self.source.iter().filter(|_| !self.is_known());
        let traces = self.parts.iter().filter(|part| part.is_new()).filter_map(|part| part.trace.as_ref());
        let traces = traces.flat_map(|trace| trace.marks().map(|mark| (mark, trace.position)));
        source.map(|source| (&*source.name, source.position)).chain(traces)
    }

    /// Why it cannot be appended: what failed before it in its source.
    fn broken(&self, failed: &Failed) -> Option<Error> {
        let (name, first) = self.sources().find_map(|(name, position)| {
            let first = *failed.get(name)?;
            (position > first && Guard::FailedHoldsBack.holds()).then_some((name, first))
        })?;
        Some(
            Repr::SourceBroken { source_name: name.strip_prefix(SOURCE).unwrap_or(name).to_owned(), position: first }
                .into(),
        )
    }

    /// Sorts out anew what of it is written, by what the log holds and what comes before it in its batch: moves those ops from the old list of the batch to the new one, and keeps or drops the others. Returns it, and whether
    /// anything else is written than before; `None` where it cannot be appended, which its caller is told.
    pub(super) fn sift(
        mut self,
        ops: &mut impl Iterator<Item = Op>,
        written: &mut Vec<Op>,
        before: &HashMap<String, u128>,
        marks: &Marks,
        failed: &mut Failed,
    ) -> (Option<Self>, bool) {
        let was_new: Vec<bool> = self.parts.iter().map(Part::is_new).collect();
        let own = self.parts.iter_mut().map(|part| match &mut part.standing {
            Standing::New => ops.take(part.ops).collect(),
            Standing::Covered(kept) => std::mem::take(kept),
            Standing::Held => Vec::new(),
        });
        let own: Vec<Vec<Op>> = own.collect();
        if !self.is_held() {
            let looked = match self.broken(failed) {
                Some(error) => Err(error),
                None => {
                    for (name, _) in self.sources() {
                        failed.remove(name);
                    }
                    self.look(marks, before)
                }
            };
            if let Err(error) = looked {
                self.tell(Err(error));
                return (None, was_new.contains(&true));
            }
        }
        let mut changed = false;
        for ((part, own), was_new) in self.parts.iter_mut().zip(own).zip(was_new) {
            changed |= part.is_new() != was_new;
            match &mut part.standing {
                Standing::New => written.extend(own),
                Standing::Covered(kept) => *kept = own,
                Standing::Held => {}
            }
        }
        (Some(self), changed)
    }

    /// Tells the caller what became of its batch. After a failure the first position of each source is remembered.
    pub(super) fn decide(mut self, result: &Result<Placed>, failed: &mut Failed) {
        let answer = match result {
            Ok(_) if let Some(passed) = self.passed.take() => Err(passed),
            Ok(Placed::At(sequence)) if !self.is_known() => Ok(Placed::At(*sequence)),
            Ok(_) => Ok(Placed::Known),
            Err(error) => {
                // What can never be appended would hold up its source for good.
                if error.kind() != ErrorKind::InvalidInput {
                    for (name, position) in self.sources() {
                        failed.entry(name.to_owned()).or_insert(position);
                    }
                }
                Err(Error::clone(error))
            }
        };
        self.tell(answer);
    }

    fn tell(self, answer: Result<Placed>) {
        // First, so that the caller finds room for its next call.
        drop(self.permit);
        // A caller that is gone has nothing to hear.
        drop(self.reply.send(answer));
    }

    /// Finds out what is to be done with each part. An error where that cannot be told.
    fn look(&mut self, marks: &Marks, before: &HashMap<String, u128>) -> Result<()> {
        self.passed = None;
        if let Some(Source { name, position }) = &self.source {
            let is_held = marks.hold(name, *position);
            if is_held || before.get(&**name).is_some_and(|highest| highest >= position) {
                let standing = || if is_held { Standing::Held } else { Standing::Covered(Vec::new()) };
                self.parts.iter_mut().for_each(|part| part.standing = standing());
                return Ok(());
            }
        }
        // Of one call, too, each change may be behind another.
        let mut own: HashMap<String, u128> = HashMap::new();
        for part in self.parts.iter_mut().filter(|part| !matches!(part.standing, Standing::Held)) {
            part.standing = Standing::New;
            let Some(trace) = &part.trace else { continue };
            let in_log = |mark: &str| marks.position(mark);
            let position_of = |mark: &str| {
                let here = own.get(mark).copied().max(before.get(mark).copied());
                here.max(in_log(mark))
            };
            match trace.judge(position_of) {
                Verdict::New => trace.marks().for_each(|mark| raise(&mut own, mark, trace.position)),
                Verdict::Held if trace.judge(in_log) == Verdict::Held => part.standing = Standing::Held,
                Verdict::Held => part.standing = Standing::Covered(Vec::new()),
                Verdict::Passed if !Guard::PassedIsRefused.holds() => {}
                Verdict::Passed => {
                    let source_name = trace.source.strip_prefix(SOURCE).unwrap_or(&trace.source).to_owned();
                    let error = Repr::SourcePassed { source_name, position: trace.position }.into();
                    let without_others = |mark: &str| own.get(mark).copied().max(in_log(mark));
                    if trace.judge(without_others) == Verdict::Passed {
                        return Err(error);
                    }
                    self.passed = Some(error);
                    break;
                }
            }
        }
        if self.passed.is_some() {
            // By what is not in the log yet, and may never be: so nothing of it is written, and that it is refused is told when the batch has landed.
            for part in self.parts.iter_mut().filter(|part| part.is_new()) {
                part.standing = Standing::Covered(Vec::new());
            }
        }
        Ok(())
    }
}

pub(super) fn raise(marks: &mut HashMap<String, u128>, mark: &str, position: u128) {
    match marks.get_mut(mark) {
        Some(known) => *known = (*known).max(position),
        None => drop(marks.insert(mark.to_owned(), position)),
    }
}
