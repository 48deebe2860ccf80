//! Packages as strangers can make them.

use std::{
    fs,
    io::{Read, Write},
};

use cameo_domain::Sha256;
use cameo_package::Package;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use super::Corpus;

const MANIFEST: &str = "manifest.json";

fn closed(tar: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(tar).expect("memory");
    encoder.finish().expect("memory")
}

/// An archive of entries by name, type and content.
fn tar_of(entries: &[(&[u8], EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = Header::new_ustar();
        // Past the checks of the writer, which refuses what is tried here.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.as_mut_bytes()[157..168].copy_from_slice(b"/etc/passwd");
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o4777);
        header.set_cksum();
        builder.append(&header, *content).expect("memory");
    }
    builder.into_inner().expect("memory")
}

/// A manifest that names files of one byte `x`.
fn manifest(names: &[&str]) -> Vec<u8> {
    let hash = Sha256::of(b"x");
    let file = |name: &&str| {
        let name = serde_json::to_string(name).expect("a name");
        format!(r#"{{"name":{name},"bytes":1,"sha256":"{hash}"}}"#)
    };
    let files: Vec<String> = names.iter().map(file).collect();
    format!(
        r#"{{"format":1,"service":{{"tenant":"crm","service":"spend"}},"commit":null,"files":[{}]}}"#,
        files.join(",")
    )
    .into_bytes()
}

/// A package whose one file beside the manifest has a name and a type.
fn with(name: &str, kind: EntryType) -> Vec<u8> {
    let manifest = manifest(&[name]);
    closed(&tar_of(&[
        (MANIFEST.as_bytes(), EntryType::Regular, &manifest),
        (name.as_bytes(), kind, b"x"),
    ]))
}

/// As many megabytes of zeros, compressed a thousand times, where a file is expected.
fn bomb(megabytes: usize) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.set_path(MANIFEST).expect("a name");
    header.set_size((megabytes as u64) << 20);
    header.set_cksum();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(header.as_bytes()).expect("memory");
    for _ in 0..megabytes {
        encoder.write_all(&vec![0; 1 << 20]).expect("memory");
    }
    encoder.finish().expect("memory")
}

fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let file = EntryType::Regular;
    let one = manifest(&["crm/a"]);
    let entry = |name: &'static str, kind, content: &'static [u8]| {
        closed(&tar_of(&[(MANIFEST.as_bytes(), file, &one), (name.as_bytes(), kind, content)]))
    };
    let many: Vec<String> = (0..20_000).map(|at| format!("crm/{at}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let sound = with("crm/a", file);
    let mut wrong_sum = Vec::new();
    GzDecoder::new(sound.as_slice()).read_to_end(&mut wrong_sum).expect("a gzip");
    wrong_sum[148] ^= 1;
    let mut negative = tar_of(&[(MANIFEST.as_bytes(), file, &one)]);
    negative[124..136].copy_from_slice(&[0xff; 12]);
    vec![
        ("300 MB of zeros in 300 KB", bomb(300)),
        ("two archives, one after the other", [sound.clone(), sound.clone()].concat()),
        ("a path that leads out", with("crm/../../../tmp/a", file)),
        ("a path of another tenant", with("marketing/a", file)),
        ("an absolute path", with("/etc/cron.d/a", file)),
        ("a path with a backslash", with("crm\\..\\..\\a", file)),
        ("a path with a NUL", with("crm/a\0/../../b", file)),
        ("a path of dots", with("crm/./././a", file)),
        ("an empty path", with("", file)),
        ("a path that ends in a slash", with("crm/a/", file)),
        ("the settings of a repository", with("crm/.git/config", file)),
        ("a symbolic link to /etc/passwd", entry("crm/a", EntryType::Symlink, b"")),
        ("a hard link to /etc/passwd", entry("crm/a", EntryType::Link, b"")),
        ("a character device", entry("crm/a", EntryType::Char, b"")),
        ("a block device", entry("crm/a", EntryType::Block, b"")),
        ("a pipe", entry("crm/a", EntryType::Fifo, b"")),
        ("a folder", entry("crm/a", EntryType::Directory, b"")),
        ("a sparse file", entry("crm/a", EntryType::GNUSparse, b"")),
        ("a long name", entry("././@LongLink", EntryType::GNULongName, b"crm/../../a")),
        ("a long link", entry("././@LongLink", EntryType::GNULongLink, b"/etc/passwd")),
        ("a name in an extended header", entry("x", EntryType::XHeader, b"19 path=../../a\n")),
        ("a name for all that follows", entry("x", EntryType::XGlobalHeader, b"19 path=../../a\n")),
        ("one name twice", {
            let twice = manifest(&["crm/a", "crm/a"]);
            let a = b"crm/a".as_slice();
            closed(&tar_of(&[
                (MANIFEST.as_bytes(), file, &twice),
                (a, file, b"x"),
                (a, file, b"x"),
            ]))
        }),
        ("a file and a folder of one name", {
            let both = manifest(&["crm/a", "crm/a/b"]);
            closed(&tar_of(&[
                (MANIFEST.as_bytes(), file, &both),
                (b"crm/a", file, b"x"),
                (b"crm/a/b", file, b"x"),
            ]))
        }),
        ("20,000 names", closed(&tar_of(&[(MANIFEST.as_bytes(), file, &manifest(&many))]))),
        ("a wrong checksum of a header", closed(&wrong_sum)),
        ("a size below nothing", closed(&negative)),
        ("half an archive", sound[..sound.len() / 2].to_vec()),
        ("a zip", b"PK\x03\x04rest".to_vec()),
        ("nothing", Vec::new()),
    ]
}

#[test]
fn every_hostile_package_is_refused_and_leaves_nothing_behind() {
    let made = corpus();
    let mut corpus = Corpus::new();
    for (name, package) in made {
        let into = tempfile::tempdir().expect("a folder");
        corpus.refused(name, || {
            let unpacked = Package::unpack(&package, into.path(), None);
            unpacked.map(|_| ()).map_err(|error| error.to_string())
        });
        let left = fs::read_dir(into.path()).expect("the folder").count();
        assert_eq!(left, 0, "{name} left something behind");
    }
    let text = corpus.end("hostile packages");
    insta::assert_snapshot!(text);
}
