//! A tenant's own macros: the files of its folder `macros`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use cameo_sqlmacros::{Library, MacroFile, Origin, Problem, ProblemKind, Where};

use crate::{
    bundle::{CONFIG_FILE, code_of},
    code::Code,
    diagnostic::Diagnostic,
    nearest::nearest,
    paths::{self, PathError},
    source::SourceFile,
};

/// The folder's name in a tenant's folder.
pub const MACROS_FOLDER: &str = "macros";
/// Most files of macros of one tenant.
pub const MACRO_FILES_MAX: usize = 100;
/// Longest name of a file of macros, without `.sql`, in characters.
const NAME_CHARACTERS_MAX: usize = 40;
/// Most entries of the folder that are looked at.
const ENTRIES_MAX: usize = 1_000;

/// What was found in a tenant's folder of macros.
#[derive(Debug, Clone)]
pub(crate) struct TenantMacros {
    library: Arc<Library>,
    files: Vec<SourceFile>,
    /// Everything that is wrong with them. Then nothing is rendered: what calls the macros could not be
    /// judged fairly.
    pub(crate) problems: Vec<Diagnostic>,
}

impl TenantMacros {
    /// Reads the macros of the tenant whose folder it is.
    pub(crate) fn load(tenant: &Path) -> Self {
        let mut macros = Self {
            library: Arc::new(Library::empty(Origin::Team)),
            files: Vec::new(),
            problems: Vec::new(),
        };
        for name in file_names(tenant) {
            if macros.files.len() >= MACRO_FILES_MAX {
                let message = format!("found more than {MACRO_FILES_MAX} files of macros");
                macros.problems.push(Diagnostic::of_file(
                    Code::MacroFileInvalid,
                    tenant.join(MACROS_FOLDER),
                    message,
                ));
                break;
            }
            match read(tenant, &name) {
                Ok(file) => macros.files.push(file),
                Err(problem) => macros.problems.push(*problem),
            }
        }
        macros.problems.extend(service_of_that_name(tenant));
        let files: Vec<_> = macros
            .files
            .iter()
            .map(|file| MacroFile { name: last_two(&file.path), text: Arc::clone(&file.text) })
            .collect();
        let (library, problems) = Library::parse(Origin::Team, &files);
        let problems = problems.iter().map(|problem| macros.diagnostic(problem, None));
        let problems: Vec<_> = problems.collect();
        macros.problems.extend(problems);
        macros.library = Arc::new(library);
        macros
    }

    pub(crate) fn library(&self) -> &Arc<Library> {
        &self.library
    }

    pub(crate) fn are_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// A problem as people read it: in the template, or in the file of the macro that is at fault.
    pub(crate) fn diagnostic(
        &self,
        problem: &Problem,
        template: Option<&SourceFile>,
    ) -> Diagnostic {
        let code = match problem.kind {
            ProblemKind::File => Code::MacroFileInvalid,
            ProblemKind::Syntax => Code::TemplateSyntax,
            ProblemKind::Unknown => Code::MacroUnknown,
            ProblemKind::Argument => Code::MacroArgumentWrong,
            ProblemKind::Undefined => Code::TemplateUndefined,
            ProblemKind::Failed => Code::TemplateFailed,
            ProblemKind::Unbounded => Code::TemplateUnbounded,
        };
        let file = match &problem.file {
            Where::Template => template,
            Where::MacroFile(name) => self.files.iter().find(|file| last_two(&file.path) == *name),
        };
        let message = problem.message.as_str();
        let mut shown = if let Some(file) = file {
            Diagnostic::at(code, file, file.span(problem.range.clone()), message)
        } else {
            Diagnostic::of_file(code, MACROS_FOLDER, message)
        };
        if let Some(expected) = &problem.expected {
            shown = shown.expected(expected.as_str());
        }
        if let Some(unknown) = &problem.unknown {
            let known = unknown.known.iter().map(String::as_str);
            shown = shown.did_you_mean(nearest(&unknown.found, known));
        }
        match (&problem.file, template) {
            (Where::MacroFile(_), Some(template)) => {
                shown.help(format!("it was called for {}", last_two(&template.path)))
            }
            _ => shown,
        }
    }
}

/// A file as the people of its tenant call it, such as `macros/orders.sql`.
fn last_two(file: &Path) -> String {
    let names: Vec<_> = file.iter().collect();
    let shown: PathBuf = names.iter().skip(names.len().saturating_sub(2)).collect();
    shown.display().to_string()
}

/// The tenant's folder of a bundle's, also of `.`.
pub(crate) fn tenant_folder(bundle: &Path) -> PathBuf {
    match bundle.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) if bundle.file_name().is_some() => parent.to_owned(),
        _ => bundle.join(".."),
    }
}

/// The names that end as SQL does, in order. Other files, such as a README, are not looked at.
pub(crate) fn file_names(tenant: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(tenant.join(MACROS_FOLDER)).into_iter().flatten().flatten();
    let names = entries.take(ENTRIES_MAX).map(|entry| entry.file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let mut names: Vec<_> =
        names.filter(|name| Path::new(name).extension().is_some_and(|end| end == "sql")).collect();
    names.sort();
    names
}

fn read(tenant: &Path, name: &str) -> Result<SourceFile, Box<Diagnostic>> {
    let relative = format!("{MACROS_FOLDER}/{name}");
    let shown = tenant.join(MACROS_FOLDER).join(name);
    if !is_file_name(name) {
        return Err(Box::new(
            Diagnostic::of_file(
                Code::MacroFileInvalid,
                shown,
                format!("`{name}` is no name for a file of macros"),
            )
            .expected(
                "a lower-case letter, then up to 39 lower-case letters, digits or underscores, then .sql",
            ),
        ));
    }
    // The folder may be a link as well: what counts is that the tenant's folder holds the file.
    match paths::inside(tenant, &relative) {
        Ok(real) => SourceFile::read_as(&real, &shown),
        Err(error) => {
            let message = match &error {
                PathError::Escapes(path) => {
                    format!("`{path}` leads out of the tenant's folder through a symbolic link")
                }
                other => other.to_string(),
            };
            Err(Box::new(Diagnostic::of_file(code_of(&error), shown, message)))
        }
    }
}

fn is_file_name(name: &str) -> bool {
    let stem = name.strip_suffix(".sql").unwrap_or_default();
    stem.len() <= NAME_CHARACTERS_MAX
        && stem.starts_with(|c: char| c.is_ascii_lowercase())
        && stem.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// A service in the folder would be passed over, so it is told.
fn service_of_that_name(tenant: &Path) -> Option<Diagnostic> {
    let config = tenant.join(MACROS_FOLDER).join(CONFIG_FILE);
    config.is_file().then(|| {
        let message =
            format!("the folder `{MACROS_FOLDER}` holds a tenant's macros and no service");
        Diagnostic::of_file(Code::MacroFileInvalid, config, message)
            .help("rename the service and its folder")
    })
}
