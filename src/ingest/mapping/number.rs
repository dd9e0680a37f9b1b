//! Numbers in DynamoDB's form: decimal, up to 38 digits, with an optional exponent.

/// An exact integer. `None` if the text is not a number, has a fraction, or exceeds 38 digits.
pub(super) fn integer(text: &str) -> Option<i128> {
    if let Ok(number) = text.parse::<i128>() {
        return Some(number);
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (negative, whole) = match whole.strip_prefix(['-', '+']) {
        Some(rest) => (whole.starts_with('-'), rest),
        None => (false, whole),
    };
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut number: i128 = 0;
    // The number of digits before the point.
    let before = i64::try_from(whole.len()).ok()? + i64::from(exponent);
    for (place, digit) in (0..).zip(digits()) {
        let digit = i128::from(digit - b'0');
        if place < before {
            number = number.checked_mul(10)?.checked_add(digit)?;
        } else if digit != 0 {
            return None;
        }
    }
    let written = i64::try_from(whole.len() + fraction.len()).ok()?;
    if number != 0 {
        for _ in written..before {
            number = number.checked_mul(10)?;
        }
    }
    Some(if negative { -number } else { number })
}

/// The nearest float. `None` where the text is not a number, or exceeds a float.
pub(super) fn float(text: &str) -> Option<f64> {
    // Rust parses `inf` and `nan` as floats; DynamoDB writes no such number.
    let decimal = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    decimal.then(|| text.parse::<f64>().ok()).flatten().filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact_or_none() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("+7", Some(7)),
            ("1.0", Some(1)),
            ("-12.500e1", Some(-125)),
            ("1E3", Some(1_000)),
            ("120e-1", Some(12)),
            ("9223372036854775808", Some(1 << 63)),
            ("99999999999999999999999999999999999999", Some(10i128.pow(38) - 1)),
            ("1e38", Some(10i128.pow(38))),
            ("0e2000000000", Some(0)),
            ("1e2000000000", None),
            ("1e-2000000000", None),
            ("1e39", None),
            ("1.5", None),
            ("15e-1", None),
            ("", None),
            (".", None),
            ("-", None),
            ("1e", None),
            ("0x10", None),
            ("one", None),
            ("1_000", None),
            ("inf", None),
        ] {
            assert_eq!(integer(text), expected, "{text}");
        }
    }

    #[test]
    fn floats_are_finite_or_none() {
        for (text, expected) in
            [("1.5", Some(1.5)), ("9.9E+125", Some(9.9e125)), ("inf", None), ("NaN", None), ("1e999", None), ("", None)]
        {
            assert_eq!(float(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_number_or_none(text in "[-+0-9.eE]{0,12}") {
            if let Some(number) = integer(&text) {
                let float = float(&text).unwrap();
                proptest::prop_assert!((number as f64 - float).abs() <= float.abs() * 1e-15, "{} {} {}", text, number, float);
            }
        }
    }
}
