//! The rules of structures that the columns of a part share: texts, lists of payloads, presence.

use rkyv::rend::u32_le;

use super::ROWS;
use super::presence::{ALL, ArchivedPresence, BITS, LISTED, RANK_WORDS};
use super::rows::ArchivedTexts;
use crate::error::FormatError;

/// `Ok` if `holds`, otherwise an error that names the rule.
pub(super) fn require(holds: bool, rule: &'static str) -> Result<(), FormatError> {
    if holds { Ok(()) } else { Err(FormatError::invalid(ROWS.name, rule)) }
}

/// Offsets begin at 0, ascend or repeat, end at the last byte, and lie on the boundaries of valid
/// UTF-8.
pub(super) fn texts(texts: &ArchivedTexts, shortest: usize, longest: usize) -> Result<(), FormatError> {
    let bytes = texts.bytes.as_slice();
    let text = str::from_utf8(bytes);
    require(text.is_ok(), "a text is not UTF-8")?;
    let text = text.unwrap_or_default();
    let (first, offsets) =
        texts.offsets.split_first().map_or((1, Default::default()), |(first, rest)| (first.to_native(), rest));
    require(first == 0, "text offsets do not begin at 0")?;
    let mut before = 0;
    let mut sound = true;
    for offset in offsets {
        let offset = offset.to_native() as usize;
        let len = offset.wrapping_sub(before);
        sound &= len >= shortest && len <= longest && text.is_char_boundary(offset);
        before = offset;
    }
    require(sound, "a text is too short or too long, or an offset lies within a character")?;
    require(before == bytes.len(), "text offsets do not end with the texts")
}

/// Checks that payloads ascend strictly.
pub(super) fn ascending(listed: &[u32_le], payloads: usize) -> Result<(), FormatError> {
    let ordered = listed.is_sorted_by(|a, b| a.to_native() < b.to_native());
    let within = listed.last().is_none_or(|last| (last.to_native() as usize) < payloads);
    require(ordered && within, "a list of payloads does not ascend, or names an absent one")
}

/// Returns the number of payloads present.
pub(super) fn presence(presence: &ArchivedPresence, payloads: usize) -> Result<usize, FormatError> {
    let kind = presence.kind.to_native();
    let bits = !presence.words.is_empty() || !presence.ranks.is_empty();
    let unused = match kind {
        ALL => bits || !presence.listed.is_empty(),
        BITS => !presence.listed.is_empty(),
        LISTED => bits,
        _ => true,
    };
    require(!unused, "a presence has an unknown kind, or fields that its kind does not use")?;
    match kind {
        ALL => {}
        LISTED => ascending(&presence.listed, payloads)?,
        _ => {
            let words = presence.words.as_slice();
            require(words.len() == payloads.div_ceil(64), "a presence does not have one bit for each payload")?;
            let last = words.last().map_or(0, |last| last.to_native());
            let beyond = payloads % 64;
            require(beyond == 0 || last >> beyond == 0, "a presence has bits behind the last payload")?;
            require(presence.ranks.len() == words.len().div_ceil(RANK_WORDS), "a presence lacks ranks")?;
            let mut before = 0;
            for (chunk, rank) in words.chunks(RANK_WORDS).zip(presence.ranks.iter()) {
                require(rank.to_native() == before, "a rank is wrong")?;
                before += chunk.iter().map(|word| word.to_native().count_ones()).sum::<u32>();
            }
        }
    }
    Ok(presence.count(payloads))
}
