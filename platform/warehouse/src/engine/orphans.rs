//! Scratch folders that nobody uses any more.
//!
//! A query removes its folder when it ends. A process that is killed cannot, and what lies there are rows
//! of customers. Each folder holds a file that its query keeps locked, and the system lets go of a lock
//! with the process: a folder whose lock can be had is nobody's.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::Path,
    time::Duration,
};

use crate::WarehouseError;

/// What the names of scratch folders begin with.
pub(super) const PREFIX: &str = "query-";
const CLAIM: &str = "in-use";
/// A folder younger than this may still be without its lock.
const AGE_MIN: Duration = Duration::from_mins(1);

/// Claims a new folder until the file is dropped.
pub(super) fn claim(folder: &Path) -> Result<File, WarehouseError> {
    let claimed = File::create(folder.join(CLAIM)).and_then(|file| {
        file.lock()?;
        Ok(file)
    });
    claimed.map_err(|error| WarehouseError::io("lock", folder, &error))
}

/// Removes the folders in `scratch` that nobody has claimed.
pub(crate) fn remove_orphans(scratch: &Path) -> Result<(), WarehouseError> {
    let failed = |error: std::io::Error| WarehouseError::io("clean", scratch, &error);
    for entry in fs::read_dir(scratch).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !is_ours || is_used(&entry.path()) {
            continue;
        }
        match fs::remove_dir_all(entry.path()) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}

fn is_used(folder: &Path) -> bool {
    if let Ok(claim) = File::open(folder.join(CLAIM)) {
        return claim.try_lock().is_err();
    }
    let made = fs::metadata(folder).and_then(|found| found.modified()).ok();
    made.and_then(|made| made.elapsed().ok()).is_none_or(|age| age < AGE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_when_nobody_holds_it_any_more_and_not_before() {
        let scratch = tempfile::tempdir().expect("a folder");
        let folder = scratch.path().join(format!("{PREFIX}one"));
        fs::create_dir(&folder).expect("a folder");
        remove_orphans(scratch.path()).expect("cleaned");
        assert!(folder.exists(), "it may be about to be claimed");
        let claimed = claim(&folder).expect("claimed");
        fs::write(folder.join("spilled"), "rows").expect("a file");
        remove_orphans(scratch.path()).expect("cleaned");
        assert!(folder.exists(), "a query uses it");
        drop(claimed);
        remove_orphans(scratch.path()).expect("cleaned");
        assert!(!folder.exists());
    }
}
