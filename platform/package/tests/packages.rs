//! Packages between an honest maker and a hostile world (M7).

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::Path,
};

use cameo_bundle::{Bundle, load};
use cameo_package::{Package, PackageError, PublicKey, SigningKey, TrustedKeys, UnpackedPackage};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use proptest::prelude::*;
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

/// A tenant with one bundle, and files that belong to neither.
fn tenant(model: &[u8], sql: &str) -> (TempDir, Bundle) {
    let place = tempfile::tempdir().expect("a temporary folder");
    let folder = place.path().join("crm/spend");
    fs::create_dir_all(folder.join("parts")).expect("a folder");
    fs::create_dir_all(place.path().join("crm/macros")).expect("a folder");
    let config = "MODEL_CONFIG: {MODEL_PATH: ./parts/model.onnx, FRAMEWORK: BASE}\n\
        FEATURE_CONFIG: {FEATURE_SQL_PATH: features.sql}\n\
        PREDICTION_CONFIG:\n  SERVICE_NAME: spend\n  VERSION: 0.1.0\n  \
        PREDICTION_SCHEDULE: \"0 4 * * *\"\n  PREDICTION_NAMES: [id, spend]\n  \
        PREDICTION_NAMES_DATATYPE: [INT, FLOAT64]\n";
    for (name, content) in [
        ("crm/tenant.yaml", b"OWNERS: [crm@example.com]\n".as_slice()),
        ("crm/macros/windows.sql", b"{# no macro yet #}\n"),
        ("crm/macros/README.md", b"x"),
        ("crm/spend/CARD.md", b"# Without front matter\n"),
        ("crm/spend/config.yaml", config.as_bytes()),
        ("crm/spend/features.sql", sql.as_bytes()),
        ("crm/spend/parts/model.onnx", model),
        ("crm/spend/train.py", b"print('not part of the release')\n"),
        ("crm/spend/.env", b"SECRET=1\n"),
    ] {
        fs::write(place.path().join(name), content).expect("a file");
    }
    let bundle = load(&folder).expect("a sound bundle");
    (place, bundle)
}

/// Every file below a folder.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below").display().to_string();
                found.insert(name, fs::read(path).expect("a file"));
            }
        }
    }
    found
}

fn unpack(
    bytes: &[u8],
    trusted: Option<&TrustedKeys>,
) -> Result<(TempDir, UnpackedPackage), PackageError> {
    let place = tempfile::tempdir().expect("a temporary folder");
    match Package::unpack(bytes, place.path(), trusted) {
        Ok(unpacked) => Ok((place, unpacked)),
        Err(error) => {
            assert!(contents(place.path()).is_empty(), "{error}, and files were left");
            Err(error)
        }
    }
}

fn trusting(key: &PublicKey) -> TrustedKeys {
    key.to_string().parse().expect("a list of one key")
}

/// The tar in a package.
fn opened(package: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    GzDecoder::new(package).read_to_end(&mut tar).expect("a gzip");
    tar
}

fn closed(tar: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(tar).expect("memory");
    encoder.finish().expect("memory")
}

/// A package as anyone can make it: entries by name, type and content.
fn forged(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = Header::new_ustar();
        // Past the checks of the writer, which refuses what is tried here.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *content).expect("memory");
    }
    closed(&builder.into_inner().expect("memory"))
}

fn refusal(bytes: &[u8]) -> String {
    unpack(bytes, None).expect_err("a hostile package").to_string()
}

#[test]
fn a_package_holds_what_the_release_needs_and_nothing_else() {
    let (place, bundle) = tenant(b"\x08\x08model", "SELECT 1 AS id");
    let commit = Some("0123456789abcdef0123456789abcdef01234567".to_owned());
    let package = Package::pack(&bundle, commit.clone(), None).expect("a package");
    let (unpacked_place, unpacked) = unpack(&package, None).expect("a whole package");
    assert_eq!(unpacked.folder, unpacked_place.path().join("crm/spend"));
    assert_eq!((unpacked.commit, unpacked.signed_by), (commit, None));
    let mut expected = contents(place.path());
    for not_needed in ["crm/spend/train.py", "crm/spend/.env", "crm/macros/README.md"] {
        expected.remove(not_needed).expect("it is beside the bundle");
    }
    assert_eq!(contents(unpacked_place.path()), expected);
    let again = load(&unpacked.folder).expect("a sound bundle");
    assert_eq!((again.path, again.config), (bundle.path, bundle.config));
}

#[test]
fn a_link_is_not_followed_into_a_package() {
    let (place, bundle) = tenant(b"\x08\x08model", "SELECT 1 AS id");
    let secret = place.path().join("secret");
    fs::write(&secret, "secret").expect("a file");
    std::os::unix::fs::symlink(&secret, place.path().join("crm/macros/link.sql")).expect("a link");
    let refused = Package::pack(&bundle, None, None).expect_err("a link").to_string();
    assert!(refused.contains("leads out of the bundle's folder"), "{refused}");
    fs::remove_file(place.path().join("crm/macros/link.sql")).expect("it was there");
    let features = place.path().join("crm/spend/features.sql");
    fs::remove_file(&features).expect("it was there");
    std::os::unix::fs::symlink(&secret, &features).expect("a link");
    let refused = Package::pack(&bundle, None, None).expect_err("a link").to_string();
    assert!(refused.contains("leads out of the bundle's folder"), "{refused}");
}

