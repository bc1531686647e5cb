//! Makes a connection of HTTP/2: socket, TLS, and the peer's first word.

use std::{io, time::Duration};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;
use tonic::{Status, body::Body};

use super::{
    pool::Kind,
    resolve::{Found, Place},
};
use crate::{listener::Stream, tls::ClientTls};

/// The windows of a stream and of a connection of calls with one answer, which is read at once.
const UNARY: (u32, u32) = (1024 * 1024, 8 * 1024 * 1024);
/// The same for streams, which are read as fast as their clients do: all of a connection together
/// fit into its window, so that a slow one never holds up another.
const STREAMS: (u32, u32) = (64 * 1024, 8 * 1024 * 1024);
/// The largest header list of an answer; an error may name a thousand fields.
const LARGEST_HEADERS: u32 = 1024 * 1024;

pub(super) type Sender = http2::SendRequest<Sent>;
pub(super) type Connection = http2::Connection<TokioIo<Stream>, Sent, TokioExecutor>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("the peer does not speak HTTP/2")]
    Mute,
    #[error("`{0}` can not stand in a certificate")]
    Nameless(String),
}

/// Makes connections.
pub(super) struct Dialer {
    pub(super) tls: Option<ClientTls>,
    pub(super) connect: Duration,
    pub(super) ping: Duration,
}

/// The body of a request: one message, which can be sent again, or whatever a caller streams.
pub(super) enum Sent {
    Whole(Option<Bytes>),
    Streamed(Body),
}

impl Dialer {
    /// A connection on which the peer has said how much it takes.
    pub(super) async fn dial(&self, found: &Found, kind: Kind) -> Result<(Sender, Connection), DialError> {
        timeout(self.connect, self.connect(found, kind))
            .await
            .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    }

    async fn connect(&self, found: &Found, kind: Kind) -> Result<(Sender, Connection), DialError> {
        let stream = match &found.place {
            Place::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                self.secured(stream, found).await?
            }
            Place::Unix(path) => self.secured(UnixStream::connect(path).await?, found).await?,
        };
        let (window, windows) = match kind {
            Kind::Unary => UNARY,
            Kind::Streams => STREAMS,
        };
        let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(window)
            .initial_connection_window_size(windows)
            .max_header_list_size(LARGEST_HEADERS)
            .keep_alive_interval(self.ping)
            .keep_alive_timeout(self.ping)
            .keep_alive_while_idle(true)
            // None before the peer has said how many it takes: so it is known that it is there, too.
            .initial_max_send_streams(0)
            .handshake(TokioIo::new(stream))
            .await?;
        let mut pause = Duration::from_micros(200);
        while connection.current_max_send_streams() == 0 {
            tokio::select! {
                ended = &mut connection => {
                    ended?;
                    return Err(DialError::Mute);
                }
                () = sleep(pause) => pause = (pause * 2).min(Duration::from_millis(20)),
            }
        }
        Ok((sender, connection))
    }

    async fn secured<S>(&self, stream: S, found: &Found) -> Result<Stream, DialError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(found.host.clone()).map_err(|_| DialError::Nameless(found.host.clone()))?;
        let stream = TlsConnector::from(tls.config()).connect(name, stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(DialError::Mute);
        }
        Ok(Box::new(stream))
    }
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Self::Whole(message) => Poll::Ready(message.take().map(|message| Ok(Frame::data(message)))),
            Self::Streamed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(message) => message.is_none(),
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(message) => SizeHint::with_exact(message.as_ref().map_or(0, |message| message.len() as u64)),
            Self::Streamed(body) => body.size_hint(),
        }
    }
}
