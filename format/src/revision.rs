//! Revisions: the numbers that producers give to their changes.

use std::fmt;
use std::str::FromStr;

use crate::name::NameError;

/// The place of a change among all changes of its record, whatever their order of arrival. The
/// producer gives this number, such as the sequence number of a stream. It has 128 bits because
/// sequence numbers of streams have more than twenty digits.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u128);

impl Revision {
    /// A revision of this number.
    pub const fn new(number: u128) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u128 {
        self.0
    }
}

/// Decimal digits.
impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Revision {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let digits = (1..=39).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten();
        number.map(Self).ok_or_else(|| NameError::new("revision", text, "1 to 39 decimal digits, below 2^128"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_up_to_39_digits() {
        for number in [0, 1, u128::from(u64::MAX) + 1, u128::MAX] {
            let revision = Revision::new(number);
            assert_eq!(revision.to_string().parse::<Revision>().unwrap(), revision);
        }
        assert_eq!("000000000000000000007".parse::<Revision>().unwrap(), Revision::new(7));
        for text in ["", "+1", "-1", " 1", "1.0", "1e3", "340282366920938463463374607431768211456", &"0".repeat(40)] {
            assert!(text.parse::<Revision>().is_err(), "{text}");
        }
    }
}
