//! The kernels in plain Rust. They define the results of the others.

use super::query::TABLE_OFFSET;
use super::rows::Rows;

/// Multiplies a query with each 8-bit row.
pub(super) fn byte_dots<T: Copy + Into<i32>>(query: &[T], rows: Rows<'_, i8>, out: &mut [i32]) {
    each(rows, query.len(), out, |row| byte_dot(query, row));
}

/// Sets the dot of each wanted row.
fn each<T: Copy>(rows: Rows<'_, T>, stride: usize, out: &mut [i32], of: impl Fn(&[T]) -> i32) {
    match rows.picks() {
        None => {
            for (dot, row) in out.iter_mut().zip(rows.codes().chunks_exact(stride.max(1))) {
                *dot = of(row);
            }
        }
        Some(picks) => {
            for place in picks.iter().map(|pick| rows.place(*pick)) {
                let row = rows.codes().get(place * stride..(place + 1) * stride);
                if let (Some(dot), Some(row)) = (out.get_mut(place), row) {
                    *dot = of(row);
                }
            }
        }
    }
}

/// The query's integers are small enough that no sum of products overflows, in any order.
#[inline(always)]
pub(super) fn byte_dot<T: Copy + Into<i32>>(query: &[T], row: &[i8]) -> i32 {
    query.iter().zip(row).fold(0_i32, |sum, (integer, code)| sum.wrapping_add((*integer).into() * i32::from(*code)))
}

/// Sums a query's integers, each negated if the row's bit is set.
pub(super) fn sign_dots(tables: &[[u8; 16]], rows: Rows<'_, u8>, out: &mut [i32]) {
    let offset = TABLE_OFFSET * tables.len() as i32;
    let pairs = tables.as_chunks::<2>().0;
    each(rows, pairs.len(), out, |row| {
        let sum = row.iter().zip(pairs).fold(0_i32, |sum, (byte, [low, high])| {
            sum + i32::from(low[usize::from(byte & 15)]) + i32::from(high[usize::from(byte >> 4)])
        });
        sum - offset
    });
}
