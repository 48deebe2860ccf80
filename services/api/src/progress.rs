//! A connection whose client must take what it asked for.
//!
//! A client that asks for megabytes and reads nothing holds the answer in memory for as long as it likes. From the
//! moment at which its connection takes no more, it has a time in which to take [`BYTES_MIN`]; a slow line does, one
//! that reads a byte now and then does not.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// What a client must take within the time limit once its connection is full: in the default 15 s, about
/// 4 KiB per second.
const BYTES_MIN: usize = 64 << 10;

/// See the module.
pub(crate) struct Progress<S> {
    stream: S,
    limit: Duration,
    /// Set while the client has to catch up.
    waiting: Option<Waiting>,
}

struct Waiting {
    end: Pin<Box<Sleep>>,
    taken: usize,
}

impl<S> Progress<S> {
    pub(crate) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, waiting: None }
    }

    /// The connection takes nothing now: how much longer?
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let limit = self.limit;
        let waiting =
            self.waiting.get_or_insert_with(|| Waiting { end: Box::pin(sleep(limit)), taken: 0 });
        ready!(waiting.end.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client does not take its answer",
        )))
    }

    fn took(&mut self, bytes: usize) {
        if let Some(waiting) = &mut self.waiting {
            waiting.taken += bytes;
            if waiting.taken >= BYTES_MIN {
                waiting.taken = 0;
                waiting.end.as_mut().reset(Instant::now() + self.limit);
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Progress<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Progress<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Pending => self.wait(context),
            Poll::Ready(written) => {
                if let Ok(written) = &written {
                    self.took(*written);
                    // All that was to be sent is on its way.
                    if *written == bytes.len() {
                        self.waiting = None;
                    }
                }
                Poll::Ready(written)
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(context, slices) {
            Poll::Pending => self.wait(context),
            Poll::Ready(written) => {
                if let Ok(written) = &written {
                    self.took(*written);
                    if *written == slices.iter().map(|slice| slice.len()).sum::<usize>() {
                        self.waiting = None;
                    }
                }
                Poll::Ready(written)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(context) {
            Poll::Pending => self.wait(context),
            ended @ Poll::Ready(_) => ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(800);

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_cut_and_one_that_reads_slowly_is_not() {
        let (mut client, server) = duplex(1_024);
        let mut server = Progress::new(server, LIMIT);
        let sent = tokio::spawn(async move { server.write_all(&vec![7; 1 << 20]).await });
        let mut read = [0; 8 << 10];
        for _ in 0..64 {
            // Slow, and still several times as fast as it has to be.
            tokio::time::sleep(Duration::from_millis(20)).await;
            client.read_exact(&mut read).await.expect("it is still served");
        }
        let stopped = Instant::now();
        let ended = sent.await.expect("no panic").expect_err("cut");
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        assert!(stopped.elapsed() <= LIMIT * 2, "{:?}", stopped.elapsed());
    }

    #[tokio::test]
    async fn a_byte_now_and_then_is_no_progress() {
        let (mut client, server) = duplex(1_024);
        let mut server = Progress::new(server, LIMIT);
        let sent = tokio::spawn(async move { server.write_all(&vec![7; 1 << 20]).await });
        let started = Instant::now();
        let trickle = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                if client.read_u8().await.is_err() {
                    break;
                }
            }
        });
        sent.await.expect("no panic").expect_err("cut");
        assert!(started.elapsed() <= LIMIT * 2, "{:?}", started.elapsed());
        trickle.abort();
    }
}
