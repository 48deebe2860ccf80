//! Paths as a pull request knows them: from the root of the repository.

use std::path::{Path, PathBuf};

use cameo_bundle::Diagnostic;

/// What a checkout has at its root: a folder, or a file in a worktree.
const GIT: &str = ".git";

/// Shows each problem's file from the root of the checkout that it is in; others stay as they are.
pub(super) fn from_the_root(problems: &mut [Diagnostic]) {
    for problem in problems {
        if let Some(path) = in_checkout(&problem.file) {
            problem.file = path;
        }
    }
}

fn in_checkout(file: &Path) -> Option<PathBuf> {
    // The file itself may be missing, which may be the problem.
    let (folder, name) = match (file.parent(), file.file_name()) {
        (Some(folder), Some(name)) if folder.as_os_str().is_empty() => (Path::new("."), name),
        (Some(folder), Some(name)) => (folder, name),
        _ => return None,
    };
    let real = folder.canonicalize().ok()?;
    let root = real.ancestors().find(|folder| folder.join(GIT).exists())?;
    Some(real.strip_prefix(root).ok()?.join(name))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::in_checkout;

    #[test]
    fn a_file_in_a_checkout_is_named_from_its_root_and_others_are_not() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let bundle = place.path().join("repository/tenants/crm/clv");
        fs::create_dir_all(&bundle).expect("a folder");
        let config = bundle.join("../clv/config.yaml");
        assert_eq!(in_checkout(&config), None);
        fs::write(place.path().join("repository/.git"), "gitdir: elsewhere\n").expect("a file");
        assert_eq!(in_checkout(&config).as_deref(), Some("tenants/crm/clv/config.yaml".as_ref()));
    }
}
