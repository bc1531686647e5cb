//! A stretch of network between two roles, which a test can spoil: real sockets, real breaks.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// The frame that begins a request, or the answer to one.
const HEADERS: u8 = 1;

/// What a client of HTTP/2 says before its first frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Nobody listens, and every connection is broken.
    Refuses,
    /// Whatever is asked arrives this much later.
    Slow(Duration),
    /// The next request is lost with its connection; then nothing is wrong any more.
    LosesRequest,
    /// The next request arrives, and its answer is lost with the connection; then nothing is wrong any more.
    LosesAnswer,
}

/// The stretch. It is there as long as this.
pub(crate) struct Spoiler {
    /// Where callers come to.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    fault: watch::Sender<Fault>,
    /// Where it leads.
    to: watch::Sender<Option<SocketAddr>>,
    /// How many requests arrived at its end.
    passed: AtomicUsize,
}

// === impl Spoiler ===

impl Spoiler {
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Shared {
            fault: watch::Sender::new(Fault::None),
            to: watch::Sender::new(None),
            passed: AtomicUsize::new(0),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let here = shared.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(listen(listener, &here));
        });
        Self { address, shared }
    }

    pub(crate) fn lead_to(&self, place: SocketAddr) {
        self.shared.to.send_replace(Some(place));
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.shared.fault.send_replace(fault);
    }

    pub(crate) fn fault(&self) -> Fault {
        *self.shared.fault.borrow()
    }

    pub(crate) fn passed(&self) -> usize {
        self.shared.passed.load(Ordering::Relaxed)
    }
}

impl Drop for Spoiler {
    fn drop(&mut self) {
        // The end of its thread.
        self.shared.to.send_replace(None);
    }
}

// === impl Shared ===

impl Shared {
    /// Takes a fault that happens once; whether it was there.
    fn once(&self, fault: Fault) -> bool {
        self.fault.send_if_modified(|now| *now == fault && std::mem::replace(now, Fault::None) == fault)
    }
}

async fn listen(listener: std::net::TcpListener, shared: &Arc<Shared>) {
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut listener = TcpListener::from_std(listener).unwrap();
    let (mut fault, mut to) = (shared.fault.subscribe(), shared.to.subscribe());
    let Ok(place) = to.wait_for(Option::is_some).await.map(|place| place.unwrap()) else { return };
    loop {
        if *fault.borrow_and_update() == Fault::Refuses {
            drop(listener);
            fault.wait_for(|fault| *fault != Fault::Refuses).await.unwrap();
            listener = TcpListener::bind(address).await.unwrap();
        }
        tokio::select! {
            accepted = listener.accept() => {
                drop(tokio::spawn(carry(accepted.unwrap().0, place, shared.clone())));
            }
            changed = fault.changed() => changed.unwrap(),
            _ = to.changed() => return,
        }
    }
}

/// Carries both directions until one ends. What is broken then is broken hard, as by a machine that is gone.
async fn carry(client: TcpStream, place: SocketAddr, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(place).await else { return };
    for end in [&client, &server] {
        end.set_nodelay(true).unwrap();
        end.set_zero_linger().unwrap();
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut fault = shared.fault.subscribe();
    tokio::select! {
        () = ask(from_client, to_server, &shared) => {}
        () = answer(from_server, to_client, &shared) => {}
        _ = fault.wait_for(|fault| *fault == Fault::Refuses) => {}
    }
}

async fn ask(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    let mut fault = shared.fault.subscribe();
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let is_request = has_headers(&buffer[..count]);
        if is_request && shared.once(Fault::LosesRequest) {
            return;
        }
        let now = *fault.borrow_and_update();
        if let Fault::Slow(time) = now {
            // Until it is over, or the network is well again.
            let _ = tokio::time::timeout(time, fault.changed()).await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        shared.passed.fetch_add(usize::from(is_request), Ordering::Relaxed);
    }
}

async fn answer(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if has_headers(&buffer[..count]) && shared.once(Fault::LosesAnswer) {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Whether headers are among the frames that begin here. Small calls, one at a time, are read whole.
fn has_headers(bytes: &[u8]) -> bool {
    let mut rest = bytes.strip_prefix(PREFACE).unwrap_or(bytes);
    while let [a, b, c, kind, ..] = *rest {
        if kind == HEADERS {
            return true;
        }
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    false
}
