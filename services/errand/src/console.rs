//! stdout is data, stderr is for people: the only place that writes to either by hand.

use std::{
    fmt,
    io::{self, Write},
};

/// Writes data to stdout, whole and at once. A reader that has gone away is no failure.
pub(crate) fn say(text: impl fmt::Display) {
    let mut out = io::stdout().lock();
    _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes data that is no text to stdout.
pub(crate) fn emit(data: &[u8]) {
    let mut out = io::stdout().lock();
    _ = out.write_all(data).and_then(|()| out.flush());
}

/// Tells the person at stderr why the command failed.
pub(crate) fn complain(message: &str) {
    _ = writeln!(io::stderr().lock(), "errand: {message}");
}
