//! Whether the peer of a connection is there: who says nothing for a while is asked, and has to answer.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{Ping, PingPong};
use tokio::time::{Duration, Instant, Sleep, sleep};

use crate::{gather::Gathered, listener::Stream};

/// A connection that goes on until its end, or until its peer does not answer.
pub(super) struct Living {
    connection: h2::client::Connection<Gathered<Stream>, Bytes>,
    heard: Heard,
    every: Duration,
    alarm: Pin<Box<Sleep>>,
    pings: Option<PingPong>,
    /// Whether the peer was asked and has said nothing since.
    is_asked: bool,
}

/// Whether something came in since it was looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<AtomicBool>);

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Http(#[from] h2::Error),
    #[error("the peer does not answer")]
    Silent,
}

// === impl Heard ===

impl Heard {
    /// Something came in.
    pub(crate) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

// === impl Living ===

impl Living {
    /// Asks after `every` of silence, and waits as long for an answer.
    pub(super) fn new(
        mut connection: h2::client::Connection<Gathered<Stream>, Bytes>,
        heard: Heard,
        every: Duration,
    ) -> Self {
        let pings = connection.ping_pong();
        Self { connection, heard, every, alarm: Box::pin(sleep(every)), pings, is_asked: false }
    }

    /// Whether the peer has been silent for too long.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(pings) = &mut self.pings else { return Poll::Pending };
        while self.alarm.as_mut().poll(context).is_ready() {
            if self.heard.take() {
                self.is_asked = false;
            } else if self.is_asked {
                return Poll::Ready(());
            } else {
                // One that is under way is as good as another.
                _ = pings.send_ping(Ping::opaque());
                self.is_asked = true;
            }
            self.alarm.as_mut().reset(Instant::now() + self.every);
        }
        if self.is_asked {
            // What matters is only that its answer came in; it is taken, so that another can be sent.
            _ = pings.poll_pong(context);
        }
        Poll::Pending
    }
}

impl Future for Living {
    type Output = Result<(), Ended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.poll_silence(context).is_ready() {
            return Poll::Ready(Err(Ended::Silent));
        }
        Pin::new(&mut this.connection).poll(context).map_err(Ended::from)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{DuplexStream, duplex},
        time::timeout,
    };

    use super::*;
    use crate::upstream::exchange::Sender;

    const EVERY: Duration = Duration::from_secs(10);

    async fn connected() -> (Sender, Living, h2::server::Connection<DuplexStream, Bytes>) {
        let (ours, theirs) = duplex(64 * 1024);
        let heard = Heard::default();
        let stream: Stream = Box::new(ours);
        let client = h2::client::Builder::new().handshake::<_, Bytes>(Gathered::new(stream, heard.clone()));
        let (client, server) = tokio::join!(client, h2::server::handshake(theirs));
        let (sender, connection) = client.unwrap();
        (sender, Living::new(connection, heard, EVERY), server.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn r_106_a_peer_that_does_not_answer_when_it_is_asked_is_given_up() {
        let (_sender, living, _server) = connected().await;
        let began = Instant::now();
        let ended = timeout(EVERY * 10, living).await.unwrap();
        assert!(matches!(ended, Err(Ended::Silent)), "{ended:?}");
        assert!((EVERY * 2..=EVERY * 3).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_answers_is_kept_however_silent_it_is() {
        let (_sender, living, mut server) = connected().await;
        tokio::spawn(async move { while server.accept().await.is_some() {} });
        assert!(timeout(EVERY * 100, living).await.is_err());
    }
}
