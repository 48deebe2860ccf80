//! Anchors of the audit trail in the artifact store.

use cameo_bundle::{ArtifactError, ArtifactStore};
use cameo_domain::{AuditAnchor, Sha256};

fn anchor(entry: i64, hash: &str) -> AuditAnchor {
    AuditAnchor {
        entry,
        at: "2026-03-01T18:00:00.000001Z".parse().expect("an instant"),
        hash: Sha256::of(hash),
    }
}

#[tokio::test]
async fn anchors_are_written_once_and_all_of_them_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = ArtifactStore::open(&folder.path().display().to_string()).expect("a store");
    assert_eq!(store.anchors().await.expect("none yet"), []);
    for _ in 0..2 {
        store.put_anchor(&anchor(7, "a")).await.expect("the same again changes nothing");
    }
    store.put_anchor(&anchor(1_000, "b")).await.expect("another");
    let mut read = store.anchors().await.expect("two");
    read.sort_by_key(|anchor| anchor.entry);
    assert_eq!(read, [anchor(7, "a"), anchor(1_000, "b")]);
    assert!(folder.path().join("audit/7.json").is_file());
}

#[tokio::test]
async fn an_anchor_that_contradicts_an_earlier_one_is_refused_and_the_earlier_one_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = ArtifactStore::open(&folder.path().display().to_string()).expect("a store");
    store.put_anchor(&anchor(7, "a")).await.expect("written");
    let refused = store.put_anchor(&anchor(7, "b")).await;
    assert!(matches!(refused, Err(ArtifactError::Anchor { .. })), "{refused:?}");
    assert_eq!(store.anchors().await.expect("one"), [anchor(7, "a")]);
}

#[tokio::test]
async fn what_is_no_anchor_or_that_of_another_entry_is_named() {
    for content in ["", "{}", "{\"entry\": 8}"] {
        let folder = tempfile::tempdir().expect("a folder");
        let store = ArtifactStore::open(&folder.path().display().to_string()).expect("a store");
        store.put_anchor(&anchor(7, "a")).await.expect("written");
        std::fs::write(folder.path().join("audit/7.json"), content).expect("overwritten");
        assert!(store.anchors().await.is_err(), "{content}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let store = ArtifactStore::open(&folder.path().display().to_string()).expect("a store");
    store.put_anchor(&anchor(7, "a")).await.expect("written");
    let audit = folder.path().join("audit");
    std::fs::rename(audit.join("7.json"), audit.join("8.json")).expect("renamed");
    let error = store.anchors().await.expect_err("misnamed").to_string();
    assert!(error.contains("audit/8.json") && error.contains("entry 7"), "{error}");
}
