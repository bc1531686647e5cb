//! Makes a connection of HTTP/2: socket, TLS, and the peer's first word.

use std::{io, time::Duration};

use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    alive::{Ended, Heard, Living},
    exchange::Sender,
    pool::Kind,
    resolve::{Found, Place},
};
use crate::{gather::Gathered, listener::Stream, tls::ClientTls};

/// The windows of a stream and of a connection of calls with one answer, which is read at once.
const UNARY: (u32, u32) = (1024 * 1024, 8 * 1024 * 1024);
/// The same for streams, which are read as fast as their clients do: all of a connection together
/// fit into its window, so that a slow one never holds up another.
const STREAMS: (u32, u32) = (64 * 1024, 8 * 1024 * 1024);
/// The largest header list of an answer; an error may name a thousand fields.
const LARGEST_HEADERS: u32 = 1024 * 1024;

/// What waits in memory for the peer to make room for it, by stream.
const SEND_BUFFER: usize = 1024 * 1024;

/// A connection as it goes on, in a task of its own, until the last call that has a part in it is over.
pub(super) type Connection = JoinHandle<Result<(), Ended>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] h2::Error),
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
        let heard = Heard::default();
        let (sender, mut connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .initial_connection_window_size(windows)
            .max_header_list_size(LARGEST_HEADERS)
            .max_send_buffer_size(SEND_BUFFER)
            .enable_push(false)
            // None before the peer has said how many it takes: so it is known that it is there, too.
            .initial_max_send_streams(0)
            .handshake::<_, Bytes>(Gathered::new(stream, heard.clone()))
            .await?;
        let mut pause = Duration::from_micros(200);
        while connection.max_concurrent_send_streams() == 0 {
            tokio::select! {
                ended = &mut connection => {
                    ended?;
                    return Err(DialError::Mute);
                }
                () = sleep(pause) => pause = (pause * 2).min(Duration::from_millis(20)),
            }
        }
        // By itself: calls that go on do so when nobody is told of the connection any more.
        let ended = tokio::spawn(Living::new(connection, heard, self.ping));
        Ok((sender, ended))
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
