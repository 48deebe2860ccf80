//! Which files a bundle is made of.

use std::path::{Component, Path, PathBuf};

use crate::{
    artifact::{ArtifactError, Location},
    bundle::{Bundle, CARD_FILE, CONFIG_FILE, PREDICTIONS_SQL_FILE},
    macros::{self, MACROS_FOLDER},
    paths::{self, PathError},
    tenant::TENANT_FILE,
};

/// Most files of a bundle, with those of its tenant.
pub const FILES_MAX: usize = 1_000;

/// A file that a release is made from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BundleFile {
    /// Its place below a folder of tenants, with `/` between names: `crm/clv/features.sql`.
    pub name: String,
    /// Where it can be read.
    pub real: PathBuf,
}

impl Bundle {
    /// The files that the bundle needs, with its tenant's settings and macros, by name. A model in
    /// an object store is none of them, and neither is a file that nothing reads.
    ///
    /// # Errors
    /// [`ArtifactError`] when one has vanished or left the folder since the bundle was read.
    pub fn files(&self) -> Result<Vec<BundleFile>, ArtifactError> {
        let mut names = vec![CONFIG_FILE, self.config.features.feature_sql_path.value.as_str()];
        names.extend(
            self.config.ranking.as_ref().map(|ranking| ranking.item_sql_path.value.as_str()),
        );
        names.extend(self.predictions_sql.as_ref().map(|_| PREDICTIONS_SQL_FILE));
        let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let preprocess = self.config.features.preprocess_object_path.as_ref();
        for model in [Some(&self.config.model.model_path), preprocess].into_iter().flatten() {
            if let Location::Inside(path) = Location::parse(&model.value)? {
                names.push(path);
            }
        }
        let mut files = Vec::new();
        for name in names {
            let real = paths::inside(&self.folder, &name)?;
            let name = joined(Path::new(&name));
            files.push(BundleFile { name: format!("{}/{name}", self.path), real });
        }
        // A card without front matter is none that was read, and yet belongs to the model.
        if let Some(real) = if_there(paths::inside(&self.folder, CARD_FILE))? {
            files.push(BundleFile { name: format!("{}/{CARD_FILE}", self.path), real });
        }
        files.extend(self.tenant_files()?);
        files.sort();
        // Two settings may name the same file.
        files.dedup();
        Ok(files)
    }

    /// `tenant.yaml` and the macros that queries may call.
    fn tenant_files(&self) -> Result<Vec<BundleFile>, PathError> {
        let tenant = self.folder.join("..");
        let mut names = vec![TENANT_FILE.to_owned()];
        let macros = macros::file_names(&tenant).into_iter();
        names.extend(macros.map(|name| format!("{MACROS_FOLDER}/{name}")));
        let mut files = Vec::new();
        for name in names {
            if let Some(real) = if_there(paths::inside(&tenant, &name))? {
                files.push(BundleFile { name: format!("{}/{name}", self.path.tenant), real });
            }
        }
        Ok(files)
    }
}

/// A file that need not be there.
fn if_there(found: Result<PathBuf, PathError>) -> Result<Option<PathBuf>, PathError> {
    match found {
        Ok(real) => Ok(Some(real)),
        Err(PathError::Missing(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A relative path with `/` between its names and without `.`.
fn joined(path: &Path) -> String {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    names.collect::<Vec<_>>().join("/")
}
