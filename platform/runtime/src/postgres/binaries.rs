//! Where the programs of Postgres are.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::PostgresError;
use super::account::Account;

/// Names the folder of `postgres` and `initdb`; goes before every other place.
const BINARIES_VARIABLE: &str = "PG_BINDIR";
/// Where distributions put one folder per major version, with the programs in `bin`.
const VERSION_PARENTS: [(&str, &str); 3] =
    [("/usr/lib/postgresql", ""), ("/usr", "pgsql-"), ("/opt/postgresql", "")];
/// Where `deploy/setup` puts the minimal Postgres for root, whose home other users cannot enter.
const SHARED_BINARIES_DIR: &str = "/var/lib/cameo/postgres/bin";
/// The oldest major version that the migrations work on; the store refuses an older one as well.
const VERSION_MIN: u32 = 15;

/// The programs of one Postgres.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    /// Major version.
    pub(super) version: u32,
}

impl Binaries {
    /// The programs to use, by preference those of version `wanted`.
    pub(super) fn find(
        named: Option<&Path>,
        account: &Account,
        wanted: Option<u32>,
    ) -> Result<Self, PostgresError> {
        let named = named.map(Path::to_owned).or_else(|| {
            env::var_os(BINARIES_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from)
        });
        if let Some(dir) = named {
            return Self::probe(&dir, account).map_err(|reason| PostgresError::BinariesUnusable {
                dir,
                user: account.name.clone(),
                reason,
            });
        }
        let places = places();
        let found: Vec<Self> = places
            .iter()
            .filter_map(|dir| Self::probe(dir, account).ok())
            .filter(|binaries| binaries.version >= VERSION_MIN)
            .collect();
        let matching = found.iter().find(|binaries| Some(binaries.version) == wanted);
        matching.or_else(|| found.first()).cloned().ok_or_else(|| PostgresError::NoBinaries {
            looked_in: places
                .iter()
                .map(|dir| dir.display().to_string())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Runs `postgres --version` as the server's user, which shows at once whether it may.
    fn probe(dir: &Path, account: &Account) -> Result<Self, String> {
        for program in ["initdb", "postgres"] {
            if !dir.join(program).exists() {
                return Err(format!("it has no `{program}`"));
            }
        }
        let output = account
            .command(&dir.join("postgres"))
            .arg("--version")
            .output()
            .map_err(|source| source.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let version = major_version(&text)
            .ok_or_else(|| format!("`postgres --version` says {:?}", text.trim()))?;
        Ok(Self { dir: dir.to_owned(), version })
    }
}

/// The major version in a text like `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn major_version(text: &str) -> Option<u32> {
    let version =
        text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Every place that may hold the programs, best first.
fn places() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = Vec::new();
    for (parent, prefix) in VERSION_PARENTS {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(version) = name.strip_prefix(prefix).and_then(|rest| rest.parse().ok()) {
                versions.push((version, entry.path().join("bin")));
            }
        }
    }
    versions.sort_by(|a, b| b.cmp(a));
    let mut places: Vec<PathBuf> = versions.into_iter().map(|(_, dir)| dir).collect();
    places.push(PathBuf::from("/usr/local/pgsql/bin"));
    if let Some(path) = env::var_os("PATH") {
        places.extend(env::split_paths(&path).filter(|dir| dir.join("initdb").exists()));
    }
    places.push(PathBuf::from(SHARED_BINARIES_DIR));
    places.extend(crate::cache::folder().map(|cache| cache.join("postgres/bin")));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_prints() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 18.4"), Some(18));
        assert_eq!(major_version("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major_version("bash: no such file"), None);
    }
}
