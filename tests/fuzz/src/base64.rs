//! Base64 as RFC 4648 has it, read the long way.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Decodes groups of four, each of which may end with padding; nothing where the text is not that.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    for group in text.chunks(4) {
        let group: [u8; 4] = group.try_into().ok()?;
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        let mut bits = 0u32;
        for byte in &group[..4usize.checked_sub(padding)?] {
            bits = bits << 6 | u32::try_from(ALPHABET.iter().position(|letter| letter == byte)?).ok()?;
        }
        let bytes = (bits << (6 * padding)).to_be_bytes();
        match padding {
            0 => decoded.extend_from_slice(&bytes[1..]),
            // Bits that would be lost say something that is not said.
            1 if bits & 0b11 == 0 => decoded.extend_from_slice(&bytes[1..3]),
            2 if bits & 0b1111 == 0 => decoded.extend_from_slice(&bytes[1..2]),
            _ => return None,
        }
    }
    Some(decoded)
}
