//! Where the frames of an HTTP/2 connection begin and end.
//!
//! A reader beside the connection: bytes go by as they come, in pieces of any size, and nothing of
//! them is kept but the nine bytes of a head and the few words of a payload that say how much a
//! peer is willing to receive. What frames mean is said in [`super::wire`].

use std::ops::ControlFlow;

/// What a client says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The length of a head.
const HEAD: usize = 9;

/// The kinds of frames (RFC 9113, section 6).
pub(super) mod kind {
    pub(in crate::server) const DATA: u8 = 0;
    pub(in crate::server) const HEADERS: u8 = 1;
    pub(in crate::server) const RST_STREAM: u8 = 3;
    pub(in crate::server) const SETTINGS: u8 = 4;
    pub(in crate::server) const PING: u8 = 6;
    pub(in crate::server) const GOAWAY: u8 = 7;
    pub(in crate::server) const WINDOW_UPDATE: u8 = 8;
    pub(in crate::server) const CONTINUATION: u8 = 9;
}

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

/// What is met on the way through the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// It is HTTP/2.
    Preface,
    /// A frame begins.
    Begin(Head),
    /// A setting and its value.
    Setting(u16, u32),
    /// How much more may be sent, on a stream or, with 0, on the connection.
    Window(u32, u32),
    /// A frame is over.
    End(Head),
}

/// Follows the frames of one direction.
#[derive(Debug)]
pub(super) struct Frames(State);

#[derive(Debug)]
enum State {
    Preface { seen: usize },
    Head { bytes: [u8; HEAD], filled: usize },
    Payload { head: Head, left: usize, word: [u8; 6], filled: usize },
    Foreign,
}

// === impl Head ===

impl Head {
    fn parse(bytes: [u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        Self { length: u32::from_be_bytes([0, a, b, c]), kind, flags, stream }
    }

    /// Whether a flag is set.
    pub(super) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// How long the words are that are read of its payload; 0 where none are.
    const fn word(self) -> usize {
        match self.kind {
            kind::SETTINGS => 6,
            kind::WINDOW_UPDATE => 4,
            _ => 0,
        }
    }
}

// === impl Frames ===

impl Frames {
    /// What comes from a client, which may speak something else.
    pub(super) const fn from_client() -> Self {
        Self(State::Preface { seen: 0 })
    }

    /// What comes from a server.
    pub(super) const fn from_server() -> Self {
        Self(State::start())
    }

    /// Whether it is not known yet what is spoken.
    pub(super) const fn is_undecided(&self) -> bool {
        matches!(self.0, State::Preface { .. })
    }

    /// Whether frames are spoken.
    pub(super) const fn is_http2(&self) -> bool {
        matches!(self.0, State::Head { .. } | State::Payload { .. })
    }

    /// Whether one frame is over and the next has not begun.
    pub(super) const fn is_between(&self) -> bool {
        matches!(self.0, State::Head { filled: 0, .. })
    }

    /// Goes through the next bytes; ends early, after a frame, when told to. Answers how far it came.
    pub(super) fn read(&mut self, bytes: &[u8], mut visit: impl FnMut(Event) -> ControlFlow<()>) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let flow = match &mut self.0 {
                State::Foreign => return bytes.len(),
                State::Preface { seen } => {
                    let wanted = &PREFACE[*seen..];
                    let step = wanted.len().min(rest.len());
                    if rest[..step] != wanted[..step] {
                        self.0 = State::Foreign;
                        return bytes.len();
                    }
                    rest = &rest[step..];
                    *seen += step;
                    if *seen < PREFACE.len() {
                        break;
                    }
                    self.0 = State::start();
                    visit(Event::Preface)
                }
                State::Head { bytes, filled } => {
                    let step = (HEAD - *filled).min(rest.len());
                    bytes[*filled..*filled + step].copy_from_slice(&rest[..step]);
                    rest = &rest[step..];
                    *filled += step;
                    if *filled < HEAD {
                        break;
                    }
                    let head = Head::parse(*bytes);
                    self.0 = State::Payload { head, left: head.length as usize, word: [0; 6], filled: 0 };
                    let began = visit(Event::Begin(head));
                    if head.length == 0 { self.end(head, &mut visit) } else { began }
                }
                State::Payload { head, left, word, filled } => {
                    let head = *head;
                    let step = if head.word() == 0 { *left } else { (head.word() - *filled).min(*left) };
                    let step = step.min(rest.len());
                    if head.word() > 0 {
                        word[*filled..*filled + step].copy_from_slice(&rest[..step]);
                        *filled += step;
                        if *filled == head.word() {
                            *filled = 0;
                            _ = visit(meaning(head, *word));
                        }
                    }
                    rest = &rest[step..];
                    *left -= step;
                    if *left > 0 {
                        continue;
                    }
                    self.end(head, &mut visit)
                }
            };
            if flow.is_break() && self.is_between() {
                break;
            }
        }
        bytes.len() - rest.len()
    }

    fn end(&mut self, head: Head, visit: &mut impl FnMut(Event) -> ControlFlow<()>) -> ControlFlow<()> {
        self.0 = State::start();
        visit(Event::End(head))
    }
}

