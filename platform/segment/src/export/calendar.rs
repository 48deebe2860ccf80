//! Days and instants as text, as chrono writes them but without its cost for each value.

use chrono::{DateTime, Days, NaiveDate, SecondsFormat};

use super::ExportError;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// Days from 1970-01-01 to 0000-01-01 and to 9999-12-31: between them a year has four digits.
const FOUR_DIGIT_DAYS: std::ops::RangeInclusive<i64> = -719_528..=2_932_896;

/// Writes a day as `2026-03-01`.
pub(super) fn write_day(days: i32, to: &mut Vec<u8>) -> Result<(), ExportError> {
    if FOUR_DIGIT_DAYS.contains(&i64::from(days)) {
        push_date(i64::from(days), to);
        return Ok(());
    }
    let distance = Days::new(u64::from(days.unsigned_abs()));
    let epoch = NaiveDate::default();
    let day =
        if days < 0 { epoch.checked_sub_days(distance) } else { epoch.checked_add_days(distance) };
    let day = day.ok_or_else(|| ExportError::Date(format!("{days} days")))?;
    to.extend_from_slice(day.to_string().as_bytes());
    Ok(())
}

/// Writes an instant in UTC as `2026-03-01T18:00:00.123Z`: with no, 3 or 6 digits after the second.
pub(super) fn write_instant(micros: i64, to: &mut Vec<u8>) -> Result<(), ExportError> {
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    let days = seconds.div_euclid(SECONDS_PER_DAY);
    if !FOUR_DIGIT_DAYS.contains(&days) {
        let instant = DateTime::from_timestamp_micros(micros)
            .ok_or_else(|| ExportError::Date(format!("{micros} microseconds")))?;
        let text = instant.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        to.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    push_date(days, to);
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    to.push(b'T');
    push_digits(of_day / 3_600, 2, to);
    to.push(b':');
    push_digits(of_day / 60 % 60, 2, to);
    to.push(b':');
    push_digits(of_day % 60, 2, to);
    let fraction = micros.rem_euclid(MICROS_PER_SECOND);
    if fraction != 0 {
        to.push(b'.');
        if fraction % 1_000 == 0 {
            push_digits(fraction / 1_000, 3, to);
        } else {
            push_digits(fraction, 6, to);
        }
    }
    to.push(b'Z');
    Ok(())
}

/// The civil date of a day since 1970-01-01, after Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>): eras of 400 years that begin in March.
fn push_date(days: i64, to: &mut Vec<u8>) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    push_digits(year, 4, to);
    to.push(b'-');
    push_digits(month, 2, to);
    to.push(b'-');
    push_digits(day, 2, to);
}

/// Writes the last `count` decimal digits of a number that is not negative.
fn push_digits(number: i64, count: usize, to: &mut Vec<u8>) {
    let start = to.len();
    to.resize(start + count, b'0');
    let mut rest = number.unsigned_abs();
    for digit in to[start..].iter_mut().rev() {
        *digit += u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>) -> Result<(), ExportError>) -> Option<String> {
        let mut bytes = Vec::new();
        write(&mut bytes).ok()?;
        String::from_utf8(bytes).ok()
    }

    fn check_instant(micros: i64) {
        let expected = DateTime::from_timestamp_micros(micros)
            .map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        assert_eq!(text(|to| write_instant(micros, to)), expected, "{micros}");
    }

    fn check_day(days: i32) {
        let micros = i64::from(days) * SECONDS_PER_DAY * MICROS_PER_SECOND;
        let expected =
            DateTime::from_timestamp_micros(micros).map(|at| at.date_naive().to_string());
        assert_eq!(text(|to| write_day(days, to)), expected, "{days}");
    }

    #[test]
    fn the_ends_of_years_with_four_digits_are_written_like_the_rest() {
        for days in [*FOUR_DIGIT_DAYS.start(), *FOUR_DIGIT_DAYS.end()] {
            for near in -2..=2 {
                let days = days + near;
                check_day(i32::try_from(days).expect("a day"));
                for micros in [0, 1, 1_000, 86_399_999_999] {
                    check_instant(days * SECONDS_PER_DAY * MICROS_PER_SECOND + micros);
                }
            }
        }
        assert!(text(|to| write_instant(i64::MAX, to)).is_none());
        assert!(text(|to| write_day(i32::MAX, to)).is_none());
    }

    proptest! {
        #[test]
        fn every_day_and_instant_is_written_as_chrono_does(
            days in -800_000_i32..3_000_000,
            micros in -70_000_000_000_000_000_i64..260_000_000_000_000_000,
            whole in any::<i32>(),
        ) {
            check_day(days);
            check_instant(micros);
            check_instant(i64::from(whole) * MICROS_PER_SECOND);
            check_instant(i64::from(whole) * 1_000);
        }
    }
}
