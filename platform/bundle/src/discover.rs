//! Finds the tenants and bundles below a folder.

use std::path::{Path, PathBuf};

use crate::{
    bundle::{self, Bundle, CONFIG_FILE},
    code::Code,
    diagnostic::{self, Diagnostic},
    macros::{MACROS_FOLDER, TenantMacros, tenant_folder},
    tenant::{self, TENANT_FILE, Tenant},
};

/// Most bundles of one discovery.
pub const BUNDLES_MAX: usize = 10_000;
/// Most entries of a folder that are looked at.
const ENTRIES_MAX: usize = 10_000;

/// What was found: everything that is sound, and everything that is wrong.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Sound tenants, by name.
    pub tenants: Vec<Tenant>,
    /// Sound bundles, by tenant and name.
    pub bundles: Vec<Bundle>,
    /// Problems of the others, by file and line.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads the tenants and bundles below `root`: a folder of tenants, one tenant or one bundle.
#[must_use]
pub fn discover(root: &Path) -> Discovery {
    let mut found = Discovery::default();
    if looks_like_bundle(root) {
        let macros = found.add_tenant(&tenant_folder(root));
        found.add_bundle(root, &macros);
    } else if looks_like_tenant(root) {
        let macros = found.add_tenant(root);
        found.add_bundles(root, &macros);
    } else {
        for folder in folders(root) {
            // Folders without bundles, such as docs, are nobody's tenant.
            if looks_like_tenant(&folder) {
                let macros = found.add_tenant(&folder);
                found.add_bundles(&folder, &macros);
            }
        }
        if found.tenants.is_empty() && found.bundles.is_empty() && found.diagnostics.is_empty() {
            let message = if root.is_dir() {
                "no tenant and no bundle is in this folder"
            } else {
                "this is not a folder"
            };
            found.diagnostics.push(
                Diagnostic::of_file(Code::NothingFound, root, message)
                    .expected("<tenant>/<service>/config.yaml below it"),
            );
        }
    }
    diagnostic::sort(&mut found.diagnostics);
    found
}

impl Discovery {
    fn add_tenant(&mut self, folder: &Path) -> TenantMacros {
        self.tenants.extend(tenant::load(folder, &mut self.diagnostics));
        let macros = TenantMacros::load(folder);
        self.diagnostics.extend(macros.problems.iter().cloned());
        macros
    }

    fn add_bundles(&mut self, tenant: &Path, macros: &TenantMacros) {
        for folder in folders(tenant).into_iter().filter(|folder| looks_like_bundle(folder)) {
            if self.bundles.len() >= BUNDLES_MAX {
                let message = format!("found more than {BUNDLES_MAX} bundles");
                self.diagnostics.push(Diagnostic::of_file(Code::TooManyBundles, tenant, message));
                return;
            }
            self.add_bundle(&folder, macros);
        }
    }

    fn add_bundle(&mut self, folder: &Path, macros: &TenantMacros) {
        match bundle::load_with(folder, macros) {
            Ok(bundle) => self.bundles.push(bundle),
            Err(problems) => {
                // A tenant's bad name was reported with the tenant.
                let known = |problem: &Diagnostic| problem.code == Code::TenantNameInvalid;
                self.diagnostics.extend(problems.into_iter().filter(|problem| !known(problem)));
            }
        }
    }
}

/// Whether a folder is one bundle. By any file that only a bundle has, so that one without its config is
/// reported.
#[must_use]
pub fn looks_like_bundle(folder: &Path) -> bool {
    if folder.file_name().is_some_and(|name| name == MACROS_FOLDER) {
        return false;
    }
    [CONFIG_FILE, "config.yml", "features.sql"].iter().any(|name| folder.join(name).is_file())
}

fn looks_like_tenant(folder: &Path) -> bool {
    folder.join(TENANT_FILE).is_file()
        || folder.join(MACROS_FOLDER).is_dir()
        || folders(folder).iter().any(|f| looks_like_bundle(f))
}

/// The folders in a folder, by name. Hidden ones and symbolic links are passed over.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().take(ENTRIES_MAX).flatten();
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    folders
}
