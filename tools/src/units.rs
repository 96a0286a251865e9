//! Numbers as people read them.

use std::time::{Duration, SystemTime};

/// Bytes in the largest binary unit that they fill: `5 B`, `1.5 KiB`, `31.9 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths of the unit, rounded: 1023.96 KiB is 1.0 MiB.
    let mut unit = 0;
    let mut tenths = (u128::from(bytes) * 10 + 512) / 1024;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        unit += 1;
        let divisor = 1_u128 << (10 * (unit + 1));
        tenths = (u128::from(bytes) * 10 + divisor / 2) / divisor;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS.get(unit).unwrap_or(&"EiB"))
}

/// A number with its thousands apart: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A part of a whole in percent: `12%`, `-` of nothing.
pub fn percent(part: u64, whole: u64) -> String {
    match (u128::from(part) * 100).checked_div(u128::from(whole)) {
        Some(percent) => format!("{percent}%"),
        None => "-".to_owned(),
    }
}

/// A time given in milliseconds since 1970, in UTC.
pub fn time_ms(ms: u64) -> String {
    at(Duration::from_millis(ms))
}

/// A time given in nanoseconds since 1970, in UTC.
pub fn time_ns(ns: u64) -> String {
    at(Duration::from_nanos(ns))
}

fn at(since_1970: Duration) -> String {
    // Beyond year 9999 there is no RFC 3339.
    match SystemTime::UNIX_EPOCH.checked_add(since_1970) {
        Some(time) if since_1970.as_secs() < 253_402_300_800 => {
            humantime::format_rfc3339_seconds(time).to_string()
        }
        _ => format!("{} s", since_1970.as_secs()),
    }
}

/// A rate: bytes in a time.
pub fn rate(bytes: u64, took: Duration) -> String {
    let micros = took.as_micros().max(1);
    let per_second = u128::from(bytes) * 1_000_000 / micros;
    format!("{}/s", size(u64::try_from(per_second).unwrap_or(u64::MAX)))
}

/// A length of time in whole seconds: `42s`, `3m 5s`, `2h 10m`, `30d 4h`.
pub fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours @ 0..48, minutes, _) => format!("{hours}h {minutes}m"),
        (hours, ..) => format!("{}d {}h", hours / 24, hours % 24),
    }
}

/// How long ago a time given in milliseconds since 1970 was: `3m 5s ago`. Clocks of two machines
/// may differ: what lies in the future is `just now`.
pub fn ago_ms(ms: u64) -> String {
    let then = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms));
    match then.and_then(|then| then.elapsed().ok()) {
        Some(length) => format!("{} ago", span(length)),
        None => "just now".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1.0 MiB"),
            (34_359_738_360, "32.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn counts_percents_times() {
        assert_eq!([count(0), count(999), count(1_234_567)], ["0", "999", "1,234,567"]);
        assert_eq!(
            [percent(1, 3), percent(0, 0), percent(u64::MAX, u64::MAX)],
            ["33%", "-", "100%"]
        );
        assert_eq!(time_ms(1_500_000_000_000), "2017-07-14T02:40:00Z");
        assert_eq!(time_ns(u64::MAX), "2554-07-21T23:34:33Z");
        assert_eq!(time_ms(u64::MAX), "18446744073709551 s");
        assert_eq!(rate(2048, Duration::from_millis(500)), "4.0 KiB/s");
        assert_eq!(span(Duration::from_secs(185)), "3m 5s");
        assert_eq!(span(Duration::from_mins(130)), "2h 10m");
        assert_eq!(span(Duration::from_hours(724)), "30d 4h");
        assert!(ago_ms(0).ends_with("h ago"), "{}", ago_ms(0));
        assert_eq!([ago_ms(u64::MAX), ago_ms(u64::MAX / 2)], ["just now", "just now"]);
    }
}
