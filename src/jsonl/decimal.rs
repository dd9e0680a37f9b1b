//! Short decimal numbers, read in one pass.
//!
//! Embeddings as text are mostly numbers of few digits. The standard library reads any number, in
//! about three times the time.

/// The powers of ten that an f64 holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Whole numbers up to this one are exact in an f64.
const EXACT: u64 = 1 << 53;

/// A u64 holds this many digits.
const DIGITS: usize = 19;

/// The number at the beginning of `text`, and its length, if an f64 holds its digits and its power
/// of ten exactly. One division then rounds to the nearest f64, as IEEE 754 demands. That is
/// Clinger's fast path ("How to read floating point numbers accurately", 1990).
///
/// `text` begins with a JSON number of checked syntax, or with another value. `None` stands for
/// anything but a short decimal: an exponent, many digits, no number.
pub(super) fn leading(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(text.first() == Some(&b'-'));
    let (whole, whole_digits) = digits(text.get(sign..)?, 0)?;
    let mut end = sign + whole_digits;
    let (mut number, mut decimals) = (whole, 0);
    if text.get(end) == Some(&b'.') {
        (number, decimals) = digits(text.get(end + 1..)?, whole)?;
        end += 1 + decimals;
    }
    let has_exponent = matches!(text.get(end), Some(b'e' | b'E'));
    if has_exponent || whole_digits == 0 || whole_digits + decimals > DIGITS || number > EXACT {
        return None;
    }
    let number = number as f64 / POWERS.get(decimals)?;
    Some((if sign == 1 { -number } else { number }, end))
}

/// Appends the digits at the beginning of `text` to a number; `None` if they do not fit. Returns
/// the number of digits, too.
fn digits(text: &[u8], before: u64) -> Option<(u64, usize)> {
    let mut number = before;
    let mut count = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number.checked_mul(10)?.checked_add(digit.into())?;
        count += 1;
    }
    Some((number, count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn anything_but_a_short_decimal_is_left_to_others() {
        let others =
            ["", "-", "x", "\"1\"", "[1]", "null", "1e5", "1.5E-3", "9007199254740993", "123456789012345678901"];
        for text in others {
            assert_eq!(leading(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_short_decimal_ends_where_its_digits_end() {
        let table = [("0.5,1", 0.5, 3), ("-12 ,", -12.0, 3), ("7", 7.0, 1), ("9007199254740992", EXACT as f64, 16)];
        for (text, number, length) in table {
            assert_eq!(leading(text.as_bytes()), Some((number, length)), "{text}");
        }
        assert!(leading(b"-0.0").is_some_and(|(zero, _)| zero.is_sign_negative()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4_096, ..ProptestConfig::default() })]

        #[test]
        fn a_short_decimal_is_the_number_of_the_standard_library(text in "-?(0|[1-9][0-9]{0,8})([.][0-9]{1,14})?") {
            let exact: f64 = text.parse().unwrap();
            if let Some((number, length)) = leading(text.as_bytes()) {
                prop_assert_eq!((number.to_bits(), length), (exact.to_bits(), text.len()));
            }
        }

        #[test]
        fn every_decimal_of_fifteen_digits_is_short(whole in 0..1_000_000_u32, decimals in 0..1_000_000_000_u32) {
            let text = format!("{whole}.{decimals:09}");
            let exact: f64 = text.parse().unwrap();
            prop_assert_eq!(leading(text.as_bytes()), Some((exact, text.len())));
        }
    }
}