#[test]
fn only_a_trusted_key_signs_for_an_installation() {
    let (_place, bundle) = tenant(b"\x08\x08model", "SELECT 1 AS id");
    let [ours, theirs] =
        [SigningKey::generate(), SigningKey::generate()].map(|key| key.expect("random bytes"));
    let trusted = trusting(&ours.public());
    let sign = |key| Package::pack(&bundle, None, key).expect("a package");

    let (_unpacked, signed) = unpack(&sign(Some(&ours)), Some(&trusted)).expect("it is signed");
    assert_eq!(signed.signed_by, Some(ours.public()));
    let refused = unpack(&sign(None), Some(&trusted)).expect_err("nobody signed it");
    assert!(matches!(refused, PackageError::Unsigned { .. }), "{refused}");
    let refused = unpack(&sign(Some(&theirs)), Some(&trusted)).expect_err("somebody signed it");
    assert!(matches!(refused, PackageError::Untrusted { signer, .. } if signer == theirs.public()));

    // The signature of one package in another one.
    let (_other_place, other) = tenant(b"\x08\x08other", "SELECT 1 AS id");
    let other = Package::pack(&other, None, Some(&ours)).expect("a package");
    let entry = |package: &[u8], name: &str| {
        let tar = opened(package);
        let mut archive = tar::Archive::new(tar.as_slice());
        let mut entries = archive.entries().expect("a tar").map(|entry| entry.expect("an entry"));
        let mut found = entries.find(|entry| entry.path_bytes() == name.as_bytes()).expect(name);
        let mut content = Vec::new();
        found.read_to_end(&mut content).expect("memory");
        content
    };
    let signature = entry(&other, "manifest.sig");
    let manifest = entry(&sign(None), "manifest.json");
    let moved = forged(&[
        ("manifest.json", EntryType::Regular, &manifest),
        ("manifest.sig", EntryType::Regular, &signature),
    ]);
    let refused = unpack(&moved, Some(&trusted)).expect_err("another's signature");
    assert!(matches!(refused, PackageError::WrongSignature { .. }), "{refused}");
    assert!(
        unpack(&moved, None).is_err(),
        "a wrong signature is refused even where none is asked for"
    );
}

