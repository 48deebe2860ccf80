//! What it costs to know a caller: a remembered key and a remembered token by their fingerprints, beside what a
//! key costs whose hash is compared with each request. Prints a Markdown table.
//!
//! `cargo run --profile release -p cameo-access --example authenticate_cost [rounds]`

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::{
    collections::HashMap,
    error::Error,
    hash::{BuildHasher, RandomState},
    hint::black_box,
    sync::{Arc, RwLock},
    thread,
    time::Instant,
};

use cameo_access::{ApiKey, Authenticator, KeyHash, PresentedKey};
use cameo_domain::{Scopes, Services};
use cameo_runtime::postgres::{EmbeddedPostgres, PostgresSettings};
use cameo_store::{
    ConnectOptions, Store,
    keys::{self, NewKey},
};

const ROUNDS: u32 = 1_000_000;
/// As long as a token with a few groups.
const TOKEN_BYTES: usize = 1_000;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let rounds = std::env::args().nth(1).map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
    let folder = tempfile::tempdir()?;
    let postgres = EmbeddedPostgres::start(folder.path(), &PostgresSettings::default())?;
    let store = Store::connect(&ConnectOptions::from_url(&postgres.url())?).await?;
    store.migrate().await?;
    let key = ApiKey::generate()?;
    let new = NewKey {
        prefix: key.prefix().to_owned(),
        hash: key.hash(),
        tenant: None,
        name: "measured".to_owned(),
        scopes: Scopes::all(),
        services: Services::All,
        created_by: "measured".to_owned(),
        expires_at: None,
    };
    keys::insert(&store, &new).await?;

    println!("| | ns a request |\n|---|---|");
    let authenticator = Authenticator::new(store, None);
    authenticator.authenticate(key.reveal()).await?;
    let started = Instant::now();
    for _ in 0..rounds {
        black_box(authenticator.authenticate(black_box(key.reveal())).await?);
    }
    tell("a remembered key, by fingerprint", started, rounds);

    let hashers = [RandomState::new(), RandomState::new()];
    let token = "x".repeat(TOKEN_BYTES);
    let started = Instant::now();
    for _ in 0..rounds {
        black_box(hashers.each_ref().map(|hasher| hasher.hash_one(black_box(&token))));
    }
    tell("the fingerprint of a token of 1,000 bytes", started, rounds);

    let remembered = Arc::new(RwLock::new(HashMap::from([(
        key.prefix().to_owned(),
        Arc::new(KeyHash::from(key.hash())),
    )])));
    let text = key.reveal().to_owned();
    let compare = move || {
        let presented = PresentedKey::parse(black_box(&text)).ok()?;
        let known = remembered.read().ok()?.get(presented.prefix()).cloned()?;
        (*known == presented.hash()).then_some(())
    };
    let started = Instant::now();
    for _ in 0..rounds {
        black_box(compare());
    }
    tell("shape, checksum, lock and SHA-256 of a key", started, rounds);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..rounds {
                    black_box(compare());
                }
            });
        }
    });
    tell("the same on two threads", started, rounds);
    Ok(())
}

fn tell(what: &str, started: Instant, rounds: u32) {
    println!("| {what} | {:.0} |", started.elapsed().as_secs_f64() * 1e9 / f64::from(rounds));
}
