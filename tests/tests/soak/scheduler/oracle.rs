//! When a service is due and what becomes of each instant: the rules of docs/architecture.md, once more and
//! by other means. The oracle knows nothing of cron libraries; it looks at a clock, minute by minute.

use cameo_domain::MissedRunPolicy;
use chrono::{DateTime, Datelike, Duration, Offset, TimeZone, Utc};
use chrono_tz::Tz;

/// Minutes since 1970, of UTC or, as a reading of a clock, of local time.
pub(crate) type Minute = i64;

const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;
/// A clock is read this long before anything is due, so that no change of it is missed.
const BEFORE: i64 = 2 * DAY;
/// How much further a search for the next due instant looks at once.
const AHEAD: i64 = 7 * DAY;
/// Up to here late still counts as punctual where missed instants are skipped.
const PUNCTUAL_SECONDS: i64 = 120;

pub(crate) fn minute(at: DateTime<Utc>) -> Minute {
    at.timestamp().div_euclid(60)
}

pub(crate) fn instant(minute: Minute) -> DateTime<Utc> {
    DateTime::from_timestamp(minute * 60, 0).expect("an instant of this century")
}

/// What a clock of a zone shows at each minute of UTC.
pub(crate) struct Clock {
    zone: Tz,
    from: Minute,
    readings: Vec<Minute>,
}

impl Clock {
    pub(crate) fn new(zone: Tz, from: Minute) -> Self {
        Self { zone, from: from - BEFORE, readings: Vec::new() }
    }

    fn end(&self) -> Minute {
        self.from + i64::try_from(self.readings.len()).expect("some years")
    }

    /// Reads the clock before `end`.
    fn read_until(&mut self, end: Minute) {
        for minute in self.end()..end {
            let utc = instant(minute).naive_utc();
            let offset = self.zone.offset_from_utc_datetime(&utc).fix().local_minus_utc();
            self.readings.push((minute * 60 + i64::from(offset)).div_euclid(60));
        }
    }
}

/// What a pattern wants a clock to show.
struct Wanted {
    minutes: Vec<i64>,
    hours: Vec<i64>,
    days: Vec<i64>,
    months: Vec<i64>,
    weekdays: Vec<i64>,
    every_hour: bool,
}

/// The values of a field: `*`, `3`, `1-5`, `*/15`, `0-23/6`, and lists of these.
fn field(text: &str, least: i64, most: i64) -> Vec<i64> {
    let number = |text: &str| text.parse::<i64>().expect("a number");
    let values = text.split(',').flat_map(|part| {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (number(from), number(to)),
            None if range == "*" => (least, most),
            None => (number(range), number(range)),
        };
        (from..=to).step_by(usize::try_from(number(step)).expect("a step"))
    });
    values.collect()
}

impl Wanted {
    fn read(pattern: &str) -> Self {
        let texts: Vec<&str> = pattern.split(' ').collect();
        assert!(texts[2] == "*" || texts[4] == "*", "{pattern}: the oracle reads one kind of day");
        Self {
            minutes: field(texts[0], 0, 59),
            hours: field(texts[1], 0, 23),
            days: field(texts[2], 1, 31),
            months: field(texts[3], 1, 12),
            weekdays: field(texts[4], 0, 6),
            every_hour: texts[1] == "*",
        }
    }

    fn shows(&self, reading: Minute) -> bool {
        if !self.minutes.contains(&reading.rem_euclid(HOUR))
            || !self.hours.contains(&reading.rem_euclid(DAY).div_euclid(HOUR))
        {
            return false;
        }
        let date = instant(reading).date_naive();
        self.days.contains(&i64::from(date.day()))
            && self.months.contains(&i64::from(date.month()))
            && self.weekdays.contains(&i64::from(date.weekday().num_days_from_sunday()))
    }
}

/// The due instants of a service, as far as anybody has asked.
pub(crate) struct Timeline {
    wanted: Wanted,
    looked_until: Minute,
    /// The latest reading that the clock has shown.
    shown: Option<Minute>,
    due: Vec<Minute>,
}

impl Timeline {
    pub(crate) fn new(pattern: &str, clock: &Clock) -> Self {
        let wanted = Wanted::read(pattern);
        Self { wanted, looked_until: clock.from, shown: None, due: Vec::new() }
    }

    /// Looks at the clock before `end`.
    fn look_until(&mut self, clock: &mut Clock, end: Minute) {
        clock.read_until(end);
        for minute in self.looked_until..end {
            let place = usize::try_from(minute - clock.from).expect("after the clock's first");
            let reading = clock.readings[place];
            let shown = self.shown.unwrap_or(reading - 1);
            // Intervals count what the clock shows. Local times count when they are first shown, and one that
            // the clock skips counts when it is skipped; one that it shows again does not.
            let is_due = if self.wanted.every_hour {
                self.wanted.shows(reading)
            } else {
                (shown + 1..=reading).any(|reading| self.wanted.shows(reading))
            };
            if is_due {
                self.due.push(minute);
            }
            self.shown = Some(shown.max(reading));
        }
        self.looked_until = self.looked_until.max(end);
    }

    /// The first due instant from `from` on.
    pub(crate) fn first_from(&mut self, clock: &mut Clock, from: Minute) -> Minute {
        let mut end = self.looked_until.max(from + 1);
        loop {
            self.look_until(clock, end);
            let place = self.due.partition_point(|due| *due < from);
            if let Some(first) = self.due.get(place) {
                return *first;
            }
            end += AHEAD;
        }
    }

    /// The last due instant up to `until`; asked for only where there is one.
    pub(crate) fn last_until(&mut self, clock: &mut Clock, until: Minute) -> Minute {
        self.look_until(clock, until + 1);
        self.due[self.due.partition_point(|due| *due <= until) - 1]
    }

    /// The due instants from `from` on and before `end`.
    pub(crate) fn between(&mut self, clock: &mut Clock, from: Minute, end: Minute) -> Vec<Minute> {
        self.look_until(clock, end);
        let place = |minute| self.due.partition_point(|due| *due < minute);
        self.due[place(from)..place(end)].to_vec()
    }
}

/// What became of a due instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Run,
    Coalesced {
        into: Minute,
    },
    /// Older than the window.
    TooOld,
    /// Late, where missed instants are skipped.
    Skipped,
}

/// What a service does about instants that passed while nothing could run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) policy: MissedRunPolicy,
    pub(crate) window: Duration,
}

impl Rules {
    /// What becomes of a due instant that is looked at `now`, of which `latest` is the last.
    pub(crate) fn outcome(self, due: Minute, latest: Minute, now: DateTime<Utc>) -> Outcome {
        let late = now - instant(due);
        match self.policy {
            _ if late > self.window => Outcome::TooOld,
            MissedRunPolicy::Skip if late > Duration::seconds(PUNCTUAL_SECONDS) => Outcome::Skipped,
            MissedRunPolicy::Latest if due < latest => Outcome::Coalesced { into: latest },
            _ => Outcome::Run,
        }
    }
}
