//! What a world looks like afterwards.

use std::{iter::Sum, ops::Add};

use cameo_tests::{Service, World, report};

use super::ROWS;

/// What went wrong, of which there must be nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Instants that were published at least once.
    pub(super) published: u64,
    /// Instants that were never published.
    pub(super) lost: u64,
    /// Publications beyond the first of an instant.
    pub(super) doubled: u64,
    /// Published generations with other rows than those of their instant.
    pub(super) half_published: u64,
    /// What somebody wrote who had been overtaken.
    pub(super) stale_writes: u64,
}

impl Tally {
    /// Prints the figures, and fails unless nothing went wrong.
    pub(super) fn finish(self, promise: &str, done: &[(&str, u64)]) {
        let Self { published, lost, doubled, half_published, stale_writes } = self;
        let mut figures: Vec<(&str, &dyn std::fmt::Display)> = Vec::new();
        for (name, count) in done {
            figures.push((name, count));
        }
        figures.push(("instants published", &published));
        figures.push(("lost", &lost));
        figures.push(("doubled", &doubled));
        figures.push(("half published", &half_published));
        figures.push(("stale writes that got through", &stale_writes));
        report(promise, &figures);
        assert_eq!([lost, doubled, half_published, stale_writes], [0; 4], "{promise}: {self:?}");
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            published: self.published + other.published,
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            half_published: self.half_published + other.half_published,
            stale_writes: self.stale_writes + other.stale_writes,
        }
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// Counts what became of the instants of a world, of which there were `expected`, and looks for any breach.
pub(super) async fn tally(world: &World, expected: u64) -> Tally {
    let count = async |sql: &str| {
        let texts = world.texts(&format!("select ({sql})::text")).await;
        texts[0].parse::<u64>().expect("a count")
    };
    let published = count(
        "select count(distinct (tenant, service, due_at)) from cameo.generations
         where state = 'published'",
    )
    .await;
    let generations = count("select count(*) from cameo.generations where state = 'published'");
    let entries = count("select count(*) from cameo.publications where action = 'publish'");
    let doubled = generations.await.max(entries.await) - published;
    let stale_writes = count(
        "select count(*) from cameo.generations g join cameo.runs r using (run)
         where g.epoch <> r.epoch and g.state <> 'abandoned'",
    )
    .await;
    world.assert_sound().await;
    Tally {
        published,
        lost: expected.saturating_sub(published),
        doubled,
        half_published: half_published(world).await,
        stale_writes,
    }
}

/// How many of the published generations whose tables are kept have not exactly the rows of their instant.
async fn half_published(world: &World) -> u64 {
    let tables = world
        .texts(
            "select format('%I.%I', table_schema, table_name) || ' ' ||
                 (extract(epoch from due_at) / 3600)::bigint
             from cameo.generations where state = 'published' and dropped_at is null",
        )
        .await;
    let mut half = 0;
    for table in tables {
        let (table, hour) = table.split_once(' ').expect("a table and an hour");
        let whole = world
            .texts(&format!(
                "select (count(*) = {ROWS} and count(distinct user_id) = {ROWS}
                         and bool_and(score - user_id % 7 = {hour} and twin = 2 * score))::text
                 from {table}"
            ))
            .await;
        half += u64::from(whole[0] != "true");
    }
    half
}

/// What readers see of a service at this moment is the whole of one instant, and no invariant is broken.
pub(super) async fn assert_whole(world: &World, service: &Service<'_>, after: &str) {
    if let Some(served) = service.served().await {
        let hour = world
            .texts(&format!(
                "select ((extract(epoch from due_at) / 3600)::bigint)::text
                 from cameo.generations where generation = {}",
                served.generation
            ))
            .await;
        let level = hour[0].parse().expect("an hour");
        assert!(served.is_whole(ROWS, level), "{after}: readers see {served:?}, not hour {level}");
    }
    world.assert_sound().await;
}
