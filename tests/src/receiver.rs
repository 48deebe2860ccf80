//! Somebody who is told by a webhook, and is not always in the mood.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cameo_webhook::Secret;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{eventually, segments::WEBHOOK_SECRET};

/// How a receiver treats a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Takes it.
    Take,
    /// Takes it and answers after a while.
    TakeSlowly(Duration),
    /// Takes it, and the connection breaks before the answer has gone.
    TakeAndCut,
    /// Refuses it with a status.
    Refuse(u16),
    /// Closes the connection when the message has begun.
    Cut,
}

/// A message as it arrived.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Its id: the same at each attempt.
    pub id: String,
    /// Its body, as it was sent.
    pub body: String,
    /// Whether its signature is that of id, time and body.
    pub is_signed: bool,
    /// How it was treated.
    pub manner: Manner,
}

impl Heard {
    /// The number of the materialisation that it tells of.
    #[must_use]
    pub fn materialisation(&self) -> u64 {
        let body: Value = serde_json::from_str(&self.body).expect("JSON");
        body["data"]["materialisation"].as_u64().expect("a number")
    }

    /// Whether the receiver has it, whatever the sender knows.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        matches!(self.manner, Manner::Take | Manner::TakeSlowly(_) | Manner::TakeAndCut)
    }
}

#[derive(Default)]
struct Shared {
    moods: VecDeque<Manner>,
    heard: Vec<Heard>,
}

/// A receiver on a port of this machine, which takes what it is not told to treat otherwise.
pub struct Receiver {
    /// Where it is.
    pub url: String,
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Starts to listen.
    pub async fn start() -> Self {
        Self::on(SocketAddr::from(([127, 0, 0, 1], 0)), Arc::default()).await
    }

    async fn on(address: SocketAddr, shared: Arc<Mutex<Shared>>) -> Self {
        let listener =
            eventually("the port is free", async || TcpListener::bind(address).await.ok()).await;
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(listen(listener, Arc::clone(&shared)));
        Self { url: format!("http://{address}/hooks"), address, shared, task }
    }

    /// How it treats the next messages, one after the other.
    pub fn will(&self, manners: impl IntoIterator<Item = Manner>) {
        lock(&self.shared).moods.extend(manners);
    }

    /// What it has heard, in the order of arrival.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        lock(&self.shared).heard.clone()
    }

    /// The materialisations that it was told of, as it has them that skips repetitions: in the order of arrival.
    ///
    /// # Panics
    /// When a message is not signed, or says something else than before under the same id.
    #[must_use]
    pub fn taken(&self) -> Vec<u64> {
        let heard = self.heard();
        let mut bodies: HashMap<&str, &str> = HashMap::new();
        for one in &heard {
            assert!(one.is_signed, "{one:?}");
            assert_eq!(*bodies.entry(&one.id).or_insert(&one.body), one.body, "{heard:#?}");
        }
        let mut known = HashSet::new();
        let mut taken = Vec::new();
        for one in heard.iter().filter(|one| one.is_taken()) {
            if known.insert(&one.id) {
                taken.push(one.materialisation());
            }
        }
        taken
    }

    /// Is killed: whoever connects is refused. What it has heard is remembered.
    pub async fn die(self) -> DeadReceiver {
        self.task.abort();
        let _ = self.task.await;
        DeadReceiver { address: self.address, shared: self.shared }
    }
}

/// A receiver that was killed.
pub struct DeadReceiver {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl DeadReceiver {
    /// Starts again where it was.
    pub async fn revive(self) -> Receiver {
        Receiver::on(self.address, self.shared).await
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    while let Ok((connection, _)) = listener.accept().await {
        // One after the other: a sender that kept the order has kept it here.
        receive(connection, &shared).await;
    }
}

async fn receive(mut connection: TcpStream, shared: &Mutex<Shared>) {
    let manner = lock(shared).moods.pop_front().unwrap_or(Manner::Take);
    if manner == Manner::Cut {
        let _ = connection.read_u8().await;
        return;
    }
    let Some((head, body)) = read(&mut connection).await else { return };
    let of = |name: &str| head.get(name).cloned().unwrap_or_default();
    let id = of("webhook-id");
    let secret = Secret::from_bytes(WEBHOOK_SECRET.to_vec());
    let expected = |at| secret.sign(&id, at, body.as_bytes());
    let is_signed =
        of("webhook-timestamp").parse().is_ok_and(|at| of("webhook-signature") == expected(at));
    lock(shared).heard.push(Heard { id, body, is_signed, manner });
    let status = match manner {
        Manner::Take => 204,
        Manner::TakeSlowly(after) => {
            tokio::time::sleep(after).await;
            204
        }
        Manner::Refuse(status) => status,
        Manner::TakeAndCut | Manner::Cut => return,
    };
    let answer = format!("HTTP/1.1 {status} So\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let _ = connection.write_all(answer.as_bytes()).await;
}

/// The headers by their names in small letters, and the body; none where the connection breaks.
async fn read(connection: &mut TcpStream) -> Option<(HashMap<String, String>, String)> {
    let mut bytes = Vec::new();
    loop {
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        let head: HashMap<String, String> = lines
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length: usize = head.get("content-length")?.parse().ok()?;
        if body.len() >= length {
            return Some((head, body.to_owned()));
        }
    }
}
