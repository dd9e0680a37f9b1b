//! Metadata columns under construction.

use std::collections::BTreeMap;

use super::meta::PartMeta;
use super::presence::Presence;
use super::values::{self, ArchivedValues, TYPES, Values};
use crate::record::Value;

/// Bytes of a column besides key, values and presence, with the padding of its vectors.
const COLUMN_BYTES: usize = 128;
/// Most bytes of a value's presence.
const PRESENCE_BYTES: usize = 5;
/// Parts with remembered column places. A merge copies from one part a run at a time.
const REMEMBERED: usize = 32;

/// The metadata columns of a part under construction.
#[derive(Debug, Default)]
pub(super) struct MetadataBuilder {
    columns: Vec<Column>,
    /// By key: the place in `columns` of the column of each type.
    by_key: BTreeMap<String, [Option<usize>; TYPES]>,
    /// By the serial of a part: the place in `columns` of each of its columns.
    places: Vec<(u64, Vec<usize>)>,
    bytes: usize,
}

#[derive(Debug)]
struct Column {
    /// Payloads with a value, ascending.
    present: Vec<u32>,
    values: Values,
}

impl MetadataBuilder {
    /// Upper estimate of the bytes of the columns.
    pub(super) fn estimated_bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the value of a payload under a key. `None` removes the key.
    pub(super) fn push(&mut self, payload: u32, key: &str, value: Option<&Value>) {
        let place = self.place(key, values::kind(value));
        if let Some(column) = self.columns.get_mut(place) {
            column.present.push(payload);
            column.values.push(value);
            self.bytes += values::bytes_of(value) + PRESENCE_BYTES;
        }
    }

    /// Adds, as `payload`, all values of a row of another part with these columns.
    pub(super) fn copy(&mut self, part: &PartMeta, all: &[&ArchivedValues], row: usize, payload: u32) {
        let known = self.places.iter().position(|(serial, _)| *serial == part.serial());
        let (serial, places) = match known {
            Some(known) => self.places.swap_remove(known),
            None => (part.serial(), self.places_of(part)),
        };
        for (column, place) in all.iter().zip(&places) {
            if let Some(rank) = column.presence.rank(row)
                && let Some(to) = self.columns.get_mut(*place)
            {
                to.present.push(payload);
                self.bytes += to.values.copy(column, rank) + PRESENCE_BYTES;
            }
        }
        if self.places.len() >= REMEMBERED {
            self.places.remove(0);
        }
        self.places.push((serial, places));
    }

    /// The columns of a part with this number of payloads, with their keys, in order.
    pub(super) fn finish(mut self, payloads: usize) -> Vec<(String, Values)> {
        let mut finished = Vec::new();
        for (key, places) in &self.by_key {
            for place in places.iter().flatten() {
                // A column made for a part copied from may have no value.
                if let Some(column) = self.columns.get_mut(*place).filter(|column| !column.present.is_empty()) {
                    let mut values = std::mem::take(&mut column.values);
                    values.presence = Presence::of(std::mem::take(&mut column.present), payloads);
                    finished.push((key.clone(), values));
                }
            }
        }
        finished
    }

    fn places_of(&mut self, part: &PartMeta) -> Vec<usize> {
        part.directory().columns.iter().map(|column| self.place(&column.key, column.kind)).collect()
    }

    /// The place of the column of a key and type. Makes the column if there is none.
    fn place(&mut self, key: &str, kind: u32) -> usize {
        let kind_at = kind as usize;
        if let Some(Some(place)) = self.by_key.get(key).and_then(|places| places.get(kind_at)) {
            return *place;
        }
        let place = self.columns.len();
        self.columns.push(Column { present: Vec::new(), values: Values::new(kind) });
        self.bytes += key.len() + COLUMN_BYTES;
        if let Some(slot) = self.by_key.entry(key.to_owned()).or_default().get_mut(kind_at) {
            *slot = Some(place);
        }
        place
    }
}
