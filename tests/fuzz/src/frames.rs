//! The frames of gRPC, read whole.

/// One message: its flag and its bytes.
pub type Frame<'a> = (u8, &'a [u8]);

/// A message as a frame.
pub fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[flag], length.to_be_bytes().as_slice(), message].concat()
}

/// The messages that the bytes begin with, and what is left behind the last whole one.
pub fn read(mut bytes: &[u8]) -> (Vec<Frame<'_>>, &[u8]) {
    let mut frames = Vec::new();
    while let Some(([flag, length @ ..], rest)) = bytes.split_first_chunk::<5>()
        && let Some((message, rest)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)
    {
        frames.push((*flag, message));
        bytes = rest;
    }
    (frames, bytes)
}
