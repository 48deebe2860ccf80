//! What a package says about itself.

use std::collections::BTreeSet;

use cameo_domain::{ServicePath, Sha256};
use serde::{Deserialize, Serialize};

use crate::{
    error::PackageError,
    limits::{FILE_BYTES_MAX, FILES_BYTES_MAX, FILES_MAX, NAME_BYTES_MAX},
};

/// The format that this version writes and reads.
pub const FORMAT: u32 = 1;

/// The first entry of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The service whose bundle this is.
    pub service: ServicePath,
    /// The git commit that the bundle was at.
    pub commit: Option<String>,
    /// Its files by name.
    pub files: Vec<PackedFile>,
}

/// One file of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackedFile {
    /// Its place below a folder of tenants, with `/` between names.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The hash of its content.
    pub sha256: Sha256,
}

impl Manifest {
    /// Whether these files may be written below a folder, and nowhere else.
    pub(crate) fn check(&self) -> Result<(), PackageError> {
        if self.format != FORMAT {
            return Err(PackageError::refused(
                format!("format {FORMAT}, which this version of cameo reads"),
                format!("format {}", self.format),
            ));
        }
        if let Some(commit) = &self.commit
            && !(commit.len() <= NAME_BYTES_MAX && commit.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Err(PackageError::refused("a git commit", format!("{commit:?}")));
        }
        too_large("the number of files", self.files.len() as u64, FILES_MAX as u64)?;
        let mut sum = 0_u64;
        for file in &self.files {
            self.check_name(&file.name)?;
            too_large(&format!("`{}`", file.name), file.bytes, FILE_BYTES_MAX)?;
            sum = sum.saturating_add(file.bytes);
        }
        too_large("the size of all files", sum, FILES_BYTES_MAX)?;
        if let Some(pair) = self.files.windows(2).find(|pair| pair[0].name >= pair[1].name) {
            return Err(PackageError::refused(
                "each file once, in the order of their names",
                format!("`{}` before `{}`", pair[0].name, pair[1].name),
            ));
        }
        let names: BTreeSet<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        let is_folder_too = |name: &str| {
            name.match_indices('/')
                .map(|(at, _)| &name[..at])
                .find(|folder| names.contains(folder))
                .map(str::to_owned)
        };
        match names.iter().find_map(|name| is_folder_too(name)) {
            Some(name) => Err(PackageError::refused(
                "names of files",
                format!("`{name}`, which is a file and a folder"),
            )),
            None => Ok(()),
        }
    }

    /// Below the tenant's folder, in names that every file system takes.
    fn check_name(&self, name: &str) -> Result<(), PackageError> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                // A repository's own settings name programs to run; whoever unpacks may ask git for the commit.
                && !part.eq_ignore_ascii_case(".git")
                && !part.contains(|c: char| c.is_control() || c == '\\')
        };
        let tenant = self.service.tenant.as_str();
        let is_inside = name.split_once('/').is_some_and(|(first, _)| first == tenant)
            && name.split('/').all(is_part)
            && name.len() <= NAME_BYTES_MAX;
        if is_inside {
            return Ok(());
        }
        Err(PackageError::refused(
            format!("a file below `{tenant}/` with a name of at most {NAME_BYTES_MAX} bytes"),
            format!("{name:?}"),
        ))
    }
}

pub(crate) fn too_large(what: &str, found: u64, limit: u64) -> Result<(), PackageError> {
    if found > limit {
        return Err(PackageError::TooLarge { what: what.to_owned(), found, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(names: &[&str]) -> Manifest {
        let file = |name: &&str| PackedFile {
            name: (*name).to_owned(),
            bytes: 1,
            sha256: Sha256::of(b"x"),
        };
        Manifest {
            format: FORMAT,
            service: "crm/clv".parse().expect("a path"),
            commit: None,
            files: names.iter().map(file).collect(),
        }
    }

    #[test]
    fn a_name_never_leads_out_of_the_tenants_folder() {
        assert!(manifest(&["crm/clv/config.yaml", "crm/tenant.yaml"]).check().is_ok());
        let long = format!("crm/{}", "x".repeat(NAME_BYTES_MAX));
        for name in [
            "config.yaml",
            "crm",
            "crm/",
            "/crm/clv",
            "crm/../x",
            "crm/./x",
            "crm//x",
            "other/x",
            "../crm/x",
            "crm/a\\b",
            "crm/clv/.git/config",
            "crm/.GIT",
            "crm/a\0b",
            "crm/a\nb",
            "",
            long.as_str(),
        ] {
            let refused = manifest(&[name]).check().expect_err(name).to_string();
            assert!(refused.contains("expected a file below `crm/`"), "{refused}");
        }
    }

    #[test]
    fn names_are_in_order_once_and_no_folder_at_the_same_time() {
        for names in
            [&["crm/b", "crm/a"][..], &["crm/a", "crm/a"], &["crm/a", "crm/a-b", "crm/a/c"]]
        {
            assert!(manifest(names).check().is_err(), "{names:?}");
        }
    }

    #[test]
    fn sizes_are_bounded_without_being_added_up_wrongly() {
        let mut large = manifest(&["crm/a", "crm/b", "crm/c"]);
        large.files[1].bytes = u64::MAX;
        assert!(matches!(large.check(), Err(PackageError::TooLarge { .. })));
        large.files.iter_mut().for_each(|file| file.bytes = FILE_BYTES_MAX);
        assert!(large.check().expect_err("3 models").to_string().contains("all files"));
        assert!(Manifest { format: 2, ..manifest(&[]) }.check().is_err());
        assert!(Manifest { commit: Some("$(id)".into()), ..manifest(&[]) }.check().is_err());
    }
}
