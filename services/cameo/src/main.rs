//! `cameo`: the one binary. It parses the command line, wires the platform together and prints.

mod bars;
mod cli;
mod commands;
mod demo;
mod deployment;
mod drawing;
mod output;
mod picture;
mod remote;
mod roles;
mod source;
#[cfg(test)]
mod workflows;

use std::{io::Write, process::ExitCode};

use cameo_isolation::child;
use mimalloc::MiMalloc;

use crate::{
    cli::{Cli, Command},
    output::Output,
};

/// Small allocations are what a look-up mostly costs (`cameo bench lookup`).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Wrong usage of the command line, as in sysexits.h; 2 is taken by `plan`.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    // Workers start this program once for each run, to be what the run's model works in.
    if let Some(allowance) = child::allowance(std::env::args_os()) {
        return child::serve(allowance);
    }
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let runtime = match cameo_runtime::requests::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("could not start threads")),
    };
    cameo_runtime::tls::install_provider();
    let code = runtime.block_on(dispatch(cli)).unwrap_or_else(|error| failed(&error));
    // A blocking thread that still scores a batch must not keep the process alive.
    runtime.shutdown_background();
    code
}

fn failed(error: &anyhow::Error) -> ExitCode {
    // Where standard error is closed too, the exit code says it all.
    let _ = writeln!(std::io::stderr(), "error: {}", in_words(error));
    ExitCode::FAILURE
}

/// The error and its causes, without those that the one before has already said.
fn in_words(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let output = Output::new(cli.global.output);
    let global = &cli.global;
    match cli.command {
        Command::Up(up) => commands::up::run(global, up, output).await,
        Command::Serve(serve) => commands::serve::run(global, serve).await,
        Command::New(new) => commands::new::run(global, new, output).await,
        Command::Check(check) => commands::check::run(global, check, output).await,
        Command::Plan(plan) => commands::plan::run(global, plan, output).await,
        Command::Apply(apply) => commands::apply::run(global, apply, output).await,
        Command::Releases(service) => commands::releases::run(global, service, output).await,
        Command::Promote(promote) => commands::promote::run(global, promote, output).await,
        Command::Approve(approve) => commands::promote::approve(global, approve, output).await,
        Command::Verdicts(verdicts) => commands::verdicts::run(global, verdicts, output).await,
        Command::History(history) => commands::history::run(global, history, output).await,
        Command::Archive(archive) => commands::archive::run(global, archive, output).await,
        Command::Package(package) => commands::package::run(package, output).await,
        Command::Run(run) => commands::run::run(global, run, output).await,
        Command::Runs(runs) => commands::runs::run(global, runs, output).await,
        Command::Generations(service) => commands::generations::run(global, service, output).await,
        Command::Importance(wanted) => commands::importance::run(global, wanted, output).await,
        Command::Explain(wanted) => commands::explain::run(global, wanted, output).await,
        Command::Lineage(wanted) => commands::lineage::run(global, wanted, output).await,
        Command::Card(service) => commands::card::run(global, service, output).await,
        Command::Segment(segment) => commands::segments::run(global, segment, output).await,
        Command::Rollback(rollback) => commands::rollback::run(global, rollback, output).await,
        Command::Erase(erase) => commands::erasures::erase(global, erase, output).await,
        Command::Erasures(wanted) => commands::erasures::run(global, wanted, output).await,
        Command::Suppressions(wanted) => {
            commands::erasures::suppressions(global, wanted, output).await
        }
        Command::Keys(keys) => commands::keys::run(global, keys, output).await,
        Command::SqlAccess(access) => commands::sql_access::run(global, access, output).await,
        Command::Audit(audit) => commands::audit::run(global, audit, output).await,
        Command::Doctor => commands::doctor::run(global, output).await,
        Command::Backup(backup) => commands::backup::run(global, backup, output).await,
        Command::Restore(restore) => commands::restore::run(global, restore, output).await,
        Command::Migrate(migrate) => commands::migrate::run(global, migrate, output).await,
        Command::DemoData(data) => commands::demo_data::run(global, data, output).await,
        Command::Model(model) => commands::model::run(global, model, output).await,
        Command::Sql(sql) => commands::sql::run(sql, output),
        Command::Schema { tenant } => commands::schema::run(tenant),
        Command::Bench(bench) => commands::bench::run(bench, output).await,
    }
}

#[cfg(test)]
mod tests {
    use super::in_words;

    #[test]
    fn a_cause_that_was_already_told_is_not_repeated() {
        let error = anyhow::anyhow!("no such file")
            .context("could not read x: no such file")
            .context("could not start");
        assert_eq!(in_words(&error), "could not start: could not read x: no such file");
    }
}
