//! Numbers in the form that people read and write.

use std::time::Duration;

use deltafold::format::Timestamp;

/// A count with separators between thousands: `19,879`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 op`, `2 ops`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Bytes in binary units: `512 B`, `1.4 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1_024 {
        return format!("{number} B");
    }
    let mut scaled = number as f64 / 1_024.0;
    let mut unit = 0;
    while scaled >= 1_023.95 && unit + 1 < UNITS.len() {
        scaled /= 1_024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// A span of time: `3 ms`, `1.2 s`, `2 min 5 s`, `3 h 20 min`.
pub(crate) fn duration(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 if span.as_millis() == 0 => format!("{} us", span.as_micros()),
        0 => format!("{} ms", span.as_millis()),
        1..60 => format!("{:.1} s", span.as_secs_f64()),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// A span of time that a user chose: whole days as days, others as in [`duration`].
pub(crate) fn span(span: Duration) -> String {
    const DAY: u64 = 86_400;
    let seconds = span.as_secs();
    if seconds > 0 && seconds.is_multiple_of(DAY) && span.subsec_nanos() == 0 {
        counted(seconds / DAY, "day")
    } else {
        duration(span)
    }
}

/// A time in UTC, to the second: `2026-01-31 12:00:00Z`.
pub(crate) fn date(moment: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(moment.as_millis()) {
        Ok(moment) => moment.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => format!("{} ms", moment.as_millis()),
    }
}

/// A time for scripts, RFC 3339 with milliseconds.
pub(crate) fn rfc3339(moment: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(moment.as_millis()) {
        Ok(moment) => format!("{moment:.3}"),
        Err(_) => format!("{} ms", moment.as_millis()),
    }
}

/// Reads a span of time: a number and one of `ms`, `s`, `m`, `h`, `d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err("expected a number with one of the units ms, s, m, h, d, as in `10m`".into()),
    };
    let number: f64 = number.parse().map_err(|_| "expected a number before the unit, as in `10m`".to_owned())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

/// Reads a span of time that is not zero.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let span = parse_duration(text)?;
    if span.is_zero() { Err("expected a time longer than nothing".to_owned()) } else { Ok(span) }
}

/// Reads a size: a number with an optional unit `B`, `KiB`, `MiB`, `GiB` (or `K`, `M`, `G`, which
/// mean the same).
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err("expected a number with one of the units B, KiB, MiB, GiB, as in `64MiB`".into()),
    };
    let number: u64 =
        number.parse().map_err(|_| "expected a whole number before the unit, as in `64MiB`".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "too large".into())
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!([0, 999, 1_000, 19_879, 1_234_567].map(count), ["0", "999", "1,000", "19,879", "1,234,567"]);
        assert_eq!(counted(1, "op"), "1 op");
        assert_eq!(counted(2_000, "op"), "2,000 ops");
        let sizes = [0, 1_023, 1_024, 1_536, (1 << 20) - 1, 1 << 20, 1 << 30, 5 << 40];
        assert_eq!(
            sizes.map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 MiB", "1.0 GiB", "5.0 TiB"]
        );
        let spans = [20, 3_000, 1_234_000, 125_000_000, 12_000_000_000];
        assert_eq!(
            spans.map(|us| duration(Duration::from_micros(us))),
            ["20 us", "3 ms", "1.2 s", "2 min 5 s", "3 h 20 min"]
        );
        let moment = Timestamp::from_millis(1_769_860_800_123);
        assert_eq!(date(moment), "2026-01-31 12:00:00Z");
        assert_eq!(rfc3339(moment), "2026-01-31T12:00:00.123Z");
    }

    #[test]
    fn numbers_from_people() {
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_duration("1.5 s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert!(["", "5", "m", "-1s", "1x", "1e3s"].iter().all(|text| parse_duration(text).is_err()));
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("512"), Ok(512));
        assert!(["", "MiB", "1.5M", "1T", "99999999999G"].iter().all(|text| parse_bytes(text).is_err()));
    }
}
