//! A network between processes and their Postgres, with what networks do to connections.
//!
//! The private Postgres listens on a Unix socket alone; the proxy listens on TCP and passes pieces on, both ways.
//! A proxy in the same kernel cannot show it a peer that has vanished without a word: the kernel goes on to answer
//! for it. What it can show is everything that a connection learns of, and to the program, that it learns of nothing.

use std::{
    mem,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Draw, Place, World};

/// Most bytes that pass at once.
const PIECE_BYTES: usize = 8 * 1024;
/// A delayed piece waits less than this.
const DELAY_MAX: Duration = Duration::from_millis(60);
/// For so long answers are lost before the connection breaks.
const SILENCE: Duration = Duration::from_millis(150);

/// What may happen to a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It arrives late.
    Delay,
    /// The connection is cut, both ways, and the piece is lost.
    Cut,
    /// What was asked for arrives, every answer from then on is lost, and a little later the connection is cut:
    /// whatever was committed is committed, and nobody is told.
    AnswersLost,
    /// The piece arrives, and then one direction ends while the other one goes on.
    HalfClosed,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Delay, Self::Cut, Self::AnswersLost, Self::HalfClosed];
}

/// How often each fault happens, of a thousand pieces.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// [`Fault::Delay`].
    pub delay: u64,
    /// [`Fault::Cut`].
    pub cut: u64,
    /// [`Fault::AnswersLost`].
    pub answers_lost: u64,
    /// [`Fault::HalfClosed`].
    pub half_closed: u64,
}

impl Weather {
    fn of(self, fault: Fault) -> u64 {
        match fault {
            Fault::Delay => self.delay,
            Fault::Cut => self.cut,
            Fault::AnswersLost => self.answers_lost,
            Fault::HalfClosed => self.half_closed,
        }
    }
}

/// A running proxy; dropping it cuts every connection.
pub struct Proxy {
    address: SocketAddr,
    sky: Arc<Sky>,
    listening: JoinHandle<()>,
    _stop: DropGuard,
}

struct Sky {
    weather: Mutex<Weather>,
    /// Once it is cancelled, the connections that were made under it lose all answers.
    silence: Mutex<CancellationToken>,
    draw: Mutex<Draw>,
    happened: [AtomicU64; Fault::ALL.len()],
}

impl Sky {
    fn draws(&self) -> (Option<Fault>, Duration) {
        let mut draw = self.draw.lock().unwrap_or_else(PoisonError::into_inner);
        let weather = *self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut drawn, delay) = (draw.below(1_000), draw.shorter_than(DELAY_MAX));
        for (fault, happened) in Fault::ALL.into_iter().zip(&self.happened) {
            let share = weather.of(fault);
            if drawn < share {
                happened.fetch_add(1, Ordering::Relaxed);
                return (Some(fault), delay);
            }
            drawn -= share;
        }
        (None, delay)
    }
}

impl Proxy {
    /// Starts a proxy before a world's Postgres, in calm weather.
    pub async fn start(world: &World, draw: Draw) -> Self {
        let server = world.cluster.postgres().connection();
        let socket = server.socket_dir.join(format!(".s.PGSQL.{}", server.port));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let sky = Arc::new(Sky {
            weather: Mutex::default(),
            silence: Mutex::default(),
            draw: Mutex::new(draw),
            happened: Default::default(),
        });
        let stop = CancellationToken::new();
        let listening = tokio::spawn(listen(listener, socket, Arc::clone(&sky), stop.clone()));
        Self { address, sky, listening, _stop: stop.drop_guard() }
    }

    /// The world as it looks from behind the proxy.
    #[must_use]
    pub fn place(&self, world: &World) -> Place {
        let url = &world.place.database_url;
        let (path, _) = url.split_once('?').expect("a URL with a host parameter");
        let (_, database) = path.rsplit_once('/').expect("a URL with a database");
        let (user, address) = (world.cluster.postgres().connection().user, self.address);
        let database_url = format!("postgresql://{user}@{address}/{database}?sslmode=disable");
        Place { database_url, folder: world.place.folder.clone() }
    }

    /// Changes the weather.
    pub fn set(&self, weather: Weather) {
        *self.sky.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    /// From now on no answer comes over the connections that there are, which stay open; new ones are as before.
    pub fn fall_silent(&self) {
        let mut silence = self.sky.silence.lock().unwrap_or_else(PoisonError::into_inner);
        mem::take(&mut *silence).cancel();
    }

    /// How often a fault has happened.
    #[must_use]
    pub fn happened(&self, fault: Fault) -> u64 {
        let all = Fault::ALL.into_iter().zip(&self.sky.happened);
        all.filter(|(one, _)| *one == fault).map(|(_, count)| count.load(Ordering::Relaxed)).sum()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, socket: PathBuf, sky: Arc<Sky>, stop: CancellationToken) {
    while let Ok((client, _)) = listener.accept().await {
        let (socket, sky, cut) = (socket.clone(), Arc::clone(&sky), stop.child_token());
        tokio::spawn(async move {
            // A server that is down refuses; so does this one, a moment later.
            if let Ok(server) = UnixStream::connect(&socket).await {
                relay(client, server, &sky, &cut).await;
            }
        });
    }
}

async fn relay(client: TcpStream, server: UnixStream, sky: &Sky, cut: &CancellationToken) {
    // Small messages shall not wait for each other: the server's own socket does not either.
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let silence = sky.silence.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let silent = silence.child_token();
    let both = async {
        tokio::join!(
            pass(from_client, to_server, sky, cut, &silent, false),
            pass(from_server, to_client, sky, cut, &silent, true),
        )
    };
    tokio::select! {
        _ = both => {}
        () = cut.cancelled() => {}
    }
}

/// Passes pieces on in one direction until it ends.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    sky: &Sky,
    cut: &CancellationToken,
    silent: &CancellationToken,
    answers: bool,
) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(bytes @ 1..) = from.read(&mut piece).await {
        let (fault, delay) = sky.draws();
        match fault {
            Some(Fault::Delay) => tokio::time::sleep(delay).await,
            Some(Fault::Cut) => cut.cancel(),
            Some(Fault::AnswersLost) if !silent.is_cancelled() => {
                silent.cancel();
                let cut = cut.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(SILENCE).await;
                    cut.cancel();
                });
            }
            Some(Fault::AnswersLost | Fault::HalfClosed) | None => {}
        }
        if cut.is_cancelled() {
            return;
        }
        if answers && silent.is_cancelled() {
            continue;
        }
        if to.write_all(&piece[..bytes]).await.is_err() || fault == Some(Fault::HalfClosed) {
            break;
        }
    }
    let _ = to.shutdown().await;
}
