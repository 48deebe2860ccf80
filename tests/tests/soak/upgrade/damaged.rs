//! What is no whole backup, and where none may go.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cameo_backup::BackupError;
use cameo_store::StoreError;
use cameo_tests::{Bundle, World, report, rounds, seed};

use super::{empty_world, restore_into, take};

const ROWS: u64 = 500;
/// Damages that CI does.
const SHORT: u32 = 40;

async fn backed_up(to: &Path) -> World {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    gender.publish("2024-03-01T18:00:00Z").await;
    take(&world, to).await.expect("a backup");
    world
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Numbers without pattern, the same for the same seed.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound.max(1) as u64).unwrap_or(0)
    }
}

/// One bit of one file changed, a file cut short, or a file gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_refused_before_anything_is_touched() {
    let folder = tempfile::tempdir().expect("a folder");
    let sound = folder.path().join("sound");
    let _world = backed_up(&sound).await;
    let all = files(&sound);
    let mut drawn = Drawn(seed());
    let wanted = rounds(SHORT);
    let (mut changed, mut cut, mut gone) = (0, 0, 0);
    for round in 0..wanted {
        // Each file is hit in its turn, in each way.
        let file = &all[round as usize % all.len()];
        let before = fs::read(file).expect("the file");
        let mut after = before.clone();
        match (round as usize / all.len() + round as usize) % 3 {
            0 if !before.is_empty() => {
                let place = drawn.below(before.len());
                after[place] ^= 1 << drawn.below(8);
                fs::write(file, after).expect("the damage");
                changed += 1;
            }
            1 if !before.is_empty() => {
                after.truncate(drawn.below(before.len()));
                fs::write(file, after).expect("the damage");
                cut += 1;
            }
            _ => {
                fs::remove_file(file).expect("the damage");
                gone += 1;
            }
        }
        let refused = cameo_backup::check(&sound).await;
        let name = file.display();
        match refused {
            Err(
                BackupError::Altered { .. }
                | BackupError::Incomplete(_)
                | BackupError::NotABackup { .. }
                // Text that is none any more.
                | BackupError::Io { .. },
            ) => {}
            other => panic!("{name}: {other:?}"),
        }
        fs::write(file, before).expect("it is mended");
    }
    let checked = cameo_backup::check(&sound).await.expect("a sound backup again");

    // What is damaged after the check is found on the way, and nothing is left of what had come back by then.
    let table = sound.join("tables/cameo.runs.copy.zst");
    let lines = zstd_of(&table, |lines| lines.repeat(2));
    fs::write(&table, lines).expect("the damage");
    let target = empty_world().await;
    let refused = restore_into(&target, &checked).await.expect_err("a refusal");
    assert!(matches!(&refused, BackupError::Store(_) | BackupError::Rows { .. }), "{refused:?}");
    let left =
        "select nspname::text from pg_namespace where nspname = 'cameo' or nspname like 'tenant%'";
    assert_eq!(target.texts(left).await, Vec::<String>::new(), "nothing of it is there");
    report(
        "damaged backups refused",
        &[
            ("a bit changed", &changed),
            ("cut short", &cut),
            ("a file gone", &gone),
            ("accepted", &0),
        ],
    );
}

/// A compressed file with other lines.
fn zstd_of(file: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let packed = fs::read(file).expect("the file");
    let lines = zstd::stream::decode_all(packed.as_slice()).expect("lines");
    zstd::stream::encode_all(change(lines).as_slice(), 1).expect("a file")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_into_nothing_that_is_there_and_replaces_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let sound = folder.path().join("sound");
    let world = backed_up(&sound).await;
    let again = take(&world, &sound).await.expect_err("a refusal");
    assert!(matches!(again, BackupError::Exists(_)), "{again:?}");

    let checked = cameo_backup::check(&sound).await.expect("a sound backup");
    let refused = restore_into(&world, &checked).await.expect_err("a refusal");
    let BackupError::Store(StoreError::NotEmpty { schemas }) = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(schemas, "cameo, tenant_marketing");
    world.assert_sound().await;

    let nobody = empty_world().await;
    let nothing = take(&nobody, &folder.path().join("nothing")).await.expect_err("a refusal");
    assert!(matches!(nothing, BackupError::Store(StoreError::NothingToBackUp)), "{nothing:?}");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 1, "what was broken off has left nothing: {left:?}");
}

/// A backup whose artifact is gone would be of no use.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_without_a_model_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = backed_up(&folder.path().join("sound")).await;
    world.take_artifacts_away();
    let refused = take(&world, &folder.path().join("without")).await.expect_err("a refusal");
    let BackupError::Artifact { needed_by, .. } = &refused else { panic!("{refused:?}") };
    assert!(needed_by.starts_with("the model of release "), "{needed_by}");
    assert!(!folder.path().join("without").exists());
}
