//! What an API key may do.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a route does, and what a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look predictions up and see everything of a service.
    Read,
    /// Ask for runs.
    Run,
    /// Plan and register bundles: what a pipeline of git needs, and no more.
    Deploy,
    /// Change what is in production or served: promote, approve, roll back, archive.
    Promote,
    /// Define segments and say who is told of their changes.
    Segment,
    /// Erase customers.
    Erase,
    /// Make, rotate and revoke keys.
    Manage,
    /// See predictions that are declared sensitive.
    Sensitive,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Run,
        Self::Deploy,
        Self::Promote,
        Self::Segment,
        Self::Erase,
        Self::Manage,
        Self::Sensitive,
    ];

    fn bit(self) -> u16 {
        1 << self as u16
    }

    /// The spelling in the database, the API and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Run => "run",
            Self::Deploy => "deploy",
            Self::Promote => "promote",
            Self::Segment => "segment",
            Self::Erase => "erase",
            Self::Manage => "manage",
            Self::Sensitive => "sensitive",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The scopes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct Scopes {
    /// Everything but what must be named, with what later versions can do.
    all: bool,
    /// A bit for each scope that is named.
    named: u16,
}

/// The word for [`Scopes::all`].
const ALL: &str = "all";

impl Scopes {
    /// Nothing.
    pub const NONE: Self = Self { all: false, named: 0 };

    /// Everything, with what later versions can do, but [`Scope::Sensitive`]: that is given by name alone.
    #[must_use]
    pub fn all() -> Self {
        Self { all: true, named: 0 }
    }

    /// These.
    #[must_use]
    pub fn only(scopes: &[Scope]) -> Self {
        Self::NONE.with(scopes)
    }

    /// Whether a key with these scopes may do what a route does.
    #[must_use]
    pub fn allow(self, wanted: Scope) -> bool {
        self.names(wanted) || (self.all && wanted != Scope::Sensitive)
    }

    /// Whether these allow everything that `others` allow, also in later versions: nobody can grant more
    /// than they hold.
    #[must_use]
    pub fn cover(self, others: Self) -> bool {
        (self.all || !others.all) && others.named().all(|scope| self.allow(scope))
    }

    /// These, and `more`.
    #[must_use]
    pub fn with(self, more: &[Scope]) -> Self {
        let named = more.iter().fold(self.named, |named, scope| named | scope.bit());
        Self { named, ..self }
    }

    /// These and `others`.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self { all: self.all || others.all, named: self.named | others.named }
    }

    /// What is allowed, one by one.
    pub fn each(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.allow(*scope))
    }

    /// Whether this is everything that need not be named.
    #[must_use]
    pub fn is_all(self) -> bool {
        self.all
    }

    /// The spellings.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        let all = self.all.then_some(ALL);
        all.into_iter().chain(self.named().map(Scope::as_str)).collect()
    }

    /// From the spellings, in any order.
    ///
    /// # Errors
    /// A word that is no scope, or none at all.
    pub fn from_words<T: AsRef<str>>(words: &[T]) -> Result<Self, ScopeError> {
        if words.is_empty() {
            return Err(ScopeError(String::new()));
        }
        let mut scopes = Self::NONE;
        for word in words.iter().map(AsRef::as_ref) {
            if word == ALL {
                scopes.all = true;
            } else {
                scopes = scopes.with(&[word.parse()?]);
            }
        }
        Ok(scopes)
    }

    fn names(self, scope: Scope) -> bool {
        self.named & scope.bit() != 0
    }

    fn named(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.names(*scope))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.words().join(", "))
    }
}

impl From<Scopes> for Vec<String> {
    fn from(scopes: Scopes) -> Self {
        scopes.words().into_iter().map(str::to_owned).collect()
    }
}

impl TryFrom<Vec<String>> for Scopes {
    type Error = ScopeError;

    fn try_from(words: Vec<String>) -> Result<Self, ScopeError> {
        Self::from_words(&words)
    }
}

/// A text that names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no scope; expected read, run, deploy, promote, segment, erase, manage, sensitive or all"
)]
pub struct ScopeError(String);

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| ScopeError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_reads_back() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
            assert_eq!(Scopes::from_words(&[scope.as_str()]), Ok(Scopes::only(&[scope])));
        }
        assert_eq!(Scopes::from_words(&Scopes::all().words()), Ok(Scopes::all()));
        let both = Scopes::from_words(&["sensitive", "all"]).expect("scopes");
        assert_eq!(both.words(), ["all", "sensitive"]);
        assert!(Scopes::from_words(&["read", "write"]).is_err());
        assert!(Scopes::from_words::<&str>(&[]).is_err(), "a key that may do nothing is a mistake");
    }

    #[test]
    fn nobody_grants_more_than_they_hold() {
        let of = |words: &[&str]| Scopes::from_words(words).expect("scopes");
        assert!(of(&["all"]).cover(of(&["all"])));
        assert!(of(&["all"]).cover(of(&["manage", "erase"])));
        assert!(!of(&["all"]).cover(of(&["sensitive"])), "that is given by name alone");
        assert!(of(&["all", "sensitive"]).cover(of(&["read", "sensitive"])));
        assert!(!of(&["read", "manage"]).cover(of(&["read", "run"])));
        let every = Scopes::only(&Scope::ALL);
        assert!(!every.cover(of(&["all"])), "later versions can do more than these");
        assert_eq!(of(&["read"]).with(&[Scope::Read, Scope::Run]), of(&["read", "run"]));
        assert_eq!(of(&["all"]).each().count(), Scope::ALL.len() - 1);
    }

    #[test]
    fn a_key_may_do_what_its_scopes_say_and_nothing_else() {
        let deploys = Scopes::only(&[Scope::Deploy]);
        for scope in Scope::ALL {
            assert_eq!(deploys.allow(scope), scope == Scope::Deploy);
            assert_eq!(Scopes::all().allow(scope), scope != Scope::Sensitive);
        }
        assert!(Scopes::from_words(&["all", "sensitive"]).expect("scopes").allow(Scope::Sensitive));
    }
}
