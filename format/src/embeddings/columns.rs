//! The codes of rows in an object under construction.

use super::read::RowCodes;
use crate::codes::{Factors, sign_bytes};

/// The codes of rows, in columns.
#[derive(Debug, Default)]
pub(super) struct CodeColumns {
    pub(super) norms: Vec<f32>,
    pub(super) estimators: Vec<f32>,
    pub(super) signs: Vec<u8>,
    pub(super) scales: Vec<f32>,
    pub(super) residuals: Vec<f32>,
    pub(super) bytes: Vec<u8>,
}

/// The place of one row's codes.
pub(super) struct Slot<'a> {
    pub(super) signs: &'a mut [u8],
    pub(super) bytes: &'a mut [u8],
    pub(super) factors: FactorSlot<'a>,
}

/// The place of one row's factors.
pub(super) struct FactorSlot<'a> {
    norm: &'a mut f32,
    estimator: &'a mut f32,
    scale: &'a mut f32,
    residual: &'a mut f32,
}

impl CodeColumns {
    /// Makes room for this many rows.
    pub(super) fn resize(&mut self, rows: usize, dimension: u32) {
        for column in [&mut self.norms, &mut self.estimators, &mut self.scales, &mut self.residuals] {
            column.resize(rows, 0.0);
        }
        self.signs.resize(rows * sign_bytes(dimension), 0);
        self.bytes.resize(rows * dimension as usize, 0);
    }

    /// The place of a row, if there is room for it.
    pub(super) fn slot(&mut self, row: u32, dimension: u32) -> Option<Slot<'_>> {
        let row = row as usize;
        let (signs, bytes) = (sign_bytes(dimension), dimension as usize);
        Some(Slot {
            signs: self.signs.get_mut(row * signs..(row + 1) * signs)?,
            bytes: self.bytes.get_mut(row * bytes..(row + 1) * bytes)?,
            factors: FactorSlot {
                norm: self.norms.get_mut(row)?,
                estimator: self.estimators.get_mut(row)?,
                scale: self.scales.get_mut(row)?,
                residual: self.residuals.get_mut(row)?,
            },
        })
    }
}

impl Slot<'_> {
    /// Copies codes of the same dimension.
    pub(super) fn set(self, codes: &RowCodes<'_>) {
        self.signs.copy_from_slice(codes.signs);
        self.bytes.copy_from_slice(codes.bytes);
        self.factors.set(codes.factors);
    }
}

impl FactorSlot<'_> {
    pub(super) fn set(self, factors: Factors) {
        *self.norm = factors.norm;
        *self.estimator = factors.estimator;
        *self.scale = factors.scale;
        *self.residual = factors.residual;
    }
}
