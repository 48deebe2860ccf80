//! The least HTTP client that can load a server: one request after the other on a kept connection.

use std::{net::SocketAddr, sync::LazyLock};

use anyhow::{Context, bail};
use memchr::memmem::Finder;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
static HEAD_END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\r\n\r\n"));
static LENGTH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("content-length: "));

/// A kept connection.
pub(super) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    body_at: usize,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::with_capacity(4096), body_at: 0 })
    }

    /// Sends `request` and reads the whole answer; gives its status.
    pub(super) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.stream.write_all(request).await?;
        self.received.clear();
        self.body_at = loop {
            if let Some(end) = HEAD_END.find(&self.received) {
                break end + HEAD_END.needle().len();
            }
            if self.received.len() > HEAD_BYTES_MAX {
                bail!("the head of the answer exceeds {HEAD_BYTES_MAX} bytes");
            }
            self.more().await?;
        };
        let head = &self.received[..self.body_at];
        // hyper writes `HTTP/1.1 200 OK` and names in small letters.
        let status = number(head.get(9..12).context("no status line")?)?;
        let length = LENGTH.find(head).context("the answer has no length")?;
        let length = length + LENGTH.needle().len();
        let end = head[length..].iter().position(|byte| *byte == b'\r').unwrap_or_default();
        let length: usize = number(&head[length..length + end])?;
        while self.received.len() < self.body_at + length {
            self.more().await?;
        }
        Ok(status)
    }

    /// The body of the latest answer.
    pub(super) fn body(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.received[self.body_at..])
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.received).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

fn number<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    digits: &[u8],
) -> anyhow::Result<T> {
    Ok(std::str::from_utf8(digits)?.parse()?)
}
