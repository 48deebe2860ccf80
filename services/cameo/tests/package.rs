//! `cameo package`: one file, wherever it is applied (M7).

mod support;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use support::{Server, cameo, copy, root};

/// A text of a path.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn the_same_bundle_makes_the_same_file_and_check_takes_it_like_a_folder() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let [first, second] = ["first.cameo", "second.cameo"].map(|name| place.path().join(name));
    for file in [&first, &second] {
        let packed = cameo(&["package", "tenants/crm/clv", "--out", &shown(file)]).exits(0).json();
        assert_eq!(packed["service"]["service"], "clv");
        assert_eq!(packed["commit"].as_str().map(str::len), Some(40), "it is made in a checkout");
    }
    assert_eq!(fs::read(&first).expect("a package"), fs::read(&second).expect("a package"));
    let checked = cameo(&["check", &shown(&first), "-o", "human"]).exits(0);
    assert_eq!(checked.stdout, "✓ 1 bundle sound\n");
}

#[test]
fn problems_in_a_package_are_named_by_the_package() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let (file, lake) = (place.path().join("clv.cameo"), place.path().join("lake"));
    fs::create_dir(&lake).expect("a folder");
    cameo(&["package", "tenants/crm/clv", "--out", &shown(&file)]).exits(0);
    let found = cameo(&["check", &shown(&file), "--lake", &shown(&lake)]).exits(1).json();
    let named = found["problems"][0]["file"].as_str().expect("a file");
    assert_eq!(named, format!("{}/crm/clv/features.sql", shown(&file)));
}

#[test]
fn a_bundle_with_problems_is_not_packed() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let out = place.path().join("x.cameo");
    let folder = "services/cameo/tests/fixtures/bundles/sql-syntax";
    let refused = cameo(&["package", folder, "--out", &shown(&out), "-o", "human"]).exits(1);
    assert!(refused.stdout.contains("; nothing was packed"), "{}", refused.stdout);
    let refused = cameo(&["package", "tenants", "--out", &shown(&out)]).exits(1);
    assert_eq!(
        refused.stderr,
        "error: tenants holds 3 bundles; a package holds one, so name the folder of one service\n"
    );
    assert!(!out.exists());
}

#[test]
fn a_damaged_package_is_refused_and_told() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let file = place.path().join("clv.cameo");
    cameo(&["package", "tenants/crm/clv", "--out", &shown(&file)]).exits(0);
    let bytes = fs::read(&file).expect("a package");
    fs::write(&file, &bytes[..bytes.len() / 2]).expect("a file");
    let refused = cameo(&["check", &shown(&file)]).exits(1);
    let expected = "cannot be used: this is no whole package: expected a file that `cameo package` made, found \
        one that breaks off; copy it again\n";
    assert!(refused.stderr.ends_with(expected), "{}", refused.stderr);
}

#[test]
fn keys_are_made_once_and_the_secret_one_is_for_its_owner_alone() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let out = shown(&place.path().join("ci"));
    let made = cameo(&["package", "keygen", "--out", &out]).exits(0).json();
    let secret = place.path().join("ci.key");
    assert_eq!(fs::metadata(&secret).expect("a key").permissions().mode() & 0o777, 0o600);
    let public = fs::read_to_string(place.path().join("ci.pub")).expect("a key");
    assert_eq!(public.trim(), made["key"].as_str().expect("a key"));
    let kept = fs::read(&secret).expect("a key");
    let refused = cameo(&["package", "keygen", "--out", &out]).exits(1);
    assert!(refused.stderr.contains("could not write"), "{}", refused.stderr);
    assert_eq!(fs::read(&secret).expect("a key"), kept);
}

#[test]
fn apply_asks_for_a_signature_before_it_looks_for_a_server() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| shown(&place.path().join(name));
    for name in ["ours", "theirs"] {
        cameo(&["package", "keygen", "--out", &at(name)]).exits(0);
    }
    let pack = |sign: &[&str]| {
        cameo(&[&["package", "tenants/crm/clv", "--out", &at("clv.cameo")][..], sign].concat())
            .exits(0)
    };
    let apply = |path: &str| {
        cameo(&["apply", path, "--trusted-key", &at("ours.pub"), "--data-dir", &at("none")])
            .exits(1)
            .stderr
    };
    pack(&[]);
    assert!(apply(&at("clv.cameo")).contains("the package is not signed"));
    pack(&["--sign", &at("theirs.key")]);
    assert!(apply(&at("clv.cameo")).contains("the package is signed by cameo-ed25519:"));
    assert!(apply("tenants").contains("tenants is a folder, which nobody signed"));
    let signed = pack(&["--sign", &at("ours.key")]).json();
    assert!(signed["signed_by"].as_str().is_some_and(|key| key.starts_with("cameo-ed25519:")));
    assert!(apply(&at("clv.cameo")).contains("no server runs in"), "the signature is right");
    let refused = cameo(&["package", "tenants/crm/clv", "--sign", &at("ours.pub")]).exits(1);
    assert!(refused.stderr.contains("ours.pub holds no secret key"), "{}", refused.stderr);
    let refused = cameo(&["apply", &at("clv.cameo"), "--trusted-key", &at("ours.key")]).exits(1);
    assert!(refused.stderr.contains("ours.key holds no list of public keys"), "{}", refused.stderr);
}

#[test]
fn a_package_carries_its_tenants_settings_and_macros() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let tenant = place.path().join("crm");
    copy(&root().join("tenants/crm"), &tenant);
    fs::create_dir_all(tenant.join("macros")).expect("a folder");
    fs::write(tenant.join("macros/own.sql"), "{# shared #}\n").expect("a file");
    let file = place.path().join("clv.cameo");
    let size = || {
        let packed = cameo(&["package", &shown(&tenant.join("clv")), "--out", &shown(&file)])
            .exits(0)
            .json();
        packed["sha256"].as_str().expect("a hash").to_owned()
    };
    let before = size();
    fs::write(tenant.join("macros/own.sql"), "{# changed #}\n").expect("a file");
    let macros_changed = size();
    fs::write(tenant.join("clv/train.py"), "# not part of it\n").expect("a file");
    assert_ne!(before, macros_changed);
    assert_eq!(macros_changed, size());
}

#[test]
fn a_package_becomes_the_same_release_as_its_folder() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let data = place.path().join("data");
    copy(&root().join("deploy/demo/lake"), &data.join("lake"));
    let file = shown(&place.path().join("clv.cameo"));
    let (keys, trusted) = (shown(&place.path().join("ci")), shown(&place.path().join("ci.pub")));
    cameo(&["package", "keygen", "--out", &keys]).exits(0);
    let secret = format!("{keys}.key");
    cameo(&["package", "tenants/crm/clv_bgnbd", "--out", &file, "--sign", &secret]).exits(0);
    let server = Server::start(&data);
    let packed = server.cameo(&["apply", &file, "--trusted-key", &trusted]).exits(0).json();
    assert_eq!(packed["services"][0]["applied"], "created");
    let folder = server.cameo(&["apply", "tenants/crm/clv_bgnbd"]).exits(0).json();
    assert_eq!(
        folder["services"][0]["applied"], "unchanged",
        "the release is its content, wherever it came from"
    );
    assert_eq!(folder["services"][0]["release"], packed["services"][0]["release"]);
}
