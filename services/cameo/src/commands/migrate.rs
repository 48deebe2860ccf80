//! `cameo migrate`: the database to the schema of this version.

use std::process::ExitCode;

use cameo_store::schema::{self, Obstacle, Preflight, Step};
use nix::sys::statvfs::statvfs;

use crate::{
    cli::{Global, Migrate},
    deployment::Deployment,
    output::{Output, grouped, table},
};

/// Something is missing, and nothing is in the way of it; the same word as `plan` has for it.
const EXIT_CHANGES: u8 = 2;
/// A migration of the private Postgres wants at least so much room.
const FREE_BYTES_MIN: u64 = 1 << 30;

pub(crate) async fn run(
    global: &Global,
    migrate: Migrate,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::reach(global).await?;
    if migrate.check {
        let mut found = schema::preflight(&deployment.store).await?;
        if global.database_url.is_none() {
            found.obstacles.extend(little_room(&deployment)?);
        }
        output.show(&found, |found| describe(found, output))?;
        return Ok(match (found.obstacles.is_empty(), found.missing.is_empty()) {
            (false, _) => ExitCode::FAILURE,
            (true, false) => ExitCode::from(EXIT_CHANGES),
            (true, true) => ExitCode::SUCCESS,
        });
    }
    let migrated = schema::migrate(&deployment.store).await?;
    output.show(&migrated, |migrated| {
        if migrated.applied.is_empty() {
            return format!("nothing to do: the database has schema {}", migrated.to);
        }
        format!(
            "{} from schema {} to {}\n{}",
            output.green("✓"),
            migrated.from,
            migrated.to,
            steps(&migrated.applied)
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The private Postgres keeps its files in the data directory.
fn little_room(deployment: &Deployment) -> anyhow::Result<Option<Obstacle>> {
    let disk = statvfs(deployment.places.data())?;
    let free = disk.blocks_available() * disk.fragment_size();
    Ok((free < FREE_BYTES_MIN).then(|| Obstacle {
        problem: format!("the disk of the data directory has {} bytes left", grouped(free)),
        remedy: format!("make room for {} bytes", grouped(FREE_BYTES_MIN)),
    }))
}

fn describe(found: &Preflight, output: Output) -> String {
    let mut lines = vec![format!(
        "schema {} of {}, on Postgres {}, {} bytes",
        found.schema,
        found.known,
        found.server_version,
        grouped(found.database_bytes)
    )];
    if !found.missing.is_empty() {
        lines.push(format!(
            "\nmissing, each to be applied whole or not at all:\n{}",
            steps(&found.missing)
        ));
    }
    lines
        .push(format!("\nversions of Cameo may run beside that know schema {}", found.works_since));
    if !found.beside.is_empty() {
        let beside = found.beside.iter();
        lines.push(table(
            &["connected", "connections"],
            beside.map(|one| vec![one.application.clone(), one.connections.to_string()]),
        ));
    }
    if found.obstacles.is_empty() {
        let verdict = if found.missing.is_empty() {
            "nothing to do"
        } else {
            "nothing is in the way: take a backup, then run `cameo migrate`"
        };
        lines.push(format!("\n{}", output.green(verdict)));
    } else {
        let rows = found.obstacles.iter();
        lines.push(format!("\n{}", output.red("in the way:")));
        lines.push(table(
            &["problem", "remedy"],
            rows.map(|obstacle| vec![obstacle.problem.clone(), obstacle.remedy.clone()]),
        ));
    }
    lines.join("\n")
}

fn steps(steps: &[Step]) -> String {
    table(
        &["schema", "name"],
        steps.iter().map(|step| vec![step.version.to_string(), step.name.clone()]),
    )
}