#[test]
fn what_an_attacker_writes_into_a_tar_is_refused_and_leaves_nothing() {
    let hash = cameo_domain::Sha256::of(b"x");
    let manifest = |names: &[&str], bytes: u64| {
        let files: Vec<String> = names
            .iter()
            .map(|name| format!(r#"{{"name":{name:?},"bytes":{bytes},"sha256":"{hash}"}}"#))
            .collect();
        format!(
            r#"{{"format":1,"service":{{"tenant":"crm","service":"spend"}},"commit":null,"files":[{}]}}"#,
            files.join(",")
        )
    };
    let file = EntryType::Regular;
    let sound = manifest(&["crm/a"], 1);
    let escaping = manifest(&["crm/../../a"], 1);
    let twice = manifest(&["crm/a", "crm/a"], 1);
    let huge = manifest(&["crm/a"], 1 << 40);
    let m = "manifest.json";
    for (entries, expected) in [
        (&[("crm/a", file, b"x".as_slice())][..], "expected `manifest.json`, found `crm/a`"),
        (&[(m, file, sound.as_bytes())], "expected `crm/a`, found the end of the package"),
        (&[(m, file, sound.as_bytes()), ("crm/a", file, b"y")], "with the SHA-256"),
        (
            &[(m, file, sound.as_bytes()), ("crm/a", file, b"")],
            "expected 1 bytes of `crm/a`, found 0",
        ),
        (
            &[(m, file, sound.as_bytes()), ("crm/a", file, b"xx")],
            "`crm/a` is 2: expected at most 1",
        ),
        (&[(m, file, sound.as_bytes()), ("crm/b", file, b"x")], "expected `crm/a`, found `crm/b`"),
        (
            &[(m, file, sound.as_bytes()), ("crm/a", EntryType::Symlink, b"")],
            "expected regular files only",
        ),
        (
            &[(m, file, sound.as_bytes()), ("crm/a", EntryType::Link, b"")],
            "expected regular files only",
        ),
        (
            &[(m, file, sound.as_bytes()), ("crm/a", EntryType::Directory, b"")],
            "expected regular files only",
        ),
        (
            &[(m, file, sound.as_bytes()), ("x", EntryType::GNULongName, b"crm/a")],
            "expected regular files only",
        ),
        (
            &[(m, file, sound.as_bytes()), ("x", EntryType::XHeader, b"19 path=../../a\n")],
            "expected regular files only",
        ),
        (
            &[(m, file, sound.as_bytes()), ("crm/a", file, b"x"), ("crm/b", file, b"x")],
            "expected only files that the manifest names, found `crm/b`",
        ),
        (
            &[(m, file, sound.as_bytes()), ("crm/a", file, b"x"), ("crm/a", file, b"x")],
            "expected only files that the manifest names, found `crm/a`",
        ),
        (
            &[(m, file, escaping.as_bytes()), ("crm/../../a", file, b"x")],
            "expected a file below `crm/`",
        ),
        (
            &[(m, file, twice.as_bytes()), ("crm/a", file, b"x"), ("crm/a", file, b"x")],
            "each file once",
        ),
        (
            &[(m, file, huge.as_bytes()), ("crm/a", file, b"x")],
            "`crm/a` is 1099511627776: expected at most",
        ),
        (&[(m, file, b"{}")], "expected a manifest, found missing field `format`"),
        (&[(m, file, b"\xff")], "expected a manifest"),
        (&[], "found the end of the package"),
    ] {
        let refused = refusal(&forged(entries));
        assert!(refused.contains(expected), "{expected}: {refused}");
    }
    for nonsense in [&b""[..], b"PK\x03\x04", b"no archive at all"] {
        assert!(refusal(nonsense).contains("this is no whole package"), "{}", refusal(nonsense));
    }
}

#[test]
fn a_bomb_ends_at_its_bound() {
    let zeros = vec![0; 4 << 20];
    let refused = refusal(&forged(&[("manifest.json", EntryType::Regular, &zeros)]));
    assert!(refused.contains("`manifest.json` is 4194304: expected at most 1048576"), "{refused}");
}

#[test]
fn nothing_follows_the_last_file() {
    let (_place, bundle) = tenant(b"\x08\x08model", "SELECT 1 AS id");
    let package = Package::pack(&bundle, None, None).expect("a package");
    let refused = refusal(&[package.as_slice(), b"more"].concat());
    assert!(refused.contains("found 4 more bytes"), "{refused}");
    let mut tar = opened(&package);
    tar.extend_from_slice(b"hidden behind the end");
    let refused = refusal(&closed(&tar));
    assert!(refused.contains("found more after its last file"), "{refused}");
}

#[test]
fn a_file_that_is_there_is_not_written_over() {
    let (_place, bundle) = tenant(b"\x08\x08model", "SELECT 1 AS id");
    let package = Package::pack(&bundle, None, None).expect("a package");
    let place = tempfile::tempdir().expect("a temporary folder");
    fs::write(place.path().join("kept"), "kept").expect("a file");
    let refused = Package::unpack(&package, place.path(), None).expect_err("not empty").to_string();
    assert!(refused.contains("expected an empty folder"), "{refused}");
    assert_eq!(contents(place.path()).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_bundle_makes_the_same_bytes_and_comes_back_whole(
        model in proptest::collection::vec(any::<u8>(), 0..5_000),
        comment in "[a-zé ]{0,200}",
    ) {
        // A first byte that no other format begins with.
        let model = [&b"\x08"[..], &model].concat();
        let sql = format!("SELECT 1 AS id -- {comment}");
        let (place, bundle) = tenant(&model, &sql);
        let package = Package::pack(&bundle, None, None).expect("a package");
        let (_elsewhere, twin) = tenant(&model, &sql);
        prop_assert_eq!(&package, &Package::pack(&twin, None, None).expect("a package"));
        let (unpacked, found) = unpack(&package, None).expect("a whole package");
        let kept = contents(unpacked.path());
        prop_assert_eq!(&kept["crm/spend/parts/model.onnx"], &model);
        for (name, content) in &kept {
            prop_assert_eq!(content, &fs::read(place.path().join(name)).expect("its source"));
        }
        let again = load(&found.folder).expect("a sound bundle");
        prop_assert_eq!(Package::pack(&again, None, None).expect("a package"), package);
    }

    #[test]
    fn an_edited_or_shortened_package_is_refused_or_holds_the_same(
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
        cut in any::<prop::sample::Index>(),
        inside in any::<bool>(),
    ) {
        let (_place, bundle) = tenant(b"\x08\x08model with some content", "SELECT 1 AS id");
        let key: SigningKey = "cameo-ed25519-secret:00000000000000000000000000000000000000000000000000000000000000ff"
            .parse()
            .expect("a key");
        let package = Package::pack(&bundle, None, Some(&key)).expect("a package");
        let trusted = trusting(&key.public());
        let (whole, _) = unpack(&package, Some(&trusted)).expect("a whole package");
        let expected = contents(whole.path());
        // Inside the tar no checksum of gzip helps.
        let mut edited = if inside { opened(&package) } else { package.clone() };
        let at = at.index(edited.len());
        edited[at] ^= 1 << bit;
        let edited = if inside { closed(&edited) } else { edited };
        if let Ok((place, _)) = unpack(&edited, Some(&trusted)) {
            prop_assert_eq!(contents(place.path()), expected);
        }
        prop_assert!(unpack(&package[..cut.index(package.len())], Some(&trusted)).is_err());
    }
}
