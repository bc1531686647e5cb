//! A place in a log that a client keeps: opaque text for the client, checked against the log when
//! it comes back.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::Seq;

/// A place after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Which log it belongs to; a restored or copied database has another one.
    pub epoch: Uuid,
    /// The last change before it.
    pub seq: Seq,
    /// How far the log was compacted when a reader who began at the oldest change got it. Such a
    /// reader may go on below that mark, as long as the mark stays; for all others it is 0.
    pub floor: Seq,
}

/// What of a log decides whether a cursor still fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Which log it is.
    pub epoch: Uuid,
    /// Its last change; 0 when there is none.
    pub head: Seq,
    /// Changes up to this one may be missing.
    pub compacted: Seq,
}

/// The text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct Malformed;

/// The length of the text: 16 bytes and two numbers of 8 in hexadecimal.
const LENGTH: usize = 64;

// === impl Extent ===

impl Extent {
    /// The cursor after the change `seq`, as a reader who began at the oldest change gets it.
    #[must_use]
    pub fn after(&self, seq: Seq) -> Cursor {
        let floor = if seq < self.compacted { self.compacted } else { 0 };
        Cursor { epoch: self.epoch, seq, floor }
    }

    /// The cursor at the end.
    #[must_use]
    pub fn end(&self) -> Cursor {
        Cursor { epoch: self.epoch, seq: self.head, floor: 0 }
    }

    /// Whether everything after a cursor is still there, and the cursor was once given out.
    #[must_use]
    pub fn fits(&self, cursor: &Cursor) -> bool {
        cursor.epoch == self.epoch
            && (0..=self.head).contains(&cursor.seq)
            && (cursor.seq >= self.compacted || cursor.floor == self.compacted)
    }
}

// === impl Cursor ===

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:016x}{:016x}", self.epoch.simple(), self.seq, self.floor)
    }
}

impl FromStr for Cursor {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        // One spelling only, and no sign that a number's own parser would take.
        if text.len() != LENGTH || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(Malformed);
        }
        let number = |range| Seq::from_str_radix(&text[range], 16).map_err(|_| Malformed);
        let epoch = Uuid::try_parse(&text[..32]).map_err(|_| Malformed)?;
        Ok(Self { epoch, seq: number(32..48)?, floor: number(48..64)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Extent = Extent { epoch: Uuid::from_u128(7), head: 20, compacted: 5 };

    #[test]
    fn a_cursor_is_read_back_from_its_text() {
        for cursor in [LOG.after(3), LOG.after(9), LOG.end(), Cursor { epoch: Uuid::max(), seq: Seq::MAX, floor: 1 }] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused_without_a_panic() {
        let good = Cursor { epoch: Uuid::max(), ..LOG.end() }.to_string();
        for bad in
            ["", "x", &good[1..], &good.to_uppercase(), &good.replace('0', "+"), &"é".repeat(32), &"f".repeat(64)]
        {
            assert_eq!(bad.parse::<Cursor>(), Err(Malformed), "{bad}");
        }
    }

    #[test]
    fn a_cursor_of_another_log_past_the_head_or_below_the_mark_does_not_fit() {
        for seq in [5, 19, 20] {
            assert!(LOG.fits(&Cursor { epoch: LOG.epoch, seq, floor: 0 }));
            assert!(!LOG.fits(&Cursor { epoch: Uuid::nil(), seq, floor: 0 }));
        }
        for seq in [0, 4, 21, Seq::MAX] {
            assert!(!LOG.fits(&Cursor { epoch: LOG.epoch, seq, floor: 0 }), "{seq}");
        }
    }

    #[test]
    fn a_reader_from_the_oldest_change_goes_on_until_the_mark_moves() {
        let cursor = LOG.after(2);
        assert!(LOG.fits(&cursor));
        assert!(!Extent { compacted: 6, ..LOG }.fits(&cursor));
    }
}
