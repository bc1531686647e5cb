//! What the fuzz targets stand on: bytes cut into pieces, memory that is counted, the edge with a scripted service
//! behind it, and readers of our own that a target compares the real ones with.
//!
//! A target asserts what must hold for all bytes; that nothing panics is the least of it.

pub mod base64;
pub mod edge;
pub mod frames;
pub mod memory;
pub mod sse;
pub mod tokens;

/// Takes the first byte away; 0 where there is none.
pub fn first(data: &mut &[u8]) -> u8 {
    let Some((first, rest)) = data.split_first() else { return 0 };
    *data = rest;
    *first
}

/// The data in pieces of `size` bytes, as a network might deliver it; in one where the size is 0.
pub fn pieces(data: &[u8], size: u8) -> Vec<&[u8]> {
    if size == 0 { vec![data] } else { data.chunks(size.into()).collect() }
}
