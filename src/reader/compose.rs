//! What older and newer rows of one id come to.

use std::ops::Range;
use std::sync::Arc;

use deltafold_format::{EmbeddingRef, Form, Op, PartMeta, Patch, Position, Record, Segment, Stored, Transition};

use super::layer::Layer;

/// Where an embedding lies.
#[derive(Debug, Clone)]
pub(super) enum EmbeddingSource {
    /// In a segment that is not folded yet.
    Log {
        /// The segment.
        segment: Arc<Segment>,
        /// Its embedding row.
        row: u32,
    },
    /// In an embedding object.
    Stored(EmbeddingRef),
}

/// What one run or one layer of the log says of an id.
#[derive(Debug)]
pub(super) enum Row<'a> {
    /// A row of a part.
    Part(&'a PartMeta, usize),
    /// Ops of one id in a layer, at least one.
    Log(&'a Layer, Range<usize>),
}

impl Row<'_> {
    /// What it does to the id.
    fn transition(self) -> Transition<EmbeddingSource> {
        match self {
            Self::Part(part, row) => part.transition(row).map_embedding(&mut EmbeddingSource::Stored),
            Self::Log(layer, ops) => {
                let transition = |(position, op, segment): (Position, &Op<u32>, &Arc<Segment>)| {
                    let source = |row| EmbeddingSource::Log { segment: segment.clone(), row };
                    Transition::from_op(op.clone().map_embedding(source).action, position)
                };
                layer.ops(ops).map(transition).reduce(Transition::then).unwrap_or_else(unchanged)
            }
        }
    }

    /// What it does to the id's presence and positions; the record it holds is left empty, so that this costs no allocation.
    pub(super) fn outline(&self) -> Transition<()> {
        match self {
            Self::Part(part, row) => part_outline(part, *row),
            Self::Log(layer, ops) => {
                let outline = |(position, op, _): (Position, &Op<u32>, &Arc<Segment>)| op_outline(op, position);
                layer.ops(ops.clone()).map(outline).reduce(Transition::then).unwrap_or_else(unchanged)
            }
        }
    }
}

/// The transition of no ops at all.
fn unchanged<E>() -> Transition<E> {
    Transition::Modify { absent: None, patch: Patch::default(), changed: None }
}

fn bare(inserted: Position, changed: Position) -> Stored<()> {
    Stored { record: Record::default(), inserted, changed }
}

fn part_outline(part: &PartMeta, row: usize) -> Transition<()> {
    let stored = || Some(bare(part.inserted(row), part.changed(row)));
    match part.form(row) {
        Form::Put => Transition::Replace { record: stored(), renewed: part.renewed(row) },
        Form::Delete => Transition::TOMBSTONE,
        Form::Patch => unchanged(),
        Form::Upsert | Form::Add | Form::Split => {
            Transition::Modify { absent: stored(), patch: Patch::default(), changed: None }
        }
    }
}

fn op_outline(op: &Op<u32>, position: Position) -> Transition<()> {
    use deltafold_format::Action;
    let stored = || Some(bare(position, position));
    match op.action {
        Action::Put(_) => Transition::Replace { record: stored(), renewed: false },
        Action::Delete => Transition::TOMBSTONE,
        Action::Patch(_) => unchanged(),
        Action::Upsert(_) | Action::Add(_) => {
            Transition::Modify { absent: stored(), patch: Patch::default(), changed: None }
        }
    }
}

/// Composes the rows of one id from the newest to the oldest, and no more of them than matter.
#[derive(Debug, Default)]
pub(super) enum Composer {
    /// Nothing was found yet.
    #[default]
    Nothing,
    /// Older rows may show through.
    Open(Transition<EmbeddingSource>),
    /// The record is known; where it was inserted is what older rows may still tell.
    Known(Stored<EmbeddingSource>, Transition<()>),
    /// The id is gone.
    Gone,
}

impl Composer {
    /// Adds the row that lies under those added before.
    pub(super) fn under(&mut self, older: Row<'_>) {
        *self = match std::mem::take(self) {
            Self::Nothing => Self::of(older.transition()),
            Self::Open(newer) => Self::of(older.transition().then(newer)),
            Self::Known(record, newer) => Self::Known(record, older.outline().then(newer)),
            Self::Gone => Self::Gone,
        };
    }

    fn of(transition: Transition<EmbeddingSource>) -> Self {
        match transition {
            Transition::Replace { record: None, .. } => Self::Gone,
            Transition::Replace { record: Some(stored), renewed } => {
                let outline = Transition::Replace { record: Some(bare(stored.inserted, stored.changed)), renewed };
                Self::Known(stored, outline)
            }
            open @ Transition::Modify { .. } => Self::Open(open),
        }
    }

    /// Whether older rows cannot matter any more.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Nothing | Self::Open(_) => false,
            Self::Known(_, outline) => outline.is_final(),
            Self::Gone => true,
        }
    }

    /// The record, when nothing lies under what was added.
    pub(super) fn finish(self) -> Option<Stored<EmbeddingSource>> {
        match self {
            Self::Nothing | Self::Gone => None,
            Self::Open(transition) => transition.resolve(None),
            Self::Known(mut stored, outline) => {
                if let Some(bare) = outline.resolve(None) {
                    stored.inserted = bare.inserted;
                }
                Some(stored)
            }
        }
    }
}
