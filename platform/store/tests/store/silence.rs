//! A Postgres that has vanished without a word: connections stay open, and no answer comes.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cameo_domain::Key;
use cameo_store::{
    ConnectOptions, Store,
    lookup::{self, Reader},
    runs, services,
};
use sqlx::{Connection, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
};

use crate::support::{World, at, crm};

const PATIENCE: Duration = Duration::from_secs(1);
/// Far less than what the system waits.
const SOON: Duration = Duration::from_secs(8);

/// A line to Postgres over which some answers do not come.
struct Line {
    address: SocketAddr,
    silences: Arc<AtomicU64>,
}

impl Line {
    async fn lay(world: &World) -> Self {
        let server = world.postgres.connection();
        let socket = server.socket_dir.join(format!(".s.PGSQL.{}", server.port));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let silences = Arc::new(AtomicU64::new(0));
        let known = Arc::clone(&silences);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, socket.clone(), Arc::clone(&known)));
            }
        });
        Self { address, silences }
    }

    async fn store(&self, world: &World) -> Store {
        let server = world.postgres.connection();
        let url = format!(
            "postgresql://{}@{}/{}?sslmode=disable",
            server.user, self.address, server.database
        );
        let options = ConnectOptions::from_url(&url).expect("a URL").patience(PATIENCE);
        Store::connect(&options.control_connections(2)).await.expect("a connection")
    }

    /// From now on no answer comes over the connections that there are; new ones are as before.
    fn fall_silent(&self) {
        self.silences.fetch_add(1, Ordering::SeqCst);
    }
}

async fn relay(client: TcpStream, socket: PathBuf, silences: Arc<AtomicU64>) {
    let before = silences.load(Ordering::SeqCst);
    let server = UnixStream::connect(&socket).await.expect("Postgres");
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asked = async move { tokio::io::copy(&mut from_client, &mut to_server).await };
    let answered = async move {
        let mut piece = vec![0; 8 * 1_024];
        while let Ok(bytes @ 1..) = from_server.read(&mut piece).await {
            if silences.load(Ordering::SeqCst) == before
                && to_client.write_all(&piece[..bytes]).await.is_err()
            {
                break;
            }
        }
        // Even the end of the connection goes untold.
        to_client.forget();
    };
    tokio::join!(async { drop(asked.await) }, answered);
}

#[tokio::test]
async fn who_waits_for_a_postgres_that_has_vanished_is_told_and_goes_on_over_another_connection() {
    let world = World::start().await;
    let service = world.service("crm", "gender").await;
    world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    let line = Line::lay(&world).await;
    let store = line.store(&world).await;
    let served = lookup::current(&store, None).await.expect("an answer").remove(0);
    let (key, mut reader) = (Key::Int(8), Reader::new(store.clone()));
    lookup::one(&store, &served, &key).await.expect("an answer").expect("a prediction");
    reader.one(&served, &key).await.expect("an answer").expect("a prediction");

    // A transaction waits for a row, and its answer is lost.
    let mut holder = PgConnection::connect(&world.postgres.url()).await.expect("a connection");
    let held = "begin; select from cameo.services for update";
    sqlx::raw_sql(held).execute(&mut holder).await.expect("the row");
    let (asking, path) = (store.clone(), service.clone());
    let request = tokio::spawn(async move {
        let due_at = at("2026-03-05T00:00:00Z");
        runs::create_manual(&asking, &crm(), &path, "asked", due_at, "test").await
    });
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut holder).await.expect("a number") == 0
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    line.fall_silent();
    let silent_since = Instant::now();
    sqlx::raw_sql("commit").execute(&mut holder).await.expect("the row is free");
    let lost = request.await.expect("no panic").expect_err("no answer came");
    assert!(lost.is_transient(), "{lost:?}");

    // Look-ups and reads meet the other connections, which are as silent.
    lookup::one(&store, &served, &key).await.expect("over a new one").expect("a prediction");
    reader.one(&served, &key).await.expect("over a new one").expect("a prediction");
    let found = services::find(&store, &crm(), &service).await.expect("over a new one");
    assert!(found.is_some());
    let due_at = at("2026-03-05T00:00:00Z");
    let again = runs::create_manual(&store, &crm(), &service, "asked", due_at, "test").await;
    let again = again.expect("over a new one").into_run();
    assert_eq!(again.due_at, due_at);
    assert!(silent_since.elapsed() < SOON, "{:?}", silent_since.elapsed());
    world.assert_sound().await;
}
