//! Paths that a bundle names may not leave its folder.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

/// Why a path is not a file of the bundle.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// Absolute, with `..`, with a backslash, or empty.
    #[error("`{0}` is not a path inside the bundle: expected names joined by `/`, without `..`")]
    Unsafe(String),
    /// A symbolic link on the way points out of the bundle.
    #[error("`{0}` leads out of the bundle's folder through a symbolic link")]
    Escapes(String),
    /// Nothing is there.
    #[error("`{0}` does not exist in the bundle's folder")]
    Missing(String),
    /// It is a folder or a device.
    #[error("`{0}` is not a regular file")]
    NotAFile(String),
    /// The operating system refuses.
    #[error("`{path}` cannot be read: {kind}")]
    Unreadable {
        /// The path.
        path: String,
        /// What the operating system says.
        kind: io::ErrorKind,
    },
}

/// The real path of a file inside `folder`.
pub(crate) fn inside(folder: &Path, relative: &str) -> Result<PathBuf, PathError> {
    let is_safe = !relative.is_empty()
        && !relative.contains(['\\', '\0'])
        && Path::new(relative)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !is_safe {
        return Err(PathError::Unsafe(relative.to_owned()));
    }
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            PathError::Missing(relative.to_owned())
        }
        kind => PathError::Unreadable { path: relative.to_owned(), kind },
    };
    let folder = folder.canonicalize().map_err(failed)?;
    let real = folder.join(relative).canonicalize().map_err(failed)?;
    if !real.starts_with(&folder) {
        return Err(PathError::Escapes(relative.to_owned()));
    }
    if !real.is_file() {
        return Err(PathError::NotAFile(relative.to_owned()));
    }
    Ok(real)
}
