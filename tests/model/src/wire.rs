//! An answer as it is written to a socket: whole, or in chunks.

use std::{
    io::{self, Write},
    net::TcpStream,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// When answers began to be written, in order.
pub(crate) type Begun = Arc<Mutex<Vec<Instant>>>;

/// A connection that answers are written to.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Whether it takes no further request.
    pub(crate) is_over: bool,
    begun: Begun,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, begun: Begun) -> Self {
        Self { stream, is_over: false, begun }
    }

    /// An answer that is there at once.
    pub(crate) fn whole(
        &mut self,
        status: u16,
        headers: &[(&str, String)],
        content_type: &str,
        body: &impl ToString,
    ) -> io::Result<()> {
        let body = body.to_string();
        let mut head = head(status, content_type);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        self.stream.write_all(head.as_bytes())?;
        self.stream.write_all(body.as_bytes())
    }

    /// Begins an answer that comes in pieces.
    pub(crate) fn begin(&mut self, content_type: &str) -> io::Result<()> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        let head = head(200, content_type) + "cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
        self.stream.write_all(head.as_bytes())
    }

    /// A piece of it.
    pub(crate) fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        // One write: a piece is one packet, and what the peer sees first is whole.
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.stream.write_all(&chunk)
    }

    /// The end of it.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.stream.write_all(b"0\r\n\r\n")
    }

    /// Hangs up in the middle.
    pub(crate) fn cut(&mut self) {
        self.is_over = true;
        _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    /// Waits until the client hangs up, or for this long. Whether the client is still there.
    pub(crate) fn linger(&mut self, time: Option<std::time::Duration>) -> bool {
        _ = self.stream.set_read_timeout(time);
        let is_there = match self.stream.peek(&mut [0]) {
            Ok(0) => false,
            Ok(_) => true,
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        };
        _ = self.stream.set_read_timeout(None);
        is_there
    }
}

fn head(status: u16, content_type: &str) -> String {
    let reason = match status {
        200 => "OK",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        429 => "Too Many Requests",
        _ => "Error",
    };
    format!("HTTP/1.1 {status} {reason}\r\ncontent-type: {content_type}\r\n")
}
