//! When a service is due.
//!
//! A schedule is a five-field cron pattern in an IANA zone. Two rules hold at a change of the
//! clocks:
//!
//! - A pattern that names hours (`30 2 * * *`, `0 1,2 * * *`, `0 */6 * * *`) means *local times*.
//!   A local time that the clocks skip fires once, at the next valid instant. A local time that
//!   the clocks repeat fires once, at its first occurrence.
//! - A pattern whose hour field is `*` (`*/30 * * * *`, `15 * * * *`) means *intervals*. It keeps
//!   firing at even distances: in both halves of a repeated hour, and not at all for a skipped one.
//!
//! Due instants are kept in UTC, so an instant is unique although a local time may not be.

use std::fmt;

use chrono::{DateTime, Duration, NaiveDateTime, TimeZone, Utc, offset::LocalResult};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use serde::{Deserialize, Serialize};

/// The longest stretch of local time that a zone has skipped at once: Samoa left out a whole day.
const GAP_MINUTES_MAX: i64 = 26 * 60;

/// A cron pattern in a zone.
#[derive(Clone)]
pub struct Schedule {
    pattern: String,
    zone: Tz,
    cron: Cron,
    every_hour: bool,
}

/// Why a text is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Seconds, years and nicknames are not part of the pattern.
    #[error("expected five fields (minute hour day month weekday), found {0}")]
    FieldCount(usize),
    /// A field does not parse.
    #[error("{0}")]
    Pattern(String),
    /// Such as 30 February.
    #[error("the pattern never fires")]
    NeverFires,
    /// Not in the IANA database.
    #[error("`{0}` is not an IANA time zone")]
    Zone(String),
}

/// What happens to due instants that passed while nothing could run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedRunPolicy {
    /// Run the latest one, record the others as coalesced into it.
    Latest,
    /// Run every one, oldest first.
    All,
    /// Run none: wait for the next due instant.
    Skip,
}

/// Under [`MissedRunPolicy::Skip`], how late a poll may notice an instant before it counts as missed.
pub const PUNCTUAL_SECONDS: i64 = 120;

/// What became of a due instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum DueOutcome {
    /// A run was created for it.
    Run,
    /// A later due instant's run stands for it.
    Coalesced {
        /// The later due instant.
        into: DateTime<Utc>,
    },
    /// Nothing runs for it.
    Missed {
        /// Why.
        reason: String,
    },
}

/// The due instants up to now, each with its outcome, and the first one after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Oldest first.
    pub due: Vec<(DateTime<Utc>, DueOutcome)>,
    /// Where the next decision starts; not after now only when `limit` cut the list.
    pub next: DateTime<Utc>,
}

impl Schedule {
    /// Reads a five-field pattern and an IANA zone name.
    pub fn parse(pattern: &str, zone: &str) -> Result<Self, ScheduleError> {
        let zone: Tz = zone.parse().map_err(|_| ScheduleError::Zone(zone.to_owned()))?;
        let fields: Vec<&str> = pattern.split_whitespace().collect();
        if fields.len() != 5 {
            return Err(ScheduleError::FieldCount(fields.len()));
        }
        let cron = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(pattern)
            .map_err(|error| ScheduleError::Pattern(error.to_string()))?;
        let schedule = Self { pattern: fields.join(" "), zone, every_hour: fields[1] == "*", cron };
        let epoch = DateTime::UNIX_EPOCH + Duration::days(365 * 50);
        schedule.next_after(epoch).map(|_| schedule)
    }

    /// The pattern, its fields separated by single spaces.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The zone in which the pattern is read.
    #[must_use]
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The first due instant strictly after `after`.
    ///
    /// # Errors
    /// [`ScheduleError::NeverFires`] where the search finds none; [`Schedule::parse`] refuses such
    /// patterns, so it happens only at the end of representable time.
    pub fn next_after(&self, after: DateTime<Utc>) -> Result<DateTime<Utc>, ScheduleError> {
        let local = after.with_timezone(&self.zone);
        if self.every_hour {
            return self
                .cron
                .find_next_occurrence(&local, false)
                .map(|due| due.with_timezone(&Utc))
                .map_err(|_| ScheduleError::NeverFires);
        }
        // Walk local clock readings as if there were no changes, then find when each is first
        // shown. The map from reading to instant never decreases, so the first hit is the least.
        let mut reading = local.naive_local().and_utc();
        let mut inclusive = true;
        loop {
            reading = self
                .cron
                .find_next_occurrence(&reading, inclusive)
                .map_err(|_| ScheduleError::NeverFires)?;
            inclusive = false;
            let due =
                first_shown(self.zone, reading.naive_utc()).ok_or(ScheduleError::NeverFires)?;
            if due > after {
                return Ok(due);
            }
        }
    }

