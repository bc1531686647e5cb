//! What may happen on a connection below its calls, and how often.
//!
//! The library of HTTP/2 answers every PING and every SETTINGS, waits for ever for the rest of a
//! frame, and keeps an answer for ever whose reader takes nothing. This looks at the frames of both
//! directions as they pass and says when it is enough; [`super::guarded`] acts on it.

use std::ops::ControlFlow;

use tokio::time::{Duration, Instant};

use super::{
    flow::{Flow, Stuck},
    frames::{Event, Frames, Head, frame, kind},
};

/// A setting: how large the windows of streams are at first.
const INITIAL_WINDOW: u16 = 4;
/// Flags of frames.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Codes of errors.
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Frames that cost us something and say nothing, in a row; those of honest clients are few.
const CONTROL: u32 = 500;
/// What a connection may send of them for each piece of an answer: room for more, and measuring.
const FOR_DATA: u32 = 4;
/// A piece of an answer that is worth that.
const PIECE: u32 = 32;
/// How long a connection that was told why it ends has for its last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What a connection may do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// How long a peer has to say what it speaks, and to finish what it has begun to say.
    pub(super) opening: Duration,
    /// How long an answer waits for its reader.
    pub(super) patience: Duration,
    /// Calls that may be taken back in a row.
    pub(super) cancels: u32,
    /// Calls that may run.
    pub(super) streams: usize,
}

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Wire {
    rules: Rules,
    inbound: Frames,
    outbound: Frames,
    /// Until when the peer has to begin; nothing once it has.
    opening: Option<Instant>,
    /// Since when something that it began is not finished.
    unfinished: Option<Instant>,
    in_headers: bool,
    control: Allowance,
    cancels: Allowance,
    flow: Flow,
    last_stream: u32,
    /// Since when the socket takes no more.
    stalled: Option<Instant>,
    ended: Option<(Why, Instant)>,
    /// Frames that the library is to believe the peer has sent.
    forged: Vec<u8>,
    /// Frames that the peer is to get from us.
    owed: Vec<u8>,
}

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Too many frames that say nothing.
    ControlFlood,
    /// Too many calls were taken back.
    CancelFlood,
    /// It did not say what it speaks, or did not finish what it began to say.
    Silent,
    /// It takes no answers.
    Unread,
}

/// So many in a row, and some more each second.
#[derive(Debug)]
struct Allowance {
    left: u32,
    most: u32,
    since: Instant,
}

// === impl Wire ===

impl Wire {
    /// A connection on which nothing was said yet.
    pub(super) fn new(rules: Rules, opening: Instant) -> Self {
        Self {
            rules,
            inbound: Frames::from_client(),
            outbound: Frames::from_server(),
            opening: Some(opening),
            unfinished: None,
            in_headers: false,
            control: Allowance::new(CONTROL),
            cancels: Allowance::new(rules.cancels),
            flow: Flow::new(rules.patience),
            last_stream: 0,
            stalled: None,
            ended: None,
            forged: Vec::new(),
            owed: Vec::new(),
        }
    }

    /// Whether HTTP/2 is spoken.
    pub(super) const fn is_http2(&self) -> bool {
        self.inbound.is_http2()
    }

    /// Why it was ended.
    pub(super) fn ended(&self) -> Option<Why> {
        self.ended.map(|(why, _)| why)
    }

    /// Whether the peer can be believed to have ended: it is not in the middle of a frame.
    pub(super) const fn is_between_inbound(&self) -> bool {
        self.inbound.is_between()
    }

    /// Whether a frame of ours may go out now.
    pub(super) const fn is_between_outbound(&self) -> bool {
        self.outbound.is_between()
    }

    /// Frames that the library is to read next, where it can.
    pub(super) fn forged(&mut self) -> Option<&mut Vec<u8>> {
        (!self.forged.is_empty() && self.inbound.is_between()).then_some(&mut self.forged)
    }

    /// Frames that the peer is to get.
    pub(super) const fn owed(&mut self) -> &mut Vec<u8> {
        &mut self.owed
    }

    /// A request is here.
    pub(super) const fn called(&mut self) {
        self.opening = None;
    }