impl State {
    const fn start() -> Self {
        Self::Head { bytes: [0; HEAD], filled: 0 }
    }
}

/// A word of a payload.
fn meaning(head: Head, word: [u8; 6]) -> Event {
    let [a, b, c, d, e, f] = word;
    if head.kind == kind::SETTINGS {
        Event::Setting(u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f]))
    } else {
        Event::Window(head.stream, u32::from_be_bytes([a, b, c, d]) & (u32::MAX >> 1))
    }
}

/// A frame, whole.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(pieces: &[&[u8]]) -> (Vec<Event>, Frames) {
        let (mut frames, mut events) = (Frames::from_client(), Vec::new());
        for piece in pieces {
            let read = frames.read(piece, |event| {
                events.push(event);
                ControlFlow::Continue(())
            });
            assert_eq!(read, piece.len());
        }
        (events, frames)
    }

    #[test]
    fn frames_are_told_with_what_they_say_of_windows() {
        let bytes = [
            PREFACE.to_vec(),
            frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 9, 0, 3, 0, 0, 1, 0]),
            frame(kind::WINDOW_UPDATE, 0, 7, &[0x80, 0, 1, 0]),
            frame(kind::PING, 1, 0, &[0; 8]),
            frame(kind::SETTINGS, 1, 0, &[]),
        ];
        let head = |length, kind, flags, stream| Head { length, kind, flags, stream };
        let (settings, update) = (head(12, kind::SETTINGS, 0, 0), head(4, kind::WINDOW_UPDATE, 0, 7));
        let (ping, ack) = (head(8, kind::PING, 1, 0), head(0, kind::SETTINGS, 1, 0));
        let (events, frames) = events(&[&bytes.concat()]);
        assert_eq!(
            events,
            [
                Event::Preface,
                Event::Begin(settings),
                Event::Setting(4, 9),
                Event::Setting(3, 256),
                Event::End(settings),
                Event::Begin(update),
                Event::Window(7, 256),
                Event::End(update),
                Event::Begin(ping),
                Event::End(ping),
                Event::Begin(ack),
                Event::End(ack),
            ]
        );
        assert!(frames.is_between());
    }

    #[test]
    fn what_is_no_http_2_is_left_alone() {
        let (found, frames) = events(&[b"PRI * HT", b"TP/1.1\r\n", &[0; 100]]);
        assert!(found.is_empty() && !frames.is_http2() && !frames.is_undecided());
        let (found, frames) = events(&[b"PRI * HT"]);
        assert!(found.is_empty() && frames.is_undecided());
    }

    #[test]
    fn who_is_told_to_end_ends_behind_a_frame() {
        let ping = frame(kind::PING, 0, 0, &[0; 8]);
        let bytes = [ping.clone(), ping.clone(), ping.clone()].concat();
        let (mut frames, mut seen) = (Frames::from_server(), 0);
        let mut second = |event: Event| {
            seen += usize::from(matches!(event, Event::Begin(_)));
            if seen < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        assert_eq!(frames.read(&bytes[..20], &mut second), 20, "the second is not over");
        assert_eq!(frames.read(&bytes[20..], &mut second), ping.len() * 2 - 20);
        assert!(frames.is_between());
    }

    proptest! {
        #[test]
        fn the_same_is_seen_however_it_is_cut(
            sent in prop::collection::vec((0u8..12, any::<u8>(), 0u32..9, 0usize..40), 0..12),
            cuts in prop::collection::vec(0usize..600, 0..12),
        ) {
            let mut bytes = PREFACE.to_vec();
            for (kind, flags, stream, length) in sent {
                bytes.extend(frame(kind, flags, stream, &vec![3; length]));
            }
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let (cut, frames) = events(&pieces);
            prop_assert!(frames.is_between());
            prop_assert_eq!(cut, events(&[&bytes]).0);
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            events(&[PREFACE, &bytes]);
            events(&[&bytes]);
        }
    }
}