    /// Decides what becomes of the due instants from `next` up to `now`, at most `limit` of them.
    ///
    /// `window` is how far back a missed instant is still worth running.
    pub fn decide(
        &self,
        next: DateTime<Utc>,
        now: DateTime<Utc>,
        policy: MissedRunPolicy,
        window: Duration,
        limit: usize,
    ) -> Result<Decision, ScheduleError> {
        let latest = self.latest_until(next, now)?;
        let mut due = Vec::new();
        let mut instant = next;
        while instant <= now && due.len() < limit {
            let late = now - instant;
            let outcome = match policy {
                _ if late > window => DueOutcome::Missed {
                    reason: format!("older than the missed-run window of {} h", hours(window)),
                },
                MissedRunPolicy::Skip if late > Duration::seconds(PUNCTUAL_SECONDS) => {
                    DueOutcome::Missed { reason: "missed runs are skipped by policy".to_owned() }
                }
                MissedRunPolicy::Latest if instant != latest => {
                    DueOutcome::Coalesced { into: latest }
                }
                _ => DueOutcome::Run,
            };
            due.push((instant, outcome));
            instant = self.next_after(instant)?;
        }
        Ok(Decision { due, next: instant })
    }

    /// The last due instant at or before `now`, given that `next` is one.
    fn latest_until(
        &self,
        next: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, ScheduleError> {
        // Doubling steps back from now: a minute's pattern after a month's outage must not walk
        // 43,200 instants to find its last one.
        let mut back = Duration::minutes(2);
        let mut latest = loop {
            let from = (now - back).max(next);
            if from == next {
                break next;
            }
            let candidate = self.next_after(from)?;
            if candidate <= now {
                break candidate;
            }
            back = back * 2;
        };
        loop {
            let following = self.next_after(latest)?;
            if following > now {
                return Ok(latest);
            }
            latest = following;
        }
    }
}

fn hours(window: Duration) -> i64 {
    window.num_hours()
}

/// The first instant at which clocks in `zone` show `reading` or, where they skip it, the instant
/// at which they skip it.
fn first_shown(zone: Tz, reading: NaiveDateTime) -> Option<DateTime<Utc>> {
    (0..=GAP_MINUTES_MAX).find_map(|minutes| {
        match zone.from_local_datetime(&(reading + Duration::minutes(minutes))) {
            LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => {
                Some(instant.with_timezone(&Utc))
            }
            LocalResult::None => None,
        }
    })
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern && self.zone == other.zone
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({self})")
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pattern, self.zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an RFC 3339 instant")
    }

    fn fires(pattern: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(pattern, zone).expect("a schedule");
        let mut instant = at(from);
        (0..count)
            .map(|_| {
                instant = schedule.next_after(instant).expect("a next instant");
                instant.format("%m-%dT%H:%M").to_string()
            })
            .collect()
    }

    #[test]
    fn a_daily_pattern_is_read_in_its_zone() {
        assert_eq!(
            fires("00 18 * * *", "Asia/Tokyo", "2026-03-01T00:00:00Z", 2),
            ["03-01T09:00", "03-02T09:00"]
        );
    }