    /// Bytes came in. Answers how many of them may be read; the rest is behind the end.
    pub(super) fn received(&mut self, bytes: &[u8]) -> usize {
        if !self.inbound.is_undecided() && !self.inbound.is_http2() {
            return bytes.len();
        }
        let mut inbound = std::mem::replace(&mut self.inbound, Frames::from_client());
        let read = inbound.read(bytes, |event| {
            self.inbound_event(event);
            if self.ended.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.inbound = inbound;
        if self.inbound.is_http2() && (self.in_headers || !self.inbound.is_between()) {
            self.unfinished.get_or_insert_with(Instant::now);
        }
        read
    }

    fn inbound_event(&mut self, event: Event) {
        match event {
            Event::Preface => {}
            Event::Begin(head) => self.judge(head),
            Event::Setting(INITIAL_WINDOW, size) => self.flow.initial(size),
            Event::Setting(..) => {}
            Event::Window(stream, size) => self.flow.update(stream, size),
            Event::End(head) => {
                match head.kind {
                    kind::HEADERS | kind::CONTINUATION => self.in_headers = !head.has(END_HEADERS),
                    kind::SETTINGS => self.opening = None,
                    _ => {}
                }
                if !self.in_headers {
                    self.unfinished = None;
                }
            }
        }
    }

    /// Whether a frame of the peer is one too many.
    fn judge(&mut self, head: Head) {
        match head.kind {
            kind::HEADERS => {
                if head.stream > self.last_stream {
                    self.last_stream = head.stream;
                    self.flow.open(head.stream);
                    // Those that are too many are refused, and so closed; unless the peer does not listen.
                    if self.flow.open_streams() > self.rules.streams.saturating_mul(2) {
                        self.end(Why::CancelFlood);
                    }
                }
            }
            kind::RST_STREAM => {
                self.flow.close(head.stream);
                if !self.cancels.take() {
                    self.end(Why::CancelFlood);
                }
            }
            kind::DATA if head.length > 0 || head.has(END_STREAM) => {}
            // The library counts these itself.
            kind::CONTINUATION => {}
            _ => {
                if !self.control.take() {
                    self.end(Why::ControlFlood);
                }
            }
        }
    }

    /// Bytes went out.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        self.stalled = None;
        if !self.inbound.is_http2() {
            return;
        }
        let mut outbound = std::mem::replace(&mut self.outbound, Frames::from_server());
        outbound.read(bytes, |event| {
            if let Event::Begin(head) = event {
                self.outbound_frame(head);
            }
            ControlFlow::Continue(())
        });
        self.outbound = outbound;
    }

    fn outbound_frame(&mut self, head: Head) {
        match head.kind {
            kind::HEADERS | kind::DATA => {
                let bytes = if head.kind == kind::DATA { head.length } else { 0 };
                self.flow.send(head.stream, bytes);
                if head.has(END_STREAM) {
                    // Nothing is given back for it: whether an answer or its cancelling is first is a race.
                    self.flow.close(head.stream);
                }
                if bytes >= PIECE || head.has(END_STREAM) {
                    self.control.give(FOR_DATA);
                }
            }
            kind::RST_STREAM => self.flow.close(head.stream),
            // Each is answered.
            kind::PING | kind::SETTINGS if !head.has(ACK) => self.control.give(1),
            _ => {}
        }
    }

    /// The socket takes no more.
    pub(super) fn stalled(&mut self) {
        self.stalled.get_or_insert_with(Instant::now);
    }

    /// When to look again, if nothing happens before.
    pub(super) fn due(&self) -> Option<Instant> {
        if let Some((_, at)) = self.ended {
            return Some(at + LAST_WORDS);
        }
        let unfinished = self.unfinished.map(|since| since + self.rules.opening);
        let stalled = self.stalled.map(|since| since + self.rules.patience);
        [self.opening, unfinished, stalled, self.flow.due()].into_iter().flatten().min()
    }

    /// Looks whether the peer has taken too long. Answers why, when not even last words help any more.
    pub(super) fn look(&mut self, now: Instant) -> Option<Why> {
        if let Some((why, at)) = self.ended {
            return (now >= at + LAST_WORDS).then_some(why);
        }
        let opening = self.rules.opening;
        let is_over = |since: Option<Instant>, limit| since.is_some_and(|since| now >= since + limit);
        if is_over(self.opening, Duration::ZERO) || is_over(self.unfinished, opening) {
            self.end(Why::Silent);
        } else if is_over(self.stalled, self.rules.patience) {
            return Some(Why::Unread);
        } else if self.flow.due().is_some_and(|due| now >= due) {
            match self.flow.stuck(now) {
                Some(Stuck::Connection) => self.end(Why::Unread),
                Some(Stuck::Streams(streams)) => streams.into_iter().for_each(|stream| self.cut(stream)),
                None => {}
            }
        }
        // Only a connection of frames has a way to be told.
        self.ended.filter(|_| !self.is_http2()).map(|(why, _)| why)
    }

    /// Ends a stream at both sides.
    fn cut(&mut self, stream: u32) {
        self.forged.extend(frame(kind::RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
        self.owed.extend(frame(kind::RST_STREAM, 0, stream, &ENHANCE_YOUR_CALM.to_be_bytes()));
    }

    /// Ends the connection, with a word why.
    fn end(&mut self, why: Why) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some((why, Instant::now()));
        let codes = [self.last_stream.to_be_bytes(), ENHANCE_YOUR_CALM.to_be_bytes()].concat();
        self.owed.extend(frame(kind::GOAWAY, 0, 0, &[codes.as_slice(), why.as_str().as_bytes()].concat()));
    }
}

// === impl Why ===

impl Why {
    /// As the log and the peer are told.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ControlFlood => "too many control frames",
            Self::CancelFlood => "too many calls were taken back",
            Self::Silent => "too slow",
            Self::Unread => "answers are not read",
        }
    }
}

// === impl Allowance ===

impl Allowance {
    fn new(most: u32) -> Self {
        Self { left: most, most, since: Instant::now() }
    }

    /// Takes one, if there is one.
    fn take(&mut self) -> bool {
        let now = Instant::now();
        let each_second = u128::from(self.most / 2).max(1);
        let more = now.saturating_duration_since(self.since).as_millis() * each_second / 1000;
        if more > 0 {
            self.give(u32::try_from(more).unwrap_or(u32::MAX));
            self.since = now;
        }
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }

    fn give(&mut self, more: u32) {
        self.left = self.left.saturating_add(more).min(self.most);
    }
}
