//! What is the case, as far as anybody can see.

use cameo_domain::{RunState, Stage};
use cameo_store::lookup;
use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{
    real::Case,
    reference::{Answer, Due, Entry, Generation, GenerationState, Model, Run, Service},
    step::{SERVICES, VERSIONS},
};

/// The database's names of runs and generations, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) runs: Vec<i64>,
    pub(crate) generations: Vec<i64>,
}

/// Runs, generations, services, the ledger, copies, due instants, and what readers find.
#[derive(Debug, PartialEq)]
pub(crate) struct View {
    runs: Vec<Run>,
    generations: Vec<Generation>,
    services: Vec<Service>,
    ledger: Vec<Entry>,
    /// Generation, whether it is mirrored, epoch.
    copies: Vec<(usize, bool, u32)>,
    due: Vec<Due>,
    /// Generation and rows that the readers of each service get.
    served: Vec<Option<(usize, u64)>>,
}

impl View {
    pub(crate) fn of(model: &Model) -> Self {
        let served = model.services.iter().map(|service| {
            let current = service.current?;
            Some((current, model.generations[current].rows.expect("it is sealed")))
        });
        let copies = model.copies.iter().map(|copy| (copy.generation, copy.mirrored, copy.epoch));
        Self {
            runs: model.runs.clone(),
            generations: model.generations.clone(),
            services: model.services.clone(),
            ledger: model.ledger.clone(),
            copies: copies.collect(),
            due: model.due.clone(),
            served: served.collect(),
        }
        .sorted()
    }

    /// What happens to different services at the same time has no order.
    fn sorted(mut self) -> Self {
        self.ledger.sort_by_key(|entry| entry.service);
        self.copies.sort_unstable();
        self.due.sort_by_key(|due| (due.service, due.at));
        self
    }
}

/// The place of a name.
fn place(names: &[i64], name: i64) -> usize {
    names.binary_search(&name).unwrap_or_else(|_| panic!("{name} is not one of {names:?}"))
}

impl Names {
    /// An answer with places for names.
    pub(crate) fn places(&self, answer: &Answer<i64>) -> Answer<usize> {
        let generation = |name: i64| place(&self.generations, name);
        match answer {
            Answer::Nothing => Answer::Nothing,
            Answer::Done => Answer::Done,
            Answer::Refused => Answer::Refused,
            Answer::State(state) => Answer::State(*state),
            Answer::Run(run) => Answer::Run(place(&self.runs, *run)),
            Answer::Generation(name) => Answer::Generation(generation(*name)),
            Answer::Superseded(name) => Answer::Superseded(generation(*name)),
            // Of other cases as well.
            Answer::Generations(names) => Answer::Generations(
                names.iter().filter_map(|name| self.generations.binary_search(name).ok()).collect(),
            ),
        }
    }
}

/// Looks at everything of the case's tenant.
pub(crate) async fn look(case: &Case<'_>, connection: &mut PgConnection) -> (Names, View) {
    let mut rows = async |sql: &'static str| {
        sqlx::query(sql).bind(case.tenant.as_str()).fetch_all(&mut *connection).await.expect(sql)
    };
    let runs = rows(
        "select r.*, exists (select from cameo.verdicts v where v.run = r.run) as compared
         from cameo.runs r where tenant = $1 order by run",
    )
    .await;
    let generations =
        rows("select * from cameo.generations where tenant = $1 order by generation").await;
    let names = Names {
        runs: runs.iter().map(|row| row.get("run")).collect(),
        generations: generations.iter().map(|row| row.get("generation")).collect(),
    };
    let services = rows("select * from cameo.services where tenant = $1 order by service").await;
    let stages = rows("select * from cameo.release_stages where tenant = $1").await;
    let ledger =
        rows("select * from cameo.publications where tenant = $1 order by publication").await;
    let copies = rows("select * from cameo.outbox where tenant = $1").await;
    let due = rows("select * from cameo.due_instants where tenant = $1").await;
    let generation = |row: &PgRow, column: &str| {
        row.get::<Option<i64>, _>(column).map(|name| place(&names.generations, name))
    };
    let view = View {
        runs: runs.iter().map(|row| run(case, row, &names)).collect(),
        generations: generations.iter().map(|row| self::generation(row, &names)).collect(),
        services: services
            .iter()
            .enumerate()
            .map(|(number, row)| Service {
                stages: stages_of(case, number, &stages),
                next_due_at: row.get("next_due_at"),
                current: generation(row, "current_generation"),
            })
            .collect(),
        ledger: ledger
            .iter()
            .map(|row| Entry {
                service: case.service_of(row),
                is_rollback: row.get::<&str, _>("action") == "rollback",
                generation: generation(row, "generation").expect("nothing is withdrawn"),
                previous: generation(row, "previous"),
            })
            .collect(),
        copies: copies
            .iter()
            .map(|row| {
                let copied = generation(row, "generation").expect("a generation");
                let mirrored = row.get::<&str, _>("state") == "mirrored";
                (copied, mirrored, number(row, "epoch"))
            })
            .collect(),
        due: due.iter().map(|row| due_instant(case, row)).collect(),
        served: served(case, connection, &names).await,
    };
    (names, view.sorted())
}

