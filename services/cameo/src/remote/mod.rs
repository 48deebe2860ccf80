//! Planning and applying on a server that is reached by its API, as a pipeline of git does: with a key that
//! may do just that, and without the server's database. Segments are asked for likewise.
//!
//! A bundle that is a release in use already is not sent. What is sent goes one bundle after the other:
//! before the first one is applied, every one has been planned without a problem.

mod client;
mod segments;
mod tree;

use cameo_domain::ServicePath;
use cameo_registry::{
    AppliedTree, Breaking, TreeOutcome,
    plan::{ChangePlan, PlanError, ServiceChange},
};

use client::Answer;
pub(crate) use client::Server;
use tree::Tree;

use crate::source::Source;

/// How a tree is planned elsewhere.
pub(crate) async fn plan(
    server: &Server,
    source: &Source,
    sample: u32,
) -> anyhow::Result<Result<ChangePlan, PlanError>> {
    match Tree::compare(server, source).await? {
        Ok(tree) => planned(server, &tree, sample).await,
        Err(problems) => Ok(Err(PlanError::Unsound(problems))),
    }
}

/// What every pending bundle of a tree would change.
async fn planned(
    server: &Server,
    tree: &Tree,
    sample: u32,
) -> anyhow::Result<Result<ChangePlan, PlanError>> {
    let mut plan = tree.unaffected_plan();
    let mut problems = Vec::new();
    for pending in &tree.pending {
        match server.plan(&pending.path.tenant, pending.package()?, sample).await? {
            Answer::Done(part) => plan.add(part),
            Answer::Unsound(found) => problems.extend(pending.named(found)),
            Answer::Breaks(_) => anyhow::bail!("the server refuses to plan {}", pending.path),
        }
    }
    Ok(if problems.is_empty() { Ok(plan) } else { Err(PlanError::Unsound(problems)) })
}

/// Applies a tree elsewhere: services in `accept` may break their consumers, and with `prune` those that are
/// not in the tree are archived.
pub(crate) async fn apply(
    server: &Server,
    source: &Source,
    accept: &[ServicePath],
    prune: bool,
) -> anyhow::Result<TreeOutcome> {
    let tree = match Tree::compare(server, source).await? {
        Ok(tree) => tree,
        Err(problems) => return Ok(TreeOutcome::Unsound { problems }),
    };
    let plan = match planned(server, &tree, 0).await? {
        Ok(plan) => plan,
        Err(PlanError::Unsound(problems)) => return Ok(TreeOutcome::Unsound { problems }),
        Err(error) => return Err(error.into()),
    };
    let accepted = |path: &ServicePath| accept.contains(path);
    let breaks = plan.services.into_iter().filter(ServiceChange::breaks);
    let (needed, refused): (Vec<_>, Vec<_>) = breaks.partition(|change| accepted(&change.service));
    if !refused.is_empty() {
        let breaking = refused.into_iter().map(|change| {
            let ServiceChange { service, schema: changes, .. } = change;
            Breaking { service, changes }
        });
        return Ok(TreeOutcome::Breaks { breaking: breaking.collect() });
    }
    let in_vain = |path: &&ServicePath| needed.iter().all(|change| change.service != **path);
    let mut applied = AppliedTree {
        tenants: Vec::new(),
        services: tree.unaffected_bundles(),
        archived: Vec::new(),
        accepted_in_vain: accept.iter().filter(in_vain).cloned().collect(),
    };
    for pending in &tree.pending {
        let accepts = accepted(&pending.path);
        match server.apply(&pending.path.tenant, pending.package()?, accepts).await? {
            Answer::Done(done) => {
                applied.services.push(done.service);
                applied.tenants.extend(done.tenants);
            }
            // Somebody else changed the server in between.
            Answer::Unsound(problems) => {
                return Ok(TreeOutcome::Unsound { problems: pending.named(problems) });
            }
            Answer::Breaks(breaking) => return Ok(TreeOutcome::Breaks { breaking }),
        }
    }
    applied.services.sort_by(|one, other| one.path.cmp(&other.path));
    if prune {
        for removed in &tree.removed {
            applied.archived.push(server.archive(&removed.service).await?);
        }
    }
    Ok(TreeOutcome::Applied(applied))
}
