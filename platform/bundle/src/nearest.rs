//! The known name that a wrong one was probably meant to be.

/// The candidate that differs from `found` by case, hyphens or a few letters, if there is one.
pub(crate) fn nearest<'a>(
    found: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let folded = fold(found);
    // A fifth of the letters, and none of a short word: `JST` is not meant to be `EST`.
    let limit = match folded.chars().count() {
        ..=3 => 0,
        4..=9 => 2,
        length => length / 5,
    };
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The IANA zone nearest to `found`; a city alone finds its zone.
pub(crate) fn nearest_zone(found: &str) -> Option<&'static str> {
    let zones = || chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    let city =
        |zone: &&'static str| zone.rsplit('/').next().is_some_and(|city| fold(city) == fold(found));
    nearest(found, zones()).or_else(|| zones().find(city))
}

fn fold(name: &str) -> String {
    name.to_ascii_lowercase().replace(['-', ' '], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_known_name_and_another_word_does_not() {
        let keys = ["MODEL_PATH", "FRAMEWORK", "MODEL_CONFIG"];
        assert_eq!(nearest("model_config", keys), Some("MODEL_CONFIG"));
        assert_eq!(nearest("MODEL-PATH", keys), Some("MODEL_PATH"));
        assert_eq!(nearest("FRAMWORK", keys), Some("FRAMEWORK"));
        assert_eq!(nearest("COLOUR", keys), None);
        assert_eq!(nearest_zone("Asia/Tokio"), Some("Asia/Tokyo"));
        assert_eq!(nearest_zone("tokyo"), Some("Asia/Tokyo"));
    }
}
