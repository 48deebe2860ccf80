//! Artifacts are kept under the digest of their content, and models are read from the bundle only.

use std::fs;

use bytes::Bytes;
use cameo_bundle::{ArtifactError, ArtifactStore, PathError, artifact::fetch};
use cameo_domain::Sha256;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn open(folder: &tempfile::TempDir) -> ArtifactStore {
    ArtifactStore::open(folder.path().to_str().expect("a UTF-8 path")).expect("a store")
}

#[tokio::test]
async fn what_was_put_is_got_back_and_putting_it_again_changes_nothing() {
    let folder = folder();
    let store = open(&folder);
    for size in [0, 7, 1_000_000] {
        let bytes = Bytes::from(vec![7; size]);
        let hash = store.put(bytes.clone()).await.expect("it is stored");
        assert_eq!(hash, Sha256::of(&bytes));
        assert_eq!(store.put(bytes.clone()).await.expect("it is there"), hash);
        assert_eq!(store.get(&hash).await.expect("it comes back"), bytes);
    }
    let missing = store.get(&Sha256::of(b"other")).await.expect_err("nobody stored it");
    assert!(matches!(missing, ArtifactError::Missing(_)), "{missing}");
}

#[tokio::test]
async fn a_damaged_artifact_is_never_handed_out_and_a_short_one_heals() {
    let folder = folder();
    let store = open(&folder);
    let hash = store.put(Bytes::from_static(b"model")).await.expect("it is stored");
    let digits = hash.to_string();
    let file = folder.path().join("sha256").join(&digits[..2]).join(&digits);
    fs::write(&file, b"MODEL").expect("damage");
    let error = store.get(&hash).await.expect_err("it is damaged");
    assert!(matches!(error, ArtifactError::Corrupt { expected, .. } if expected == hash));
    fs::write(&file, b"mod").expect("damage");
    store.put(Bytes::from_static(b"model")).await.expect("it is written anew");
    assert_eq!(store.get(&hash).await.expect("it is whole again"), "model");
}

#[tokio::test]
async fn a_model_is_read_from_its_bundle_and_from_nowhere_else_on_the_machine() {
    let root = folder();
    let bundle = root.path().join("bundle");
    fs::create_dir(&bundle).expect("a bundle");
    fs::write(bundle.join("model.onnx"), b"model").expect("a model");
    fs::write(root.path().join("secret"), b"secret").expect("a secret");
    std::os::unix::fs::symlink("../secret", bundle.join("link")).expect("a link");
    std::os::unix::fs::symlink("..", bundle.join("up")).expect("a link");

    assert_eq!(fetch("model.onnx", &bundle).await.expect("the model"), "model");
    let secret = root.path().join("secret").display().to_string();
    for location in ["../secret", "./../secret", &secret, &format!("file://{secret}"), "a\\b", ""] {
        let error = fetch(location, &bundle).await.expect_err("it is outside");
        assert!(matches!(error, ArtifactError::Path(PathError::Unsafe(_))), "{location}: {error}");
    }
    for location in ["link", "up/secret"] {
        let error = fetch(location, &bundle).await.expect_err("it is outside");
        assert!(matches!(error, ArtifactError::Path(PathError::Escapes(_))), "{location}: {error}");
    }
    for location in ["http://example.com/x", "gs://", "gs://bucket", "s3://a b/x", "ftp://h/x"] {
        let error = fetch(location, &bundle).await.expect_err("it is no location");
        assert!(matches!(error, ArtifactError::Location(_)), "{location}: {error}");
    }
}

#[tokio::test]
async fn a_model_beyond_the_limit_is_refused_before_it_is_read() {
    let bundle = folder();
    let file = fs::File::create(bundle.path().join("model.onnx")).expect("a file");
    // A sparse file takes no disk.
    file.set_len(cameo_bundle::MODEL_BYTES_MAX + 1).expect("a large file");
    let error = fetch("model.onnx", bundle.path()).await.expect_err("it is too large");
    assert!(matches!(error, ArtifactError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_file_larger_than_a_part_comes_back_as_it_was_and_can_be_deleted() {
    let folder = folder();
    let store = open(&folder);
    let bytes: Vec<u8> = (0..20_000_000u32).map(|at| at.to_le_bytes()[at as usize % 4]).collect();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::write(&from, &bytes).expect("a file");
    let hash = Sha256::of(&bytes);
    assert_eq!(store.file_of(&hash), None);
    store.put_file(&from, &hash).await.expect("it is stored");
    store.put_file(&from, &hash).await.expect("it is stored again");
    store.get_file(&hash, &to).await.expect("it comes back");
    assert!(fs::read(&to).expect("the file") == bytes);
    let place = store.file_of(&hash).expect("a file of this machine");
    assert_eq!(fs::metadata(&place).expect("the file").len(), bytes.len() as u64);
    store.delete(&hash).await.expect("it is deleted");
    store.delete(&hash).await.expect("there is nothing to delete");
    assert_eq!(store.file_of(&hash), None);
    let missing = store.get_file(&hash, &folder.path().join("again")).await;
    assert!(matches!(missing, Err(ArtifactError::Missing(_))), "{missing:?}");
}
