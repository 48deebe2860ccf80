//! A bundle's folder into a checked [`Bundle`].

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use cameo_domain::{Card, ServicePath, TenantName};
use cameo_sqlmacros::MacroUse;

use crate::{
    artifact::{Location, MODEL_BYTES_MAX},
    card,
    code::Code,
    config::{self, Config, Reading},
    diagnostic::{self, Diagnostic, Located},
    macros::{TenantMacros, tenant_folder},
    nearest::nearest,
    paths::{self, PathError},
    reader::shorten,
    source::SourceFile,
    sql::SqlFile,
    tenant::name_of,
};

/// The config's file name.
pub const CONFIG_FILE: &str = "config.yaml";
/// The post-processing query's file name.
pub const PREDICTIONS_SQL_FILE: &str = "predictions.sql";
/// The card's file name.
pub const CARD_FILE: &str = "CARD.md";

/// The files of one service, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// The tenant by its folder's name, the service by `SERVICE_NAME`.
    pub path: ServicePath,
    /// Where the files are.
    pub folder: PathBuf,
    /// `config.yaml`, read.
    pub config: Config,
    /// `config.yaml`, as written.
    pub config_text: String,
    /// The feature query.
    pub feature_sql: SqlFile,
    /// The query of the items of a service that ranks.
    pub item_sql: Option<SqlFile>,
    /// `predictions.sql`, where there is one.
    pub predictions_sql: Option<SqlFile>,
    /// `CARD.md`, where it has front matter.
    pub card: Option<Card>,
}

impl Bundle {
    /// `config.yaml`, for diagnostics that point into it.
    #[must_use]
    pub fn config_source(&self) -> SourceFile {
        SourceFile::new(self.folder.join(CONFIG_FILE), self.config_text.as_str())
    }

    /// Its SQL files: the feature query, the items' query and `predictions.sql`.
    pub fn sql_files(&self) -> impl Iterator<Item = &SqlFile> {
        std::iter::once(&self.feature_sql).chain(&self.item_sql).chain(&self.predictions_sql)
    }

    /// The macros that its SQL was rendered with, directly or through another macro, each once, by name.
    #[must_use]
    pub fn macros(&self) -> Vec<MacroUse> {
        let mut macros: Vec<_> =
            self.sql_files().flat_map(|file| file.macros.iter().cloned()).collect();
        macros.sort_by(|one, other| one.name.cmp(&other.name));
        macros.dedup();
        macros
    }
}

/// Reads and checks a bundle's folder.
///
/// # Errors
/// Every problem of the bundle, in the order of files and lines. Warnings alone do not refuse it.
pub fn load(folder: &Path) -> Result<Bundle, Vec<Diagnostic>> {
    let macros = TenantMacros::load(&tenant_folder(folder));
    load_with(folder, &macros).map_err(|mut problems| {
        problems.extend(macros.problems);
        diagnostic::sort(&mut problems);
        problems
    })
}

/// As [`load`], with the macros of its tenant at hand, and without their problems.
pub(crate) fn load_with(folder: &Path, macros: &TenantMacros) -> Result<Bundle, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let bundle = load_into(folder, macros, &mut problems);
    match bundle {
        Some(bundle) if problems.is_empty() => Ok(bundle),
        _ => {
            diagnostic::sort(&mut problems);
            Err(problems)
        }
    }
}

fn load_into(
    folder: &Path,
    macros: &TenantMacros,
    problems: &mut Vec<Diagnostic>,
) -> Option<Bundle> {
    let tenant = tenant_of(folder, problems);
    let source = match SourceFile::read(&folder.join(CONFIG_FILE)) {
        Ok(source) => Some(source),
        Err(problem) => {
            problems.push(with_other_spelling(*problem, folder));
            None
        }
    };
    // Other files are checked even where the config cannot be.
    let predictions_sql = beside(folder, PREDICTIONS_SQL_FILE, problems);
    let card = beside(folder, CARD_FILE, problems);
    let card = card.and_then(|source| card::read(&source, problems));
    let has_predictions_sql = predictions_sql.is_some();
    let predictions_sql = predictions_sql.and_then(|sql| render(sql, macros, problems));
    let source = source?;
    let reading = config::read(&source, problems);
    let mut files = Files { folder, source: &source, macros, problems };
    files.check_service_name(&reading);
    let feature_sql = reading.feature_sql_path.as_ref().and_then(|path| files.sql(path));
    let item_sql = reading.item_sql_path.as_ref().and_then(|path| files.sql(path));
    for path in [&reading.model_path, &reading.preprocess_object_path].into_iter().flatten() {
        files.check_model(path);
    }
    let config = reading.config?;
    // A file that could not be rendered is not the same as none.
    let is_whole = predictions_sql.is_some() == has_predictions_sql;
    is_whole.then_some(())?;
    Some(Bundle {
        path: ServicePath::new(tenant?, config.prediction.service_name.value.clone()),
        folder: folder.to_owned(),
        config,
        config_text: source.text.to_string(),
        feature_sql: feature_sql?,
        item_sql,
        predictions_sql,
        card,
    })
}