fn number(row: &PgRow, column: &str) -> u32 {
    row.get::<i32, _>(column).unsigned_abs()
}

fn run(case: &Case<'_>, row: &PgRow, names: &Names) -> Run {
    let service = case.service_of(row);
    let state: RunState = row.get::<&str, _>("state").parse().expect("a state");
    let generation: Option<i64> = row.get("generation");
    Run {
        service,
        version: case.version_of(service, row),
        due_at: row.get("due_at"),
        beside: row.get::<&str, _>("purpose") == "shadow",
        state,
        epoch: number(row, "epoch"),
        attempt: number(row, "attempt"),
        generation: generation.map(|name| place(&names.generations, name)),
        compared: row.get("compared"),
    }
}

fn generation(row: &PgRow, names: &Names) -> Generation {
    Generation {
        run: place(&names.runs, row.get("run")),
        epoch: number(row, "epoch"),
        state: match row.get("state") {
            "loading" => GenerationState::Loading,
            "abandoned" => GenerationState::Abandoned,
            "published" => GenerationState::Published,
            "retired" => GenerationState::Retired,
            "shadowed" => GenerationState::Shadowed,
            other => panic!("no state of a generation: {other}"),
        },
        rows: row.get::<Option<i64>, _>("rows").map(i64::unsigned_abs),
        dropped: row.get::<Option<DateTime<Utc>>, _>("dropped_at").is_some(),
    }
}

fn stages_of(case: &Case<'_>, service: usize, rows: &[PgRow]) -> [Stage; VERSIONS] {
    let mut stages = [Stage::Candidate; VERSIONS];
    for row in rows.iter().filter(|row| case.service_of(row) == service) {
        let stage = row.get::<&str, _>("stage").parse().expect("a stage");
        stages[case.version_of(service, row)] = stage;
    }
    stages
}

fn due_instant(case: &Case<'_>, row: &PgRow) -> Due {
    Due {
        service: case.service_of(row),
        at: row.get("due_at"),
        outcome: match row.get("outcome") {
            "run" => "run",
            "coalesced" => "coalesced",
            _ => "missed",
        },
        into: row.get("coalesced_into"),
    }
}

/// What readers get: the pointer, and the rows of the table that it names.
async fn served(
    case: &Case<'_>,
    connection: &mut PgConnection,
    names: &Names,
) -> Vec<Option<(usize, u64)>> {
    let mut served = vec![None; SERVICES];
    let current = lookup::current(case.store(), Some(&case.tenant)).await.expect("pointers");
    for pointer in current {
        let table = &pointer.table;
        let sql = format!("select count(*) from {:?}.{:?}", table.schema, table.name);
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut *connection)
            .await
            .expect("the table that the pointer names");
        let service = case.paths.iter().position(|path| *path == pointer.path).expect("its own");
        served[service] =
            Some((place(&names.generations, pointer.generation.0), rows.unsigned_abs()));
    }
    served
}

impl Case<'_> {
    fn service_of(&self, row: &PgRow) -> usize {
        let name: &str = row.get("service");
        self.paths.iter().position(|path| path.service.as_str() == name).expect("a service")
    }

    fn version_of(&self, service: usize, row: &PgRow) -> usize {
        let release: &str = row.get("release");
        let versions = &self.versions[service];
        versions.iter().position(|version| version.to_string() == release).expect("a version")
    }
}