    #[test]
    fn a_skipped_local_time_fires_once_at_the_next_valid_instant() {
        // New York, 8 March 2026: 02:00 to 03:00 EST does not exist; 03:00 EDT is 07:00 UTC.
        assert_eq!(
            fires("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2),
            ["03-08T07:00", "03-09T06:30"]
        );
        assert_eq!(
            fires("0,30 2,3 * * *", "America/New_York", "2026-03-08T00:00:00Z", 3),
            ["03-08T07:00", "03-08T07:30", "03-09T06:00"]
        );
    }

    #[test]
    fn a_repeated_local_time_fires_once_at_its_first_occurrence() {
        // New York, 1 November 2026: 01:30 happens at 05:30 and at 06:30 UTC.
        assert_eq!(
            fires("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2),
            ["11-01T05:30", "11-02T06:30"]
        );
        assert_eq!(
            fires("30 1,2 * * *", "America/New_York", "2026-11-01T00:00:00Z", 3),
            ["11-01T05:30", "11-01T07:30", "11-02T06:30"]
        );
    }

    #[test]
    fn an_interval_pattern_keeps_its_distance_through_both_changes() {
        assert_eq!(
            fires("*/30 * * * *", "America/New_York", "2026-11-01T04:45:00Z", 5),
            ["11-01T05:00", "11-01T05:30", "11-01T06:00", "11-01T06:30", "11-01T07:00"]
        );
        assert_eq!(
            fires("15 * * * *", "America/New_York", "2026-03-08T05:30:00Z", 3),
            ["03-08T06:15", "03-08T07:15", "03-08T08:15"]
        );
    }

    #[test]
    fn a_whole_day_can_be_skipped() {
        // Samoa had no 30 December 2011; its 00:00 is shown first as 31 December 00:00 +14.
        let schedule = Schedule::parse("0 12 * * *", "Pacific/Apia").expect("a schedule");
        let due = schedule.next_after(at("2011-12-30T00:00:00Z")).expect("an instant");
        assert_eq!(due, at("2011-12-30T10:00:00Z"));
    }

    #[test]
    fn what_is_not_five_fields_or_never_fires_is_refused() {
        use ScheduleError::{FieldCount, NeverFires, Pattern, Zone};
        assert_eq!(Schedule::parse("0 0 18 * * *", "UTC"), Err(FieldCount(6)));
        assert_eq!(Schedule::parse("@daily", "UTC"), Err(FieldCount(1)));
        assert!(matches!(Schedule::parse("61 18 * * *", "UTC"), Err(Pattern(_))));
        assert_eq!(Schedule::parse("0 0 30 2 *", "UTC"), Err(NeverFires));
        assert_eq!(Schedule::parse("0 0 * * *", "Mars/Base"), Err(Zone("Mars/Base".into())));
    }

    fn decide(policy: MissedRunPolicy, now: &str) -> Vec<(String, DueOutcome)> {
        let schedule = Schedule::parse("0 18 * * *", "UTC").expect("a schedule");
        let window = Duration::hours(60);
        schedule
            .decide(at("2026-03-01T18:00:00Z"), at(now), policy, window, 100)
            .expect("a decision")
            .due
            .into_iter()
            .map(|(due, outcome)| (due.format("%d").to_string(), outcome))
            .collect()
    }

    #[test]
    fn after_an_outage_the_latest_instant_runs_and_the_others_are_accounted_for() {
        let into = at("2026-03-05T18:00:00Z");
        let due = decide(MissedRunPolicy::Latest, "2026-03-06T05:00:00Z");
        assert!(matches!(due[0], (_, DueOutcome::Missed { .. })));
        assert!(matches!(due[1], (_, DueOutcome::Missed { .. })));
        assert_eq!(due[2], ("03".into(), DueOutcome::Coalesced { into }));
        assert_eq!(due[3], ("04".into(), DueOutcome::Coalesced { into }));
        assert_eq!(due[4], ("05".into(), DueOutcome::Run));
        assert_eq!(due.len(), 5);
    }

    #[test]
    fn a_policy_may_run_every_missed_instant_or_none() {
        let all = decide(MissedRunPolicy::All, "2026-03-04T05:00:00Z");
        assert!(all.iter().all(|(_, outcome)| *outcome == DueOutcome::Run));
        assert_eq!(all.len(), 3);
        let none = decide(MissedRunPolicy::Skip, "2026-03-04T05:00:00Z");
        assert!(none.iter().all(|(_, outcome)| matches!(outcome, DueOutcome::Missed { .. })));
        let punctual = decide(MissedRunPolicy::Skip, "2026-03-01T18:00:30Z");
        assert_eq!(punctual, [("01".into(), DueOutcome::Run)]);
    }

    #[test]
    fn nothing_is_due_before_the_next_instant() {
        assert!(decide(MissedRunPolicy::Latest, "2026-03-01T17:59:59Z").is_empty());
    }

    #[test]
    fn a_long_outage_is_decided_in_bounded_steps() {
        let schedule = Schedule::parse("* * * * *", "UTC").expect("a schedule");
        let (mut next, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-03T00:00:30Z"));
        let (mut runs, mut total) = (0, 0);
        while next <= now {
            let window = Duration::hours(24);
            let step = schedule
                .decide(next, now, MissedRunPolicy::Latest, window, 500)
                .expect("a decision");
            assert!(step.due.len() <= 500);
            total += step.due.len();
            runs += step.due.iter().filter(|(_, outcome)| *outcome == DueOutcome::Run).count();
            next = step.next;
        }
        assert_eq!((total, runs), (2 * 24 * 60 + 1, 1));
    }
}