/// The tenant is the folder above.
fn tenant_of(folder: &Path, problems: &mut Vec<Diagnostic>) -> Option<TenantName> {
    let name = folder
        .canonicalize()
        .map_err(|error| error.kind().to_string())
        .and_then(|real| real.parent().map_or(Err("no folder above".into()), name_of))
        .and_then(|name| name.parse().map_err(|error: cameo_domain::NameError| error.to_string()));
    match name {
        Ok(name) => Some(name),
        Err(message) => {
            problems.push(
                Diagnostic::of_file(Code::TenantNameInvalid, folder.join(CONFIG_FILE), message)
                    .expected(
                        "the bundle in <tenant>/<service>/, where <tenant> is the tenant's name",
                    ),
            );
            None
        }
    }
}

/// A file that need not be there.
fn beside(folder: &Path, name: &str, problems: &mut Vec<Diagnostic>) -> Option<SourceFile> {
    let shown = folder.join(name);
    match paths::inside(folder, name) {
        Ok(real) => {
            SourceFile::read_as(&real, &shown).map_err(|problem| problems.push(*problem)).ok()
        }
        Err(PathError::Missing(_)) => None,
        Err(error) => {
            problems.push(Diagnostic::of_file(code_of(&error), shown, error.to_string()));
            None
        }
    }
}

fn with_other_spelling(problem: Diagnostic, folder: &Path) -> Diagnostic {
    if problem.code != Code::FileMissing {
        return problem;
    }
    let found = file_names(folder)
        .into_iter()
        .find(|name| matches!(name.to_ascii_lowercase().as_str(), "config.yml" | "config.yaml"));
    match found {
        Some(name) => problem.help(format!("rename `{name}` to `{CONFIG_FILE}`")),
        None => problem,
    }
}

/// Most file names of a folder that are looked at for a proposal.
const FILE_NAMES_MAX: usize = 1_000;

fn file_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().take(FILE_NAMES_MAX).flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

pub(crate) fn code_of(error: &PathError) -> Code {
    match error {
        PathError::Unsafe(_) | PathError::Escapes(_) => Code::UnsafePath,
        PathError::Missing(_) => Code::FileMissing,
        PathError::NotAFile(_) | PathError::Unreadable { .. } => Code::FileUnreadable,
    }
}

/// Checks the files that a config names.
struct Files<'a> {
    folder: &'a Path,
    source: &'a SourceFile,
    macros: &'a TenantMacros,
    problems: &'a mut Vec<Diagnostic>,
}

