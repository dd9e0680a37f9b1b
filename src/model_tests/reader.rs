//! Readers of three kinds. A reader opens, reads its parts, and refreshes. A lister is a reader
//! that lists the log first and then reads the head. A follower reads slot after slot.

use super::bounds::Guards;
use super::store::{LIVE, OpId, Snapshot, Store, Truth, VIEW};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Reader {
    /// The ops acknowledged before it began to open or refresh.
    acked: Vec<OpId>,
    current: Option<Snapshot>,
    /// The log behind the last segment that `current` has folded.
    overlay: Vec<(u64, OpId)>,
    refreshed: bool,
    /// The slots of the log, for a lister, in the order in which its LIST visits them.
    names: Vec<u64>,
    at: At,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum At {
    Look,
    /// Checks whether the next of `names` exists. Holds those that did. A LIST is not atomic.
    Names(Vec<u64>),
    /// Reads the head after the names.
    Head(Vec<u64>),
    List,
    /// Reads these slots. The flag says whether no segment behind a gap follows.
    Get(u64, u64, bool),
    /// Reads slot after slot until one is empty.
    Probe,
    /// Checks whether the head moved. The log was read up to before this slot, or (0) not to its
    /// end.
    LookAgain(u64),
    Parts,
    Ended,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            acked: Vec::new(),
            current: None,
            overlay: Vec::new(),
            refreshed: false,
            names: Vec::new(),
            at: At::Look,
        }
    }

    /// A reader that lists the log first. Its LIST visits the slots in this order.
    pub(super) fn lister(names: impl Iterator<Item = u64>) -> Self {
        Self { names: names.collect(), ..Self::new() }
    }

    pub(super) fn ended(&self) -> bool {
        self.at == At::Ended
    }

    pub(super) fn read(&mut self, store: &Store, truth: &mut Truth, guards: &Guards) {
        match self.at.clone() {
            At::Look => {
                self.acked.clone_from(&truth.acked);
                if self.names.is_empty() || !guards.log_first {
                    self.current = Some(store.head.clone());
                }
                self.at = if self.names.is_empty() { At::List } else { At::Names(Vec::new()) };
            }
            At::Names(mut seen) => {
                let slot = self.names.remove(0);
                if store.log.contains_key(&slot) {
                    seen.push(slot);
                    seen.sort_unstable();
                }
                self.at = if self.names.is_empty() { At::Head(seen) } else { At::Names(seen) };
            }
            At::Head(mut seen) => {
                if guards.log_first {
                    self.current = Some(store.head.clone());
                }
                let folded = self.tail();
                seen.retain(|slot| *slot > folded);
                match seen.last() {
                    None => self.opened(truth),
                    Some(last) if *last == folded + seen.len() as u64 => self.at = At::Get(folded + 1, *last, true),
                    // A name does not join on: fall back to reading the head first.
                    Some(_) => self.at = At::List,
                }
            }
            At::List => {
                let tail = self.tail();
                let (slots, whole) = store.list(tail);
                let last = tail + slots.len() as u64;
                self.at = match (slots.is_empty(), whole) {
                    (true, true) => At::LookAgain(last + 1),
                    (true, false) => At::LookAgain(0),
                    (false, whole) => At::Get(tail + 1, last, whole),
                };
            }
            At::Get(next, last, whole) => match store.log.get(&next) {
                None => self.at = At::LookAgain(0),
                Some(segment) => {
                    self.overlay.push((next, segment.op));
                    self.at = match next == last {
                        true if whole => At::LookAgain(last + 1),
                        true => At::LookAgain(0),
                        false => At::Get(next + 1, last, whole),
                    };
                }
            },
            At::Probe => {
                let next = self.tail() + 1;
                match store.log.get(&next) {
                    None => self.at = At::LookAgain(next),
                    Some(segment) => self.overlay.push((next, segment.op)),
                }
            }
            At::LookAgain(end) => {
                let same = self.current.as_ref() == Some(&store.head);
                if !guards.look_again || (same && end > 0) {
                    return self.opened(truth);
                }
                if same {
                    truth.breaks("a log without a sweep has no holes");
                    return;
                }
                self.current = Some(store.head.clone());
                let folded = store.head.folded.get();
                self.overlay.retain(|(slot, _)| *slot > folded);
                if self.overlay.first().is_some_and(|(slot, _)| *slot != folded + 1) {
                    self.overlay.clear();
                }
                if store.head.truncated.get() <= end {
                    self.opened(truth);
                } else {
                    self.at = At::List;
                }
            }
            At::Parts => {
                let Some(current) = &self.current else { return };
                let missing =
                    current.runs.iter().flat_map(|run| &run.parts).any(|part| !store.parts.contains_key(&part.name));
                // `Superseded` is only for versions that a sweep has passed.
                if missing && current.version >= store.head.sweep_floor {
                    truth.breaks(LIVE);
                }
                if self.refreshed {
                    *self = Self { at: At::Ended, ..Self::new() };
                } else {
                    self.refreshed = true;
                    self.acked.clone_from(&truth.acked);
                    self.at = At::Probe;
                }
            }
            At::Ended => {}
        }
    }

    fn tail(&self) -> u64 {
        let folded = self.current.as_ref().map_or(0, |current| current.folded.get());
        self.overlay.last().map_or(folded, |(slot, _)| *slot)
    }

    /// The reader must see the log up to some slot, with all that was acknowledged before it began.
    fn opened(&mut self, truth: &mut Truth) {
        let folded = self.current.as_ref().map_or(0, |current| current.folded.get());
        // The folded ops are checked where they are published. Here, check those that follow.
        let seen = usize::try_from(folded).unwrap() + self.overlay.len();
        let behind = truth.log.iter().copied().enumerate().skip(usize::try_from(folded).unwrap());
        let follows =
            self.overlay.iter().copied().eq(behind.take(self.overlay.len()).map(|(i, op)| (i as u64 + 1, op)));
        let all = self.acked.iter().all(|op| truth.log.iter().take(seen).any(|logged| logged == op));
        if !follows || !all {
            truth.breaks(VIEW);
        }
        self.at = At::Parts;
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Follower {
    /// The slot to read next; 0 before the head was read.
    next: u64,
    /// The op that was read and is not handed on yet.
    read: Option<OpId>,
    /// Whether the slot was empty.
    absent: bool,
    ended: bool,
}

impl Follower {
    pub(super) fn new() -> Self {
        Self { next: 0, read: None, absent: false, ended: false }
    }

    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    pub(super) fn read(&mut self, store: &Store, truth: &mut Truth, guards: &Guards) {
        let truncated = store.head.truncated.get();
        if self.next == 0 {
            self.next = 1;
            self.ended = self.next < truncated;
        } else if self.absent || self.read.is_some() {
            // A gap is a true error.
            if self.next < truncated {
                self.ended = true;
            } else if let Some(op) = self.read.take() {
                self.hand_on(op, truth);
            } else {
                self.ended = true;
            }
        } else {
            match store.log.get(&self.next) {
                None => self.absent = true,
                Some(segment) if guards.look_again => self.read = Some(segment.op),
                Some(segment) => self.hand_on(segment.op, truth),
            }
        }
    }

    fn hand_on(&mut self, op: OpId, truth: &mut Truth) {
        let index = usize::try_from(self.next - 1).unwrap();
        if truth.log.get(index) != Some(&op) {
            truth.breaks(VIEW);
        }
        self.next += 1;
    }
}
