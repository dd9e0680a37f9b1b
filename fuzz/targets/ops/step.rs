//! The actions that an input encodes.

use std::collections::BTreeMap;

use deltafold::format::{Action, Change, Metadata, Op, Patch, Record, Revision, ShardId, Value};
use deltafold_fuzz::Choices;

/// The numbers of writers and of sources.
pub(crate) const WRITERS: usize = 2;
pub(crate) const SOURCES: usize = 2;

/// An action. Numbers of writers, sources and compactors are places in the world's lists.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Append {
        writer: usize,
        batch: Batch,
    },
    /// The next position of a source, or one that was acknowledged before. `batch` is for a new
    /// position.
    From {
        writer: usize,
        source: usize,
        batch: Batch,
        again: Option<u8>,
    },
    Fold(usize),
    Tick(usize),
    MergeAll(usize),
    Sweep {
        keep: u64,
    },
    Pin(u8),
    Unpin(u8),
    ReadPin(u8),
    Open,
    Refresh,
    Follow(ShardId),
    /// Drops the writer, and puts another in its place.
    Replace(usize),
    Together(Vec<Step>),
}

/// Ops for one shard. The first op names the batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Batch {
    pub(crate) number: i64,
    pub(crate) shard: ShardId,
    pub(crate) ops: Vec<Op>,
}

/// The number in the op that a batch begins with.
pub(crate) fn number_of(op: &Op) -> Option<i64> {
    match &op.action {
        Action::Put(record) if op.id.starts_with("batch") => match record.metadata.get("number") {
            Some(Value::I64(number)) => Some(*number),
            _ => None,
        },
        _ => None,
    }
}

/// Turns choices into actions.
#[derive(Debug)]
pub(crate) struct Steps<'a> {
    choices: Choices<'a>,
    by_revision: bool,
    /// The ids of each shard; the first is for the op that names the batch.
    ids: Vec<(ShardId, String, Vec<String>)>,
    batches: i64,
    ops: u128,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(choices: Choices<'a>, shards: u16, by_revision: bool) -> Self {
        let of = |shard, name: &'static str| {
            (0..).map(move |number| format!("{name}{number}")).filter(move |id| ShardId::of(id, shards) == shard)
        };
        let ids = ShardId::all(shards).map(|shard| {
            let batch = of(shard, "batch").next().expect("some id of endlessly many is the shard's");
            (shard, batch, of(shard, "é").take(2).chain(of(shard, "a").take(4)).collect())
        });
        Self { choices, by_revision, ids: ids.collect(), batches: 0, ops: 0 }
    }

    /// The next action, until the choices are used up.
    pub(crate) fn next(&mut self) -> Option<Step> {
        (!self.choices.is_empty()).then(|| self.step(true))
    }

    fn step(&mut self, may_nest: bool) -> Step {
        let byte = self.choices.byte();
        let number = usize::from(byte >> 5);
        match byte & 0x1f {
            0..=8 => Step::Append { writer: number % WRITERS, batch: self.batch() },
            9..=11 => {
                Step::From { writer: number % WRITERS, source: number / 2 % SOURCES, batch: self.batch(), again: None }
            }
            12 => {
                let again = Some(self.choices.byte());
                Step::From { writer: number % WRITERS, source: number / 2 % SOURCES, batch: self.batch(), again }
            }
            13..=14 => Step::Fold(number % 2),
            15..=16 => Step::Tick(number % 2),
            17..=18 => Step::MergeAll(number % 2),
            19..=20 => Step::Sweep { keep: number as u64 / 4 },
            21 => Step::Pin(byte >> 6),
            22 => Step::Unpin(byte >> 6),
            23 => Step::ReadPin(byte >> 6),
            24 => Step::Open,
            25 => Step::Refresh,
            26 => {
                Step::Follow(self.ids.get(number % self.ids.len()).map_or_else(ShardId::default, |(shard, ..)| *shard))
            }
            27 => Step::Replace(number % WRITERS),
            _ if may_nest => Step::Together((0..2 + number % 3).map(|_| self.step(false)).collect()),
            _ => Step::Tick(number % 2),
        }
    }

    fn batch(&mut self) -> Batch {
        let byte = self.choices.byte();
        let place = usize::from(byte) % self.ids.len();
        let (shard, first, ids) = self.ids.get(place).cloned().expect("there is a shard");
        let number = self.batches;
        self.batches += 1;
        let metadata = Metadata::from([("number".to_owned(), Value::I64(number))]);
        let mut ops = vec![Op::put(first, Record { metadata, ..Record::default() })];
        for _ in 0..byte >> 6 {
            let id = ids.get(self.choices.below(ids.len())).cloned().expect("it is below their number");
            let action = self.action();
            ops.push(Op::new(id, action));
        }
        if self.by_revision {
            for op in &mut ops {
                // Each revision differs, so that only revisions decide.
                self.ops += 1;
                op.revision = Some(Revision::new(u128::from(self.choices.byte()) << 64 | self.ops));
            }
        }
        Batch { number, shard, ops }
    }

    fn action(&mut self) -> Action {
        match self.choices.below(5) {
            0 => Action::Put(self.record()),
            1 if !self.by_revision => Action::Add(self.record()),
            2 => Action::Patch(self.patch()),
            3 => Action::Upsert(self.patch()),
            _ => Action::Delete,
        }
    }

    fn record(&mut self) -> Record {
        let byte = self.choices.byte();
        let metadata = ["k", "l"].iter().enumerate().filter(|(place, _)| byte >> place & 1 == 1);
        let metadata = metadata.map(|(_, key)| ((*key).to_owned(), self.value())).collect::<Vec<_>>();
        Record {
            embedding: (byte & 4 != 0).then(|| self.embedding()),
            metadata: metadata.into_iter().collect(),
            document: (byte & 8 != 0).then(|| self.text()),
        }
    }

    fn patch(&mut self) -> Patch {
        let byte = self.choices.byte();
        let mut metadata = BTreeMap::new();
        for (place, key) in ["k", "l"].into_iter().enumerate() {
            match byte >> (2 * place) & 3 {
                0 | 1 => {}
                2 => drop(metadata.insert(key.to_owned(), None)),
                _ => drop(metadata.insert(key.to_owned(), Some(self.value()))),
            }
        }
        let embedding = match byte >> 4 & 3 {
            0 | 1 => Change::Keep,
            2 => Change::Clear,
            _ => Change::Set(self.embedding()),
        };
        let document = match byte >> 6 {
            0 | 1 => Change::Keep,
            2 => Change::Clear,
            _ => Change::Set(self.text()),
        };
        Patch { embedding, metadata, document }
    }

    fn embedding(&mut self) -> Vec<f32> {
        vec![f32::from(self.choices.byte()), -1.5]
    }

    fn text(&mut self) -> String {
        "ä".repeat(self.choices.below(4))
    }

    fn value(&mut self) -> Value {
        let byte = self.choices.byte();
        match byte % 4 {
            0 => Value::I64(i64::from(byte)),
            1 => Value::String(self.text()),
            2 => Value::F64(-0.5),
            _ => Value::Bools(vec![true; usize::from(byte >> 6)]),
        }
    }
}
