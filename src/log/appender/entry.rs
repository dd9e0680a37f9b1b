//! An append request in a batch: the groups of its ops to write, and the answer to its caller.

use std::collections::HashMap;

use deltafold_format::Op;
use tokio::sync::oneshot;

use super::super::dedup::{Decision, DedupKey, HighWaterMarks, SOURCE};
use super::group::{ChangeGroup, DedupStatus};
use super::request::{Answer, AppendRequest, AppendResult, Permit, Positions, Producer};
use super::run;
use crate::error::{Error, ErrorKind, Repr, Result};
use crate::simulation::Guard;

/// A request in a batch. Its ops are in the batch's list.
#[derive(Debug)]
pub(in crate::log) struct BatchEntry {
    producer: Option<Producer>,
    /// Groups that are not new have no ops in the batch's list.
    groups: Vec<ChangeGroup>,
    /// Ops of a run that the log holds. They are in no group any more.
    held: usize,
    reply: oneshot::Sender<Result<Answer>>,
    permit: Permit,
    /// The error if its batch lands: an earlier entry is a later change of its source.
    passed: Option<Error>,
}

/// Positions of producers whose append failed. Later positions must wait until these come again.
pub(in crate::log) type Failed = HashMap<String, u128>;

impl BatchEntry {
    /// The entry of a request, and its ops.
    pub(in crate::log) fn of(request: AppendRequest) -> (Self, Vec<Op>) {
        let AppendRequest { ops, producer, groups, reply, permit, .. } = request;
        (Self { producer, groups, held: 0, reply, permit, passed: None }, ops)
    }

    /// Whether none of its ops are to write.
    fn is_known(&self) -> bool {
        !self.groups.iter().any(ChangeGroup::is_new)
    }

    /// Whether the log holds all of its ops.
    fn is_held(&self) -> bool {
        self.groups.iter().all(|group| matches!(group.status, DedupStatus::Held))
    }

    fn keys(&self) -> impl Iterator<Item = &DedupKey> {
        self.groups.iter().filter_map(|group| group.key.as_ref())
    }

    /// The producers whose order it keeps, with its first positions.
    pub(in crate::log) fn positions(&self) -> impl Iterator<Item = (&str, u128)> {
        let producer = self.producer.iter().filter_map(|producer| Some((&*producer.name, producer.first()?)));
        producer.chain(self.keys().map(|key| (key.source.as_str(), key.position)))
    }

    /// The high-water marks of the ops to write.
    pub(in crate::log) fn marks(&self) -> impl Iterator<Item = (&str, u128)> {
        let producer = self.producer.iter().filter(|_| !self.is_known());
        let keys = self.groups.iter().filter(|group| group.is_new()).filter_map(|group| group.key.as_ref());
        let keys = keys.flat_map(|key| key.marks().map(|mark| (mark, key.position)));
        producer.filter_map(|producer| Some((&*producer.name, producer.last()?))).chain(keys)
    }

    /// The error of an entry behind a failed position of its producer.
    fn broken(&self, failed: &Failed) -> Option<Error> {
        let (name, first) = self.positions().find_map(|(name, position)| {
            let first = *failed.get(name)?;
            (position > first && Guard::FailedHoldsBack.holds()).then_some((name, first))
        })?;
        Some(
            Repr::SourceBroken { source_name: name.strip_prefix(SOURCE).unwrap_or(name).to_owned(), position: first }
                .into(),
        )
    }

    /// Decides each group again, by the marks of the log and of the earlier entries of the batch.
    ///
    /// Moves the ops of new groups from the old list of the batch to the new one, and keeps or
    /// drops the others. Returns the entry, and whether the list of ops to write changed. An entry
    /// that cannot be appended answers its caller, and is `None`.
    pub(in crate::log) fn deduplicate(
        mut self,
        ops: &mut impl Iterator<Item = Op>,
        written: &mut Vec<Op>,
        before: &HashMap<String, u128>,
        marks: &HighWaterMarks,
        failed: &mut Failed,
    ) -> (Option<Self>, bool) {
        if let Some(Producer { positions: Positions::Each(_), .. }) = &self.producer {
            return self.deduplicate_run(ops, written, before, marks, failed);
        }
        let was_new: Vec<bool> = self.groups.iter().map(ChangeGroup::is_new).collect();
        let own = self.groups.iter_mut().map(|group| match &mut group.status {
            DedupStatus::New => ops.take(group.ops).collect(),
            DedupStatus::Covered(kept) => std::mem::take(kept),
            DedupStatus::Held => Vec::new(),
        });
        let own: Vec<Vec<Op>> = own.collect();
        if !self.is_held() {
            let looked = match self.broken(failed) {
                Some(error) => Err(error),
                None => {
                    for (name, _) in self.positions() {
                        failed.remove(name);
                    }
                    self.decide_groups(marks, before)
                }
            };
            if let Err(error) = looked {
                self.answer(Err(error));
                return (None, was_new.contains(&true));
            }
        }
        let mut changed = false;
        for ((group, own), was_new) in self.groups.iter_mut().zip(own).zip(was_new) {
            changed |= group.is_new() != was_new;
            match &mut group.status {
                DedupStatus::New => written.extend(own),
                DedupStatus::Covered(kept) => *kept = own,
                DedupStatus::Held => {}
            }
        }
        (Some(self), changed)
    }

