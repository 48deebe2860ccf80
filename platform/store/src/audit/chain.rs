//! The chain of hashes, computed here once more: the database's own word is what is in doubt.

use std::collections::BTreeMap;

use cameo_domain::{AuditAnchor, Sha256};
use serde::Serialize;
use sqlx::FromRow;

/// What the first entry has for the hash of the one before.
pub(super) const ORIGIN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How the chain breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Break {
    /// The entry is not what its hash, or the entry after it, was made from.
    Edited,
    /// The entry is not there, though later ones are.
    Missing,
    /// The entry was written under another number.
    Reordered,
    /// The entry and all after it are gone.
    Truncated,
    /// The head row does not stand at the last entry.
    HeadDiffers,
    /// The chain is whole, but it is not the one that was anchored.
    AnchorDiffers,
    /// An anchor was written and is gone.
    AnchorMissing,
}

/// Where the chain breaks first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The entry.
    pub entry: i64,
    /// What happened to it.
    pub how: Break,
    /// What was expected, what was found.
    pub detail: String,
}

impl Broken {
    pub(super) fn new(entry: i64, how: Break, detail: impl Into<String>) -> Self {
        Self { entry, how, detail: detail.into() }
    }
}

/// An entry as it is stored, unparsed: nothing about it is sure.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Link {
    pub(super) entry: i64,
    /// Microseconds since 1970.
    pub(super) at: String,
    pub(super) actor: String,
    pub(super) origin: String,
    pub(super) tenant: Option<String>,
    pub(super) service: Option<String>,
    pub(super) action: String,
    pub(super) subject: String,
    /// The JSON as Postgres prints it.
    pub(super) detail: String,
    pub(super) previous_hash: String,
    pub(super) hash: String,
}

impl Link {
    /// The hash that the entry has under the number `entry`: of each field's length and text, one
    /// after the other; `-` stands for the length of what is null.
    fn hash_as(&self, entry: i64) -> String {
        let entry = entry.to_string();
        let fields = [
            Some(entry.as_str()),
            Some(self.at.as_str()),
            Some(self.actor.as_str()),
            Some(self.origin.as_str()),
            self.tenant.as_deref(),
            self.service.as_deref(),
            Some(self.action.as_str()),
            Some(self.subject.as_str()),
            Some(self.detail.as_str()),
            Some(self.previous_hash.as_str()),
        ];
        let encoded: String = fields
            .into_iter()
            .map(|field| match field {
                Some(text) => format!("{}:{text}", text.len()),
                None => "-:".to_owned(),
            })
            .collect();
        Sha256::of(encoded).to_string()
    }
}

/// Where the database says that the chain stands.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Head {
    pub(super) entries: i64,
    pub(super) hash: String,
}

/// Follows the chain from its first entry.
pub(super) struct Walk {
    anchors: BTreeMap<i64, AuditAnchor>,
    entries: i64,
    hash: String,
    anchored: i64,
}

impl Walk {
    pub(super) fn new(anchors: impl IntoIterator<Item = AuditAnchor>) -> Self {
        let anchors = anchors.into_iter().map(|anchor| (anchor.entry, anchor)).collect();
        Self { anchors, entries: 0, hash: ORIGIN.to_owned(), anchored: 0 }
    }

    /// How many entries were found in order.
    pub(super) fn entries(&self) -> i64 {
        self.entries
    }

    /// The hash of the last of them.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// Takes the next entry, in the order of their numbers. `highest` is the highest number known.
    pub(super) fn step(&mut self, link: &Link, highest: i64) -> Result<(), Broken> {
        let expected = self.entries + 1;
        if link.entry != expected {
            let found = format!("expected entry {expected}, found entry {}", link.entry);
            return Err(Broken::new(expected, Break::Missing, found));
        }
        if link.hash_as(link.entry) != link.hash {
            return Err(misplaced_or_edited(link, highest));
        }
        if link.previous_hash != self.hash {
            // The entry agrees with itself, so it is the one before that was given another hash.
            let detail = format!(
                "expected hash {} as entry {expected} has it, found {}",
                link.previous_hash, self.hash
            );
            return Err(Broken::new(self.entries.max(1), Break::Edited, detail));
        }
        if let Some(anchor) = self.anchors.get(&link.entry) {
            if anchor.hash.to_string() != link.hash {
                let detail = format!(
                    "expected hash {} as it was anchored, found {}; what was written after entry {} \
                     was written anew",
                    anchor.hash, link.hash, self.anchored
                );
                return Err(Broken::new(link.entry, Break::AnchorDiffers, detail));
            }
            self.anchored = link.entry;
        }
        self.entries = link.entry;
        self.hash.clone_from(&link.hash);
        Ok(())
    }

    /// Compares the end of the chain with its head, its anchors, and those that were noted.
    pub(super) fn finish(&self, head: Option<&Head>, noted: &[i64]) -> Result<(), Broken> {
        let (last, next) = (self.entries, self.entries + 1);
        let truncated = |who: &str, known: i64| {
            let detail = format!("expected {known} entries as {who} says, found {last}");
            Err(Broken::new(next, Break::Truncated, detail))
        };
        match self.anchors.keys().next_back() {
            Some(anchored) if *anchored > last => return truncated("an anchor", *anchored),
            _ => {}
        }
        let Some(head) = head else {
            return Err(Broken::new(last, Break::HeadDiffers, "the head row is gone"));
        };
        if head.entries > last {
            return truncated("the head", head.entries);
        }
        if head.entries < last || head.hash != self.hash {
            let detail = format!(
                "expected the head at entry {last} with hash {}, found {} with {}",
                self.hash, head.entries, head.hash
            );
            return Err(Broken::new(last, Break::HeadDiffers, detail));
        }
        match noted.iter().find(|entry| !self.anchors.contains_key(entry)) {
            Some(gone) => {
                let detail = "it was written into the artifact store and is not there any more";
                Err(Broken::new(*gone, Break::AnchorMissing, detail))
            }
            None => Ok(()),
        }
    }
}

/// What happened to an entry that is not what its hash was made from.
fn misplaced_or_edited(link: &Link, highest: i64) -> Broken {
    // Once per verification, and a hash takes about a microsecond.
    let written_as =
        (1..=highest.max(link.entry)).find(|number| link.hash_as(*number) == link.hash);
    if let Some(number) = written_as {
        let detail = format!("it was written as entry {number}");
        return Broken::new(link.entry, Break::Reordered, detail);
    }
    let found = link.hash_as(link.entry);
    let detail = format!("expected hash {}, found content with hash {found}", link.hash);
    Broken::new(link.entry, Break::Edited, detail)
}
