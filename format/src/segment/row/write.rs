//! Writes a row.

use super::tag::{
    ADD, BOOL, BOOLS, CLEAR, DELETE, F64, F64S, I64, I64S, KEEP, PATCH, PUT, REMOVED, REVISED, SET, STRING, STRINGS,
    UPSERT,
};
use crate::codec::Writer;
use crate::op::{Action, Op};
use crate::record::{Change, Value};

/// Appends the op without its embedding's numbers.
pub(in crate::segment) fn write<E>(out: &mut Writer, op: &Op<E>) {
    let tag = match &op.action {
        Action::Put(_) => PUT,
        Action::Upsert(_) => UPSERT,
        Action::Add(_) => ADD,
        Action::Patch(_) => PATCH,
        Action::Delete => DELETE,
    };
    match op.revision {
        None => {
            out.u8(tag);
            out.string(&op.id);
        }
        Some(revision) => {
            out.u8(tag | REVISED);
            out.string(&op.id);
            out.u128(revision.get());
        }
    }
    match &op.action {
        Action::Put(record) | Action::Add(record) => {
            out.u8(if record.embedding.is_some() { SET } else { KEEP });
            match &record.document {
                None => out.u8(KEEP),
                Some(text) => {
                    out.u8(SET);
                    out.string(text);
                }
            }
            out.count(record.metadata.len());
            for (key, value) in &record.metadata {
                out.string(key);
                write_value(out, value);
            }
        }
        Action::Upsert(patch) | Action::Patch(patch) => {
            out.u8(state(&patch.embedding));
            out.u8(state(&patch.document));
            if let Change::Set(text) = &patch.document {
                out.string(text);
            }
            out.count(patch.metadata.len());
            for (key, value) in &patch.metadata {
                out.string(key);
                match value {
                    None => out.u8(REMOVED),
                    Some(value) => write_value(out, value),
                }
            }
        }
        Action::Delete => {}
    }
}

fn state<T>(change: &Change<T>) -> u8 {
    match change {
        Change::Keep => KEEP,
        Change::Clear => CLEAR,
        Change::Set(_) => SET,
    }
}

fn write_value(out: &mut Writer, value: &Value) {
    fn list<T>(out: &mut Writer, tag: u8, items: &[T], mut item: impl FnMut(&mut Writer, &T)) {
        out.u8(tag);
        out.count(items.len());
        for each in items {
            item(out, each);
        }
    }
    match value {
        Value::String(text) => {
            out.u8(STRING);
            out.string(text);
        }
        Value::I64(number) => {
            out.u8(I64);
            out.i64(*number);
        }
        Value::F64(number) => {
            out.u8(F64);
            out.f64(*number);
        }
        Value::Bool(value) => {
            out.u8(BOOL);
            out.bool(*value);
        }
        Value::Strings(texts) => list(out, STRINGS, texts, |out, text| out.string(text)),
        Value::I64s(numbers) => list(out, I64S, numbers, |out, number| out.i64(*number)),
        Value::F64s(numbers) => list(out, F64S, numbers, |out, number| out.f64(*number)),
        Value::Bools(values) => list(out, BOOLS, values, |out, value| out.bool(*value)),
    }
}