impl Files<'_> {
    fn check_service_name(&mut self, reading: &Reading) {
        if let Some(name) = &reading.service_name
            && let Ok(folder) = name_of(self.folder)
            && folder != name.value.as_str()
        {
            let message =
                format!("the service is named `{}`, its folder `{}`", name.value, shorten(&folder));
            self.problems.push(
                Diagnostic::at(Code::ServiceNameDiffers, self.source, name.span, message)
                    .expected("the same name for both"),
            );
        }
    }

    fn find(&mut self, path: &Located<String>) -> Option<PathBuf> {
        let error = match paths::inside(self.folder, &path.value) {
            Ok(real) => return Some(real),
            Err(error) => error,
        };
        let mut problem =
            Diagnostic::at(code_of(&error), self.source, path.span, error.to_string());
        if matches!(error, PathError::Missing(_)) {
            let names = file_names(self.folder);
            problem = problem.did_you_mean(nearest(&path.value, names.iter().map(String::as_str)));
        }
        self.problems.push(problem);
        None
    }

    fn sql(&mut self, path: &Located<String>) -> Option<SqlFile> {
        let real = self.find(path)?;
        match SourceFile::read_as(&real, &self.folder.join(&path.value)) {
            Ok(source) => render(source, self.macros, self.problems),
            Err(problem) => {
                self.problems.push(*problem);
                None
            }
        }
    }

    /// A model in an object store is looked at when it is fetched, not here.
    fn check_model(&mut self, path: &Located<String>) {
        match Location::parse(&path.value) {
            Ok(Location::Inside(_)) => {}
            Ok(Location::Remote(_)) => return,
            Err(error) => {
                let problem = Diagnostic::at(
                    Code::LocationUnsupported,
                    self.source,
                    path.span,
                    error.to_string(),
                );
                self.problems.push(problem);
                return;
            }
        }
        let Some(real) = self.find(path) else { return };
        let mut start = Vec::new();
        let size = File::open(&real).and_then(|file| {
            let bytes = file.metadata()?.len();
            file.take(MODEL_START_BYTES).read_to_end(&mut start)?;
            Ok(bytes)
        });
        let problem =
            |code, message: String| Some(Diagnostic::at(code, self.source, path.span, message));
        let problem = match size {
            Err(error) => problem(
                Code::FileUnreadable,
                format!("`{}` cannot be read: {}", path.value, error.kind()),
            ),
            Ok(bytes) if bytes > MODEL_BYTES_MAX => {
                problem(Code::FileTooLarge, format!("`{}` has {bytes} bytes", path.value))
                    .map(|problem| problem.expected(format!("at most {MODEL_BYTES_MAX} bytes")))
            }
            Ok(_) => other_format(&start).and_then(|format| {
                problem(Code::NotOnnx, format!("`{}` is {format}", path.value))
                    .map(|problem| problem.expected("an ONNX model"))
            }),
        };
        self.problems.extend(problem);
    }
}

/// How much of a model file tells its format.
const MODEL_START_BYTES: u64 = 64;

/// The format of a file that is certainly not ONNX, from its first bytes. ONNX itself has no signature.
#[must_use]
pub fn other_format(start: &[u8]) -> Option<&'static str> {
    match start {
        [] => Some("empty"),
        [0x80, 2..=5, ..] => Some("a Python pickle"),
        [b'P', b'K', 3, 4, ..] => Some("a zip archive (a PyTorch or Keras file?)"),
        [0x89, b'H', b'D', b'F', ..] => Some("an HDF5 file"),
        [b'{', ..] => Some("JSON"),
        _ if start.starts_with(b"version https://git-lfs") => {
            Some("a Git LFS pointer, not the model")
        }
        _ => None,
    }
}

/// The SQL that a file's tags give. Where a macro of the tenant is broken, that alone is told.
fn render(
    source: SourceFile,
    macros: &TenantMacros,
    problems: &mut Vec<Diagnostic>,
) -> Option<SqlFile> {
    if cameo_sqlmacros::is_template(&source.text) && !macros.are_sound() {
        return None;
    }
    let sql = SqlFile::render(source, macros).map_err(|problem| problems.push(*problem)).ok()?;
    if !has_statement(&sql.text) {
        let message = "the file holds no statement";
        problems.push(
            Diagnostic::at(Code::SqlEmpty, &sql.source, sql.start(), message).expected("a SELECT"),
        );
    }
    Some(sql)
}

/// Whether anything is left of SQL without its comments.
fn has_statement(sql: &str) -> bool {
    let mut rest = sql.trim_start_matches('\u{feff}');
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ';');
        if rest.starts_with("--") || rest.starts_with('#') {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after);
        } else {
            return !rest.is_empty();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_alone_are_no_statement() {
        assert!(!has_statement("-- nothing\n/* or\nmore */ # here\n;\n"));
        assert!(has_statement("-- a\nSELECT 1"));
    }

    #[test]
    fn formats_that_are_not_onnx_are_recognised() {
        assert!(other_format(b"\x80\x04\x95").is_some());
        assert!(other_format(b"\x08\x08\x12\x07skl2onnx").is_none());
    }
}
