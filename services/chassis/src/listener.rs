//! What a server listens on: a port or a Unix socket, with TLS or without.

use std::{
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    pin::Pin,
    str::FromStr,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream},
    time::{Instant, Sleep, sleep, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use crate::{protocol::LARGEST_MESSAGE, tls::ServerTls};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;
/// How long a peer may take to close a connection that we have closed.
const LINGER: Duration = Duration::from_secs(1);
/// How much of what it still sends is read: a message that is twice too large, so that who sends it hears so.
const LEFTOVER: usize = 2 * LARGEST_MESSAGE;

/// Where to listen: `address:port` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A port of an address of this machine; port 0 is any free one.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// What connections come from.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    tls: Option<ServerTls>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    // In this order, so that the file is gone before the next process can find it abandoned.
    Unix(SocketFile, UnixListener),
}

/// Removes its file at the end.
#[derive(Debug)]
struct SocketFile(PathBuf);

/// A connection that was accepted; with TLS its handshake is still to be done.
pub(crate) struct Accepted {
    socket: Accept,
    pub(crate) peer: SocketAddr,
    tls: Option<ServerTls>,
}

enum Accept {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// An open connection.
pub(crate) type Stream = Box<dyn Io>;

/// What bytes go through, both ways.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection that is closed slowly: what the peer still sends is read and dropped, until it closes,
/// too. A socket that is closed with bytes unread is reset, and the peer would never see our last
/// words, a GOAWAY that says which calls may be sent again.
pub(crate) struct Lingering {
    stream: Stream,
    closed: Option<Pin<Box<Sleep>>>,
    leftover: usize,
}

// === impl Address ===

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no address to listen on; write `127.0.0.1:8080` or `unix:/path`");
        match text.strip_prefix("unix:") {
            Some(path) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                if path.starts_with('/') && path.len() > 1 { Ok(Self::Unix(path.into())) } else { Err(wrong()) }
            }
            None => text.parse().map(Self::Tcp).map_err(|_| wrong()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

// === impl Listener ===

impl Listener {
    /// Listens. A socket's file that nobody answers at is replaced. To be called in a runtime.
    ///
    /// # Errors
    /// When the address is taken or can not be listened on.
    pub fn bind(address: &Address) -> io::Result<Self> {
        let socket = match address {
            Address::Tcp(address) => {
                let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
                // Else a restart would wait for connections of the last run to be forgotten.
                socket.set_reuseaddr(true)?;
                socket.bind(*address)?;
                Socket::Tcp(socket.listen(BACKLOG)?)
            }
            Address::Unix(path) => {
                let listener = bind_unix(path)?;
                Socket::Unix(SocketFile(path.clone()), listener)
            }
        };
        Ok(Self { socket, tls: None })
    }

    /// The same, with TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Where it listens, with the port that it got.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<Address> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Socket::Unix(file, _) => Ok(Address::Unix(file.0.clone())),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        let tls = self.tls.clone();
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Fails only for a peer that is gone already.
                _ = stream.set_nodelay(true);
                Ok(Accepted { socket: Accept::Tcp(stream), peer, tls })
            }
            Socket::Unix(_, listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted { socket: Accept::Unix(stream), peer: (Ipv4Addr::LOCALHOST, 0).into(), tls })
            }
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self { socket: Socket::Tcp(listener), tls: None }
    }
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

/// Whether this is a socket at which nobody listens any more.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = || std::os::unix::net::UnixStream::connect(path).map_err(|error| error.kind());
    is_socket && matches!(refused(), Err(io::ErrorKind::ConnectionRefused))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Without it a client gets "no such file" instead of "connection refused"; no more depends on it.
        _ = fs::remove_file(&self.0);
    }
}

// === impl Accepted ===

impl Accepted {
    /// The network address that it comes from, if it comes from a network.
    pub(crate) fn network_peer(&self) -> Option<IpAddr> {
        matches!(self.socket, Accept::Tcp(_)).then(|| self.peer.ip())
    }

    /// Whether the other end has to show a certificate to get any further.
    pub(crate) fn is_mutual(&self) -> bool {
        self.tls.as_ref().is_some_and(ServerTls::is_mutual)
    }

    /// The connection, ready to be spoken on. A handshake has until `end`.
    pub(crate) async fn open(self, end: Instant) -> io::Result<Stream> {
        let Some(tls) = self.tls else {
            return Ok(match self.socket {
                Accept::Tcp(stream) => Box::new(stream) as Stream,
                Accept::Unix(stream) => Box::new(stream),
            });
        };
        let acceptor = TlsAcceptor::from(tls.config());
        let handshake = async move {
            Ok(match self.socket {
                Accept::Tcp(stream) => Box::new(acceptor.accept(stream).await?) as Stream,
                Accept::Unix(stream) => Box::new(acceptor.accept(stream).await?),
            })
        };
        timeout_at(end, handshake).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

// === impl Lingering ===

impl Lingering {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, closed: None, leftover: LEFTOVER }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let end = match &mut this.closed {
            Some(end) => end,
            None => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
                this.closed.insert(Box::pin(sleep(LINGER)))
            }
        };
        let mut space = [0; 16 * 1024];
        loop {
            if end.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut dropped = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut this.stream).poll_read(context, &mut dropped)) {
                Ok(()) if !dropped.filled().is_empty() && this.leftover > 0 => {
                    this.leftover = this.leftover.saturating_sub(dropped.filled().len());
                }
                _ => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
