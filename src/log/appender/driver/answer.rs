//! Converts the answer of a commit to a result for its callers.

use super::super::commit::{Answer, Failure, Reason};
use super::super::request::AppendResult;
use crate::error::{Error, Repr, Result};
use crate::shard::Shard;

/// The failure in the machine's terms.
pub(super) fn failure(error: &Error) -> Failure {
    if matches!(error.repr(), Repr::Dropped(_)) { Failure::Dropped } else { Failure::Other }
}

/// The result of a commit for its callers.
pub(super) fn answered(shard: &Shard, answer: Answer, error: Option<Error>) -> Result<AppendResult> {
    let reason = match answer {
        Answer::At(slot) => return Ok(AppendResult::At(slot)),
        Answer::Known => return Ok(AppendResult::Known),
        Answer::Moved => return Err(Repr::Moved(shard.id()).into()),
        Answer::NotAppended => match error {
            Some(error) => return Err(error),
            None => "a request failed",
        },
        Answer::Unknown(Reason::Failed) => match error {
            Some(error) => return Err(unknown(&error)),
            None => "a request failed",
        },
        Answer::Unknown(Reason::TwoSlots) => "it was folded from one of two slots, and which one was forgotten",
        Answer::Unknown(Reason::LaterBatch) => "a later batch of the writer was folded",
        Answer::Unknown(Reason::Forgotten) => "so many writers came since that the manifest forgot this one",
        Answer::Unknown(Reason::Moved) => "the log moved on before an attempt was decided",
    };
    Err(unknown(&reason))
}

fn unknown(error: &dyn std::fmt::Display) -> Error {
    Repr::Unknown { what: "an append".to_owned(), error: error.to_string() }.into()
}
