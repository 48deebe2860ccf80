//! Every zone of the IANA database, every change of its clocks from 2020 to 2037, twenty patterns: the
//! schedule fires exactly when an oracle says that knows nothing of cron libraries (W10).
//!
//! The oracle looks at a clock: it reads the local time at each minute of UTC around a change, and compares the
//! reading with the fields of the pattern. By default each set of rules is tried once (many zones share theirs)
//! and over four years (most rules repeat); `CAMEO_EVERY_ZONE=1` tries each zone by its own name, over all.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use cameo_domain::Schedule;
use chrono::{DateTime, Datelike, Duration, NaiveDateTime, Offset, TimeZone, Timelike, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

/// Each with how many hours around a change to look: frequent ones need no more than the change itself.
const PATTERNS: [(&str, i64); 20] = [
    ("* * * * *", 2),
    ("*/5 * * * *", 3),
    ("*/30 * * * *", 6),
    ("15 * * * *", 30),
    ("0,45 * * * 0", 30),
    ("30 2 * * *", 50),
    ("0 3 * * *", 50),
    ("30 1 * * *", 50),
    ("0 0 * * *", 50),
    ("59 23 * * *", 50),
    ("0,30 1,2 * * *", 50),
    ("*/20 2-3 * * *", 50),
    ("0 */6 * * *", 50),
    ("10 1-23/2 * * *", 50),
    ("5 0-5 * * 0", 50),
    ("30 2 * * 1-5", 50),
    ("0 2 25-31 * *", 50),
    ("0 3 * 3,10 *", 50),
    ("45 1 1-7 4,11 *", 50),
    ("*/15 0,1,2,3 * * 6,0", 50),
];

/// A field of a pattern, as the set of its values.
fn field(text: &str, least: u32, most: u32) -> BTreeSet<u32> {
    let number = |text: &str| text.parse::<u32>().expect("a number");
    let part = |part: &str| {
        let (range, step) =
            part.split_once('/').map_or((part, 1), |(range, step)| (range, number(step)));
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (number(from), number(to)),
            None if range == "*" => (least, most),
            None => (number(range), number(range)),
        };
        (from..=to).step_by(step as usize)
    };
    text.split(',').flat_map(part).collect()
}

/// What a pattern wants a clock to show.
struct Wanted {
    fields: [BTreeSet<u32>; 5],
    /// The hour's field is `*`: even distances count, not readings.
    every_hour: bool,
    /// Days of the month and of the week are both named: either is enough.
    either_day: bool,
}

impl Wanted {
    fn read(pattern: &str) -> Self {
        let texts: Vec<&str> = pattern.split(' ').collect();
        let bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
        let fields = std::array::from_fn(|at| field(texts[at], bounds[at].0, bounds[at].1));
        let every_hour = texts[1] == "*";
        Self { fields, every_hour, either_day: texts[2] != "*" && texts[4] != "*" }
    }

    fn shows(&self, reading: NaiveDateTime) -> bool {
        let [minutes, hours, days, months, weekdays] = &self.fields;
        let day = days.contains(&reading.day());
        let weekday = weekdays.contains(&reading.weekday().num_days_from_sunday());
        minutes.contains(&reading.minute())
            && hours.contains(&reading.hour())
            && months.contains(&reading.month())
            && if self.either_day { day || weekday } else { day && weekday }
    }
}

/// What a clock shows at each minute of UTC from `from` on.
struct Clock {
    from: DateTime<Utc>,
    readings: Vec<NaiveDateTime>,
}

impl Clock {
    fn of(zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        let minutes = 0..=(to - from).num_minutes();
        let reading =
            |minute| (from + Duration::minutes(minute)).with_timezone(&zone).naive_local();
        Self { from, readings: minutes.map(reading).collect() }
    }

    fn at(&self, minute: usize) -> DateTime<Utc> {
        self.from + Duration::minutes(i64::try_from(minute).expect("a minute of the window"))
    }

