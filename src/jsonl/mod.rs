//! Ops and records as JSON Lines: one op a line in, one record a line out.
//!
//! ```json
//! {"op":"put","id":"a","embedding":[0.1,0.2],"metadata":{"lang":"en","tags":["x","y"]},"document":"text"}
//! {"op":"patch","id":"a","metadata":{"lang":"de","tags":null},"document":null}
//! {"op":"delete","id":"a"}
//! ```
//!
//! | field | in `put` and `add` | in `upsert` and `patch` | in `delete` |
//! |---|---|---|---|
//! | `id` | required | required | required |
//! | `embedding` | numbers; absent or `null`: none | numbers; absent: kept; `null`: cleared | absent or `null` |
//! | `metadata` | absent or `null`: none | a key with a value is set, one with `null` removed, one not named kept | absent or `null` |
//! | `document` | text; absent or `null`: none | text; absent: kept; `null`: cleared | absent or `null` |
//! | `revision` | digits; by the collection required or refused | the same | the same |
//!
//! A `revision` is a whole number below 2^128: a number, or a string of digits, because most
//! programs round numbers beyond 2^53. In a collection ordered by revision every op has one, and
//! there is no `add`. In other collections none has one.
//!
//! In the body of a message, an op may also name its idempotency key
//! ([`parse_sourced_op_for`]): `source`, a text, and `position`, digits like those of a revision.
//!
//! A number with a fraction or an exponent is an f64, any other an i64. A list holds values of one
//! type; an empty one counts as a list of strings. Embedding numbers are read as f64 and rounded to
//! the nearest f32. Everything printed here reads back unchanged, except empty lists of other
//! types.

mod decimal;
mod error;
mod grammar;
mod kind;
mod object;
mod parse;
mod refused;
mod texts;
mod value;
mod write;

pub use error::LineError;
pub use parse::{DefaultOp, parse_op, parse_op_for, parse_op_or, parse_sourced_op_for};
#[cfg(feature = "serve")]
pub(crate) use refused::in_body;
pub use refused::known_format;
pub use texts::{Layout, OpText, OpTexts, TextError};
pub use write::{Fields, write_op, write_record};