    /// [`deduplicate`](Self::deduplicate) of an entry whose ops have a position each.
    fn deduplicate_run(
        mut self,
        ops: &mut impl Iterator<Item = Op>,
        written: &mut Vec<Op>,
        before: &HashMap<String, u128>,
        marks: &HighWaterMarks,
        failed: &mut Failed,
    ) -> (Option<Self>, bool) {
        let broken = self.broken(failed);
        let Some(Producer { name, positions: Positions::Each(positions) }) = &mut self.producer else {
            return (Some(self), false);
        };
        let name: &str = name;
        let mut own = ops.take(self.groups.iter().filter(|group| group.is_new()).map(|group| group.ops).sum());
        if let Some(error) = broken {
            let any = own.by_ref().count() > 0;
            self.answer(Err(error));
            return (None, any);
        }
        if !positions.is_empty() {
            failed.remove(name);
        }
        let split = run::split(positions, |at| marks.hold(name, at), before.get(name).copied());
        let changed = run::regroup(&mut self.groups, positions, split, &mut own, written);
        self.held += split.held;
        (Some(self), changed)
    }

    /// Ops that others have appended, or are about to.
    fn duplicates(&self) -> usize {
        self.held + self.groups.iter().filter(|group| !group.is_new()).map(|group| group.ops).sum::<usize>()
    }

    /// Answers the caller. After a failure, `failed` keeps the first position of each producer.
    pub(in crate::log) fn decide(mut self, result: &Result<AppendResult>, failed: &mut Failed) {
        let duplicates = self.duplicates();
        let answer = match result {
            Ok(_) if let Some(passed) = self.passed.take() => Err(passed),
            Ok(AppendResult::At(sequence)) if !self.is_known() => {
                Ok(Answer { result: AppendResult::At(*sequence), duplicates })
            }
            Ok(_) => Ok(Answer { result: AppendResult::Known, duplicates }),
            Err(error) => {
                // Invalid ops can never be appended, and would block their producer for good.
                if error.kind() != ErrorKind::InvalidInput {
                    for (name, position) in self.positions() {
                        failed.entry(name.to_owned()).or_insert(position);
                    }
                }
                Err(Error::clone(error))
            }
        };
        self.answer(answer);
    }

    fn answer(self, answer: Result<Answer>) {
        // Comes first, so that the caller has room for its next request.
        drop(self.permit);
        // The caller may be gone.
        drop(self.reply.send(answer));
    }

    /// Decides each group. An error if the log holds a later change of its records.
    fn decide_groups(&mut self, marks: &HighWaterMarks, before: &HashMap<String, u128>) -> Result<()> {
        self.passed = None;
        if let Some(Producer { name, positions: Positions::Together(position) }) = &self.producer {
            let is_held = marks.hold(name, *position);
            if is_held || before.get(&**name).is_some_and(|highest| highest >= position) {
                let status = || if is_held { DedupStatus::Held } else { DedupStatus::Covered(Vec::new()) };
                self.groups.iter_mut().for_each(|group| group.status = status());
                return Ok(());
            }
        }
        // Within one request, too, a change may come behind a later one.
        let mut own: HashMap<String, u128> = HashMap::new();
        for group in self.groups.iter_mut().filter(|group| !matches!(group.status, DedupStatus::Held)) {
            group.status = DedupStatus::New;
            let Some(key) = &group.key else { continue };
            let in_log = |mark: &str| marks.position(mark);
            let position_of = |mark: &str| {
                let here = own.get(mark).copied().max(before.get(mark).copied());
                here.max(in_log(mark))
            };
            match key.judge(position_of) {
                Decision::New => key.marks().for_each(|mark| raise(&mut own, mark, key.position)),
                Decision::Held if key.judge(in_log) == Decision::Held => group.status = DedupStatus::Held,
                Decision::Held => group.status = DedupStatus::Covered(Vec::new()),
                Decision::Passed if !Guard::PassedIsRefused.holds() => {}
                Decision::Passed => {
                    let source_name = key.source.strip_prefix(SOURCE).unwrap_or(&key.source).to_owned();
                    let error = Repr::SourcePassed { source_name, position: key.position }.into();
                    let without_others = |mark: &str| own.get(mark).copied().max(in_log(mark));
                    if key.judge(without_others) == Decision::Passed {
                        return Err(error);
                    }
                    self.passed = Some(error);
                    break;
                }
            }
        }
        if self.passed.is_some() {
            // The later change is not in the log yet, and may never be. So none of the ops are
            // written, and the caller gets the refusal when the batch has landed.
            for group in self.groups.iter_mut().filter(|group| group.is_new()) {
                group.status = DedupStatus::Covered(Vec::new());
            }
        }
        Ok(())
    }
}

pub(in crate::log) fn raise(marks: &mut HashMap<String, u128>, mark: &str, position: u128) {
    match marks.get_mut(mark) {
        Some(known) => *known = (*known).max(position),
        None => drop(marks.insert(mark.to_owned(), position)),
    }
}
