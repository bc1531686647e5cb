//! Frames of several calls leave in one write.
//!
//! The library of HTTP/2 writes as soon as it is woken, and it is woken by the first call that has something to say:
//! calls that are ready at the same moment would cost a system call each. So a small write lets everybody who is
//! ready go first, twice. What they say then goes out together; nobody waits for time to pass.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::yield_now,
};

use crate::upstream::Heard;

/// What is this large goes out by itself.
const ENOUGH: usize = 8 * 1024;

/// For how many turns of everybody who is ready: those who are woken in the first have theirs in the second.
const TURNS: u8 = 2;

/// How often what is to be written was held back for others.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    held: u8,
}

/// A connection that is written to like that.
pub(crate) struct Gathered<S> {
    stream: S,
    gather: Gather,
    heard: Heard,
}

// === impl Gather ===

impl Gather {
    /// Whether a write of these pieces is to be tried again when everybody had a turn who is ready now. Its task is
    /// woken for that.
    pub(crate) fn holds(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> bool {
        if self.held >= TURNS || slices.iter().map(|slice| slice.len()).sum::<usize>() >= ENOUGH {
            return false;
        }
        self.held += 1;
        // Dropped at once: what matters is that it has the task woken behind those that are ready.
        pin!(yield_now()).poll(context).is_pending()
    }

    /// All of it is written.
    pub(crate) const fn flushed(&mut self) {
        self.held = 0;
    }
}

// === impl Gathered ===

impl<S> Gathered<S> {
    /// Notes what comes in, too.
    pub(crate) fn new(stream: S, heard: Heard) -> Self {
        Self { stream, gather: Gather::default(), heard }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.heard.note();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.gather.holds(context, slices) {
            return Poll::Pending;
        }
        match slices {
            [one] => Pin::new(&mut self.stream).poll_write(context, one),
            _ => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.gather.flushed();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