    /// The due instants of a pattern after the first minute.
    fn due(&self, wanted: &Wanted) -> BTreeSet<DateTime<Utc>> {
        let pairs = self.readings.windows(2).enumerate();
        if wanted.every_hour {
            let shown = pairs.filter(|(_, pair)| wanted.shows(pair[1]));
            return shown.map(|(at, _)| self.at(at + 1)).collect();
        }
        // A reading counts when it is first shown; one that is skipped counts when it is skipped.
        let mut latest = self.readings[0];
        let mut due = BTreeSet::new();
        for (at, pair) in pairs {
            while latest < pair[1] {
                latest += Duration::minutes(1);
                if wanted.shows(latest) {
                    due.insert(self.at(at + 1));
                }
            }
        }
        due
    }
}

fn year(year: i32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).single().expect("a new year")
}

/// The changes of a zone's clocks in these years, to the minute, with the new offset in seconds.
fn changes(zone: Tz, years: Range<i32>) -> Vec<(DateTime<Utc>, i32)> {
    let offset =
        |at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc();
    let mut changes = Vec::new();
    let mut day = year(years.start);
    while day < year(years.end) {
        let (mut before, mut after) = (day, day + Duration::days(1));
        if offset(before) != offset(after) {
            while after - before > Duration::minutes(1) {
                let middle = before + Duration::minutes((after - before).num_minutes() / 2);
                if offset(middle) == offset(day) { before = middle } else { after = middle }
            }
            changes.push((after, offset(after)));
        }
        day += Duration::days(1);
    }
    changes
}

/// Prints the figures, as docs/reliability.md has them.
#[expect(clippy::print_stdout, reason = "the report of tests/soak")]
fn report(zones: usize, windows: usize, fired: usize) {
    println!("Daylight saving: schedules against a clock that is read minute by minute");
    for (name, figure) in [
        ("zones", zones),
        ("changes of a clock, times patterns", windows),
        ("due instants", fired),
        ("differences", 0),
    ] {
        println!("  {name:<44} {figure:>12}");
    }
}

#[test]
fn every_zone_fires_as_the_clock_shows_around_every_change() {
    let each = std::env::var("CAMEO_EVERY_ZONE").is_ok_and(|value| value == "1");
    let years = if each { 2020..2038 } else { 2026..2030 };
    let patterns = PATTERNS.map(|(pattern, hours)| (pattern, Wanted::read(pattern), hours));
    let mut rules: BTreeMap<Vec<(DateTime<Utc>, i32)>, Vec<Tz>> = BTreeMap::new();
    for zone in TZ_VARIANTS {
        rules.entry(changes(zone, years.clone())).or_default().push(zone);
    }
    assert!(rules.len() > 20 && rules.values().flatten().count() > 500, "the database is whole");
    let (mut zones_read, mut windows, mut fired) = (0, 0, 0);
    for (changes, zones) in rules {
        let zones = if each { &zones[..] } else { &zones[..1] };
        zones_read += zones.len();
        for (zone, (change, _)) in
            zones.iter().flat_map(|zone| changes.iter().map(move |at| (zone, at)))
        {
            for (pattern, wanted, hours) in &patterns {
                let (from, to) =
                    (*change - Duration::hours(*hours), *change + Duration::hours(*hours));
                let expected = Clock::of(*zone, from, to).due(wanted);
                let schedule = Schedule::parse(pattern, zone.name()).expect("a schedule");
                let next = |after: &DateTime<Utc>| schedule.next_after(*after).ok();
                let found: BTreeSet<_> =
                    std::iter::successors(next(&from), next).take_while(|due| *due <= to).collect();
                assert_eq!(found, expected, "`{pattern}` in {zone} around {change}");
                windows += 1;
                fired += found.len();
            }
        }
    }
    assert!(windows > 2_000 && fired > 10 * windows, "{windows} windows, {fired} due instants");
    report(zones_read, windows, fired);
}
