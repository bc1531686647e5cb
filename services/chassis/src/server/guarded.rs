//! A connection under guard: bytes pass as they are, and [`Wire`] looks on.
//!
//! What it decides is done here, where frames can be put between the library's own: a stream that
//! is cut is reset towards the peer and, as if the peer had done it, towards the library; a
//! connection that is ended gets a GOAWAY that says why, and the library sees its end.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::wire::Wire;
use crate::{gather::Gather, listener::Lingering};

/// What is known of a connection, for who speaks on it and who looks at the time. Nobody holds it
/// for longer than a few instructions.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Wire>>);

/// A connection under guard.
pub(super) struct Guarded {
    stream: Lingering,
    wire: Shared,
    /// How much of what we owe the peer is written.
    written: usize,
    gather: Gather,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(wire: Wire) -> Self {
        Self(Arc::new(Mutex::new(wire)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Guarded ===

impl Guarded {
    pub(super) fn new(stream: Lingering, wire: Shared) -> Self {
        Self { stream, wire, written: 0, gather: Gather::default() }
    }

    /// Writes what we owe the peer, if it is the time for it: between two frames.
    fn pay(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, wire, written, .. } = self;
        let mut wire = wire.lock();
        if *written == 0 && (wire.owed().is_empty() || !wire.is_between_outbound()) {
            return Poll::Ready(Ok(()));
        }
        while *written < wire.owed().len() {
            let step = ready!(Pin::new(&mut *stream).poll_write(context, &wire.owed()[*written..]))?;
            if step == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += step;
        }
        wire.owed().clear();
        *written = 0;
        Poll::Ready(Ok(()))
    }

    /// What was written is seen, too.
    fn note(&self, wrote: Poll<io::Result<usize>>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &wrote {
            Poll::Ready(Ok(step)) => {
                let (mut left, mut wire) = (*step, self.wire.lock());
                for slice in slices {
                    let part = left.min(slice.len());
                    wire.sent(&slice[..part]);
                    left -= part;
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.wire.lock().stalled(),
        }
        wrote
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = self.wire.lock();
        if let Some(forged) = wire.forged() {
            let step = forged.len().min(buffer.remaining());
            buffer.put_slice(&forged[..step]);
            forged.drain(..step);
            return Poll::Ready(Ok(()));
        }
        if let Some(why) = wire.ended() {
            if wire.is_between_inbound() {
                return Poll::Ready(Ok(()));
            }
            // In the middle of a frame the library does not end in peace; it is told here, or not at all.
            drop(wire);
            _ = self.pay(context)?;
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why.as_str())));
        }
        drop(wire);
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let kept = self.wire.lock().received(&buffer.filled()[before..]);
        buffer.set_filled(before + kept);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.as_mut().poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.written > 0 {
            // A frame of ours is half out.
            ready!(self.pay(context))?;
        }
        // HTTP/1.1 has one answer at a time: nobody else has anything to say.
        if self.wire.lock().is_http2() && self.gather.holds(context, slices) {
            return Poll::Pending;
        }
        let wrote = match slices {
            [one] => Pin::new(&mut self.stream).poll_write(context, one),
            _ => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        };
        self.note(wrote, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The library has written all that it had: nothing of a stream that is cut comes behind this.
        self.gather.flushed();
        ready!(self.pay(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.pay(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
