//! Loops over rows that are the same on every machine.
//!
//! They are macros, because functions with target features cannot be passed to others that lack
//! them. For the same reason no closure is passed to a method here: the call would not be inlined.

/// Wanted rows, in fours, that come from memory while the first queries are compared with others.
/// The machine guesses those of a scan without gaps.
pub(super) const AHEAD: usize = 3;

/// Makes `$dots`, which takes `$together` queries of `$integer` at once and four rows at once, from
/// `$block`.
macro_rules! byte_loops {
    ($dots:ident, $block:ident, $integer:ty, $together:literal $(, $feature:meta)?) => {
        $(#[$feature])?
        fn $dots(queries: &[&[$integer]], rows: Rows<'_, i8>, dots: &mut Dots<'_>) {
            /// The dots of `Q` queries, of which the first has this number.
            $(#[$feature])?
            fn of<const Q: usize>(queries: [&[$integer]; Q], rows: Rows<'_, i8>, first: usize, dots: &mut Dots<'_>) {
                let dimension = queries[0].len();
                let Some(picks) = rows.picks() else {
                    let (fours, count) = (rows.codes().chunks_exact(4 * dimension), dots.len());
                    let rest = fours.remainder();
                    for (codes, row) in fours.zip((0..).step_by(4)) {
                        let mut four = [codes; 4];
                        for (row, four) in four.iter_mut().enumerate() {
                            *four = &codes[row * dimension..][..dimension];
                        }
                        for (found, query) in $block::<4, Q>(queries, four).iter().zip(first..) {
                            dots.of(query)[row..][..4].copy_from_slice(found);
                        }
                    }
                    for (codes, row) in rest.chunks_exact(dimension).zip(count / 4 * 4..) {
                        for ([dot], query) in $block::<1, Q>(queries, [codes]).iter().zip(first..) {
                            dots.of(query)[row] = *dot;
                        }
                    }
                    return;
                };
                let codes = |place: usize| &rows.codes()[place * dimension..][..dimension];
                let (fours, rest) = picks.as_chunks::<4>();
                for (number, picks) in fours.iter().enumerate() {
                    if first == 0
 && let Some(ahead) = fours.get(number + AHEAD) {
                        ahead.iter().for_each(|pick| super::prefetch(codes(rows.place(*pick))));
                    }
                    let (mut places, mut four) = ([0; 4], [rows.codes(); 4]);
                    for ((place, four), pick) in places.iter_mut().zip(&mut four).zip(picks) {
                        *place = rows.place(*pick);
                        *four = codes(*place);
                    }
                    for (found, query) in $block::<4, Q>(queries, four).iter().zip(first..) {
                        let dots = dots.of(query);
                        for (place, dot) in places.iter().zip(found) {
                            dots[*place] = *dot;
                        }
                    }
                }
                for pick in rest {
                    let place = rows.place(*pick);
                    for ([dot], query) in $block::<1, Q>(queries, [codes(place)]).iter().zip(first..) {
                        dots.of(query)[place] = *dot;
                    }
                }
            }
            let (groups, rest) = queries.as_chunks::<$together>();
            for (group, first) in groups.iter().zip((0..).step_by($together)) {
                of(*group, rows, first, dots);
            }
            for (query, number) in rest.iter().zip(groups.len() * $together..) {
                of([*query], rows, number, dots);
            }
        }
    };
}

/// Makes `sign_dots`, which transposes `BLOCKS` times `ROWS` rows for all queries, from `turn` and
/// `look_up`. `$zero` is a vector.
///
/// A byte of signs becomes two vectors: its lower half of each row, and its higher half. The tables
/// of many queries do not fit the first-level cache. So each query reads its tables once for all
/// blocks.
macro_rules! sign_loops {
    ($zero:expr $(, $feature:meta)?) => {
        $(#[$feature])?
        fn sign_dots(queries: &[&[[u8; 16]]], rows: &[u8], mut dots: Dots<'_>) {
            let (Some(stride), count) = (queries.first().map(|tables| tables.len() / 2), dots.len()) else { return };
            assert!(stride.is_multiple_of(8) && rows.len() == count * stride);
            assert!(queries.iter().all(|tables| tables.len() == stride * 2));
            let mut turned = [[[$zero; 2]; COLUMNS]; BLOCKS];
            for first in (0..count).step_by(BLOCKS * ROWS) {
                let end = count.min(first + BLOCKS * ROWS);
                let few = (end - first) % ROWS;
                let alone = if few < FEW { end - few..end } else { end..end };
                let places = first..alone.start;
                if !alone.is_empty() {
                    let rows = Rows::all(&rows[alone.start * stride..]);
                    for (query, tables) in queries.iter().enumerate() {
                        portable::sign_dots(tables, rows, &mut dots.of(query)[alone.clone()]);
                    }
                }
                let blocks = places.len().div_ceil(ROWS);
                for start in (0..stride).step_by(COLUMNS) {
                    let columns = COLUMNS.min(stride - start);
                    for (block, turned) in turned[..blocks].iter_mut().enumerate() {
                        for (eight, turned) in turned[..columns].as_chunks_mut::<8>().0.iter_mut().enumerate() {
                            *turned = turn(rows, stride, first + block * ROWS, start + eight * 8);
                        }
                    }
                    let offset = -TABLE_OFFSET * 2 * columns as i32;
                    for (query, tables) in queries.iter().enumerate() {
                        let tables = &tables[start * 2..(start + columns) * 2];
                        let mut sums = [[0; ROWS]; BLOCKS];
                        if blocks == BLOCKS {
                            let mut all = [&turned[0][..columns]; BLOCKS];
                            for (all, turned) in all.iter_mut().zip(&turned) {
                                *all = &turned[..columns];
                            }
                            sums = look_up(all, tables);
                        } else {
                            for (sums, turned) in sums.iter_mut().zip(&turned[..blocks]) {
                                [*sums] = look_up([&turned[..columns]], tables);
                            }
                        }
                        for (dots, sums) in dots.of(query)[places.clone()].chunks_mut(ROWS).zip(sums) {
                            let mut part = [0; ROWS];
                            for (part, sum) in part.iter_mut().zip(sums) {
                                *part = offset + i32::from(sum);
                            }
                            if start > 0 {
                                for (dot, part) in dots.iter_mut().zip(part) {
                                    *dot += part;
                                }
                            } else if let Ok(dots) = <&mut [i32; ROWS]>::try_from(&mut *dots) {
                                *dots = part;
                            } else {
                                dots.copy_from_slice(&part[..dots.len()]);
                            }
                        }
                    }
                }
            }
        }
    };
}

pub(super) use {byte_loops, sign_loops};
