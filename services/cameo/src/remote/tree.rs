//! A tree of bundles beside what stands on a server.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use cameo_bundle::{Bundle, Diagnostic, discover};
use cameo_domain::{ServicePath, Stage, TenantName};
use cameo_package::Package;
use cameo_registry::{
    AppliedBundle, inspect,
    plan::{ChangePlan, Entry, RemovedService, Scope, Summary, UnaffectedService},
    release::{git_commit, manifest},
};
use cameo_store::releases::Applied;

use super::client::{Server, Standing};
use crate::source::Source;

/// A tree that was compared by hashes alone.
pub(super) struct Tree {
    /// Bundles that the server has to look at.
    pub(super) pending: Vec<Pending>,
    /// Services of the server that are not in the tree.
    pub(super) removed: Vec<RemovedService>,
    unaffected: Vec<(UnaffectedService, Stage)>,
}

/// A bundle that is no release in use.
pub(super) struct Pending {
    pub(super) path: ServicePath,
    bundle: Bundle,
    /// The file that it came as.
    package: Option<PathBuf>,
}

impl Tree {
    /// Checks the bundles as `cameo check` does, and compares them with what stands on the server.
    ///
    /// # Errors
    /// The inner error is the bundles' problems.
    pub(super) async fn compare(
        server: &Server,
        source: &Source,
    ) -> anyhow::Result<Result<Self, Vec<Diagnostic>>> {
        let (root, package) = (source.folder(), source.package());
        let found = discover(root);
        let scope = Scope::of(root, &found);
        let mut problems = found.diagnostics;
        let mut standing: BTreeMap<TenantName, Vec<Standing>> = BTreeMap::new();
        for tenant in &found.tenants {
            standing.insert(tenant.name.clone(), server.standing(&tenant.name).await?);
        }
        let (mut pending, mut unaffected) = (Vec::new(), Vec::new());
        for bundle in found.bundles {
            let inspection = inspect(&bundle, None).await;
            problems.extend(inspection.diagnostics.iter().cloned());
            let release = manifest(&bundle, &inspection, None).id();
            let services = standing.get(&bundle.path.tenant).map_or(&[][..], Vec::as_slice);
            let same = services.iter().find(|service| {
                service.service == bundle.path.service && service.release == release
            });
            match same.filter(|service| service.stage != Stage::Archived) {
                Some(same) => {
                    let entry = Entry::Stays { stage: same.stage };
                    let service = UnaffectedService { service: bundle.path, release, entry };
                    unaffected.push((service, same.stage));
                }
                None => pending.push(Pending {
                    path: bundle.path.clone(),
                    bundle,
                    package: package.map(Path::to_owned),
                }),
            }
        }
        if problems.iter().any(Diagnostic::is_error) {
            return Ok(Err(problems));
        }
        let known = |path: &ServicePath| {
            pending.iter().any(|pending| pending.path == *path)
                || unaffected.iter().any(|(service, _)| service.service == *path)
        };
        let mut removed = Vec::new();
        // A tree speaks for the tenants that it has: a key sees no others.
        if scope != Scope::Bundles {
            for (tenant, services) in &standing {
                for service in services.iter().filter(|service| service.stage != Stage::Archived) {
                    let path = ServicePath::new(tenant.clone(), service.service.clone());
                    if !known(&path) {
                        removed.push(RemovedService {
                            service: path,
                            release: service.release,
                            stage: service.stage,
                            generation: service.generation(),
                        });
                    }
                }
            }
        }
        Ok(Ok(Self { pending, removed, unaffected }))
    }

    /// The plan as far as it needs no look at a bundle.
    pub(super) fn unaffected_plan(&self) -> ChangePlan {
        let unaffected: Vec<_> =
            self.unaffected.iter().map(|(service, _)| service.clone()).collect();
        ChangePlan {
            summary: Summary {
                archive: self.removed.len(),
                unaffected: unaffected.len(),
                ..Summary::default()
            },
            tenants: Vec::new(),
            services: Vec::new(),
            removed: self.removed.clone(),
            macros: Vec::new(),
            unaffected,
            warnings: Vec::new(),
        }
    }

    /// What applying does to bundles that are releases in use: nothing.
    pub(super) fn unaffected_bundles(&self) -> Vec<AppliedBundle> {
        let bundles = self.unaffected.iter().map(|(service, stage)| AppliedBundle {
            path: service.service.clone(),
            release: service.release,
            applied: Applied::Unchanged,
            stage: *stage,
            next_due_at: None,
        });
        bundles.collect()
    }
}

impl Pending {
    /// The bundle as one file.
    pub(super) fn package(&self) -> anyhow::Result<Vec<u8>> {
        if let Some(file) = &self.package {
            // As it was signed.
            return fs::read(file).with_context(|| format!("could not read {}", file.display()));
        }
        Package::pack(&self.bundle, git_commit(&self.bundle), None)
            .with_context(|| format!("{} could not be packed", self.path))
    }

    /// Problems that the server found, with the files named as they are here.
    pub(super) fn named(&self, mut problems: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let tenants = self.bundle.folder.join("../..");
        for problem in &mut problems {
            let inside = problem.file.strip_prefix(self.path.to_string());
            problem.file = match inside {
                Ok(file) => self.bundle.folder.join(file),
                Err(_) => tenants.join(&problem.file),
            };
        }
        problems
    }
}
