//! Answers that are asked for again by their entity tag.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use reqwest::header::HeaderValue;

/// An answer with its name.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) tag: HeaderValue,
    pub(crate) body: Bytes,
}

/// A bounded number of answers by URL. When it is full all are forgotten: the next requests fetch them again.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    most: usize,
    kept: Arc<Mutex<HashMap<String, Kept>>>,
}

impl Cache {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, kept: Arc::default() }
    }

    pub(crate) fn find(&self, url: &str) -> Option<Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned()
    }

    pub(crate) fn keep(&self, url: String, kept: Kept) {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= self.most && !all.contains_key(&url) {
            all.clear();
        }
        if self.most > 0 {
            all.insert(url, kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_keeps_no_more_than_it_may() {
        let cache = Cache::new(2);
        let kept = Kept { tag: HeaderValue::from_static("W/\"1\""), body: Bytes::new() };
        for url in ["a", "b", "b"] {
            cache.keep(url.to_owned(), kept.clone());
        }
        assert!(cache.find("a").is_some() && cache.find("b").is_some());
        cache.keep("c".to_owned(), kept);
        assert!(cache.find("a").is_none() && cache.find("c").is_some());
    }
}
