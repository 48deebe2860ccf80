//! Settings from `CAMEO_*` environment variables, with errors that name the variable.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

/// What every variable of ours begins with.
const PREFIX: &str = "CAMEO_";

/// The `CAMEO_*` variables as they were when the process started.
#[derive(Debug, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
    asked: RefCell<BTreeSet<String>>,
}

/// A variable whose value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// The value does not have the form that is expected.
    #[error("environment variable {name}: expected {expected}, found {found:?}")]
    Invalid {
        /// The variable.
        name: String,
        /// The form, in words.
        expected: String,
        /// The value.
        found: String,
    },
    /// A value is needed and there is none.
    #[error("environment variable {name} is not set: expected {expected}")]
    Missing {
        /// The variable.
        name: String,
        /// The form, in words.
        expected: String,
    },
}

impl Settings {
    /// Reads the environment of this process; an empty value counts as not set.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::from_values(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        }))
    }

    /// Settings from given values, for tests.
    #[must_use]
    pub fn from_values<N: Into<String>, V: Into<String>>(
        values: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let values = values
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .filter(|(name, value)| name.starts_with(PREFIX) && !value.trim().is_empty())
            .collect();
        Self { values, asked: RefCell::default() }
    }

    /// The value of a variable, named with its prefix.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        debug_assert!(name.starts_with(PREFIX), "{name} lacks the prefix");
        self.asked.borrow_mut().insert(name.to_owned());
        self.values.get(name).map(|value| value.trim())
    }

    /// The value of a variable without which nothing can be done; `expected` says what it is.
    pub fn required(&self, name: &str, expected: &str) -> Result<&str, SettingError> {
        self.text(name).ok_or_else(|| SettingError::Missing {
            name: name.to_owned(),
            expected: expected.to_owned(),
        })
    }

    /// The value of a variable as a `T`; `expected` says in words what that is ("a port number").
    pub fn parsed<T: FromStr>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, SettingError> {
        let Some(found) = self.text(name) else {
            return Ok(None);
        };
        match found.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(SettingError::Invalid {
                name: name.to_owned(),
                expected: expected.to_owned(),
                found: found.to_owned(),
            }),
        }
    }

    /// The value of a variable as a `T`, or `default`.
    pub fn parsed_or<T: FromStr>(
        &self,
        name: &str,
        expected: &str,
        default: T,
    ) -> Result<T, SettingError> {
        Ok(self.parsed(name, expected)?.unwrap_or(default))
    }

    /// A whole number of seconds, or `default`; by custom the name ends in `_SECONDS`.
    pub fn seconds_or(&self, name: &str, default: Duration) -> Result<Duration, SettingError> {
        let seconds = self.parsed(name, "a whole number of seconds")?;
        Ok(seconds.map_or(default, Duration::from_secs))
    }

    /// `true` or `false` (also `1` and `0`), or `default`.
    pub fn flag_or(&self, name: &str, default: bool) -> Result<bool, SettingError> {
        match self.text(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(found) => Err(SettingError::Invalid {
                name: name.to_owned(),
                expected: "true or false".to_owned(),
                found: found.to_owned(),
            }),
        }
    }

    /// Variables that are set and that nobody asked for, which is how a misspelt one is noticed:
    /// call this when everything was read.
    #[must_use]
    pub fn unread(&self) -> Vec<&str> {
        let asked = self.asked.borrow();
        self.values.keys().filter(|name| !asked.contains(*name)).map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_names_the_variable_and_says_what_is_expected() {
        let settings = Settings::from_values([("CAMEO_PORT", "eighty"), ("CAMEO_DEMO", "yes")]);
        let failure =
            settings.parsed::<u16>("CAMEO_PORT", "a port number").expect_err("not a number");
        assert_eq!(
            failure.to_string(),
            "environment variable CAMEO_PORT: expected a port number, found \"eighty\""
        );
        let failure = settings.flag_or("CAMEO_DEMO", false).expect_err("not a flag");
        assert_eq!(
            failure.to_string(),
            "environment variable CAMEO_DEMO: expected true or false, found \"yes\""
        );
    }

    #[test]
    fn an_empty_variable_is_one_that_is_not_set() {
        let settings = Settings::from_values([("CAMEO_PORT", " ")]);
        assert_eq!(settings.parsed_or("CAMEO_PORT", "a port number", 8080), Ok(8080));
        assert!(settings.required("CAMEO_PORT", "a port number").is_err());
    }

    #[test]
    fn a_misspelt_variable_is_found_out() {
        let settings = Settings::from_values([
            ("CAMEO_DRAIN_SECONDS", "3"),
            ("CAMEO_DRIAN_SECONDS", "3"),
            ("PATH", "/bin"),
        ]);
        let drain = settings.seconds_or("CAMEO_DRAIN_SECONDS", Duration::ZERO);
        assert_eq!(drain, Ok(Duration::from_secs(3)));
        assert_eq!(settings.unread(), ["CAMEO_DRIAN_SECONDS"]);
    }
}
