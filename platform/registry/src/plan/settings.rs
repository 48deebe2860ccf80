//! The settings of a release, compared one by one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use cameo_bundle::{CARD_FILE, ReleaseManifest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A setting whose value changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingChange {
    /// Section of `config.yaml`, or `CARD.md` or `tenant.yaml`.
    pub section: Cow<'static, str>,
    /// The key in it.
    pub setting: String,
    /// Its value now; none where it is not set.
    pub old: Option<Value>,
    /// Its value then.
    pub new: Option<Value>,
}

/// What differs between two releases of a service, by section and key.
#[must_use]
pub fn setting_changes(old: &ReleaseManifest, new: &ReleaseManifest) -> Vec<SettingChange> {
    let (was_explained, is_explained) = (old.explanation.is_some(), new.explanation.is_some());
    let (mut old, new) = (settings(old), settings(new));
    let mut changes = Vec::new();
    for (place, new) in new {
        let old = old.remove(&place);
        if old.as_ref() != Some(&new) {
            changes.push(change(place, old, Some(new)));
        }
    }
    changes.extend(old.into_iter().map(|(place, old)| change(place, Some(old), None)));
    // Without the section a service is explained where that is cheap, which is none of its settings.
    for change in changes.iter_mut().filter(|change| change.section == "EXPLANATION_CONFIG") {
        change.old.take_if(|_| !was_explained);
        change.new.take_if(|_| !is_explained);
    }
    if was_explained != is_explained
        && changes.iter().all(|change| change.section != "EXPLANATION_CONFIG")
    {
        let told = |present: bool| present.then(|| Value::Object(Map::new()));
        let setting = "(the section)".to_owned();
        changes.push(change(
            ("EXPLANATION_CONFIG", setting),
            told(was_explained),
            told(is_explained),
        ));
    }
    changes.sort_by(|one, other| {
        (order(&one.section), &one.setting).cmp(&(order(&other.section), &other.setting))
    });
    changes
}

type Place = (&'static str, String);

fn change((section, setting): Place, old: Option<Value>, new: Option<Value>) -> SettingChange {
    SettingChange { section: section.into(), setting, old, new }
}

/// The text of a card.
const CARD_TEXT: (&str, &str) = (CARD_FILE, "text");
/// The sections in the order of a config.
const SECTIONS: [&str; 7] = [
    "FEATURE_CONFIG",
    "PREDICTION_CONFIG",
    "RANKING_CONFIG",
    "EXPLANATION_CONFIG",
    "RUN_CONFIG",
    "RELEASE_CONFIG",
    CARD_FILE,
];

fn order(section: &str) -> usize {
    SECTIONS.iter().position(|known| *known == section).unwrap_or(SECTIONS.len())
}

/// Every setting that a manifest holds, the predictions and the texts of queries left out: they are
/// compared on their own.
fn settings(manifest: &ReleaseManifest) -> BTreeMap<Place, Value> {
    let mut found = BTreeMap::new();
    let mut add = |section: &'static str, setting: &str, value: Value| {
        found.insert((section, setting.to_owned()), value);
    };
    for (column, default) in &manifest.null_defaults {
        add("FEATURE_CONFIG", &format!("NULL_DEFAULTS.{column}"), json(default));
    }
    add("PREDICTION_CONFIG", "VERSION", json(&manifest.version));
    add("PREDICTION_CONFIG", "PREDICTION_SCHEDULE", json(&manifest.cron));
    add("PREDICTION_CONFIG", "PREDICTION_TIMEZONE", json(&manifest.timezone));
    if let Some(ranking) = &manifest.ranking {
        add("RANKING_CONFIG", "ITEM_KEY", json(&ranking.item_key));
        add("RANKING_CONFIG", "TOP_N", json(&ranking.top_n));
        if let Some(score) = &ranking.score {
            add("RANKING_CONFIG", "SCORE", json(score));
        }
    }
    // Keys that are as they are by default are not told of a section that comes or goes.
    let explanation = object(&manifest.explanation.clone().unwrap_or_default());
    for (section, keys) in [
        ("EXPLANATION_CONFIG", explanation),
        ("RUN_CONFIG", object(&manifest.run)),
        ("RELEASE_CONFIG", object(&manifest.release)),
        (CARD_FILE, manifest.card.as_ref().map(object).unwrap_or_default()),
    ] {
        // The text below a card's front matter is compared line by line.
        for (key, value) in keys.into_iter().filter(|(key, _)| (section, key.as_str()) != CARD_TEXT)
        {
            add(section, &key, value);
        }
    }
    found
}

fn json(value: &impl Serialize) -> Value {
    // Names, numbers and text: nothing of this cannot be written.
    serde_json::to_value(value).unwrap_or_default()
}

fn object(section: &impl Serialize) -> Map<String, Value> {
    match json(section) {
        Value::Object(keys) => keys,
        _ => Map::new(),
    }
}
