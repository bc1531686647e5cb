//! What a peer of HTTP/2 is willing to receive, as both sides' frames tell it.
//!
//! A response waits in memory until its reader makes room for it. The library waits for ever; here
//! is seen who has made none for too long: a window that is used up and stays so.

use std::collections::HashMap;

use tokio::time::{Duration, Instant};

/// What a window has before anybody says something else.
const INITIAL: i64 = 65_535;
/// A window of this size is room enough; what opens it by less keeps waiting.
const ROOM: i64 = 1024;
/// Who takes this much in the time that a reader has is slow, and is let.
const PROGRESS: u64 = 16 * 1024;

/// The windows of a connection and of its open streams.
#[derive(Debug)]
pub(super) struct Flow {
    initial: i64,
    connection: Window,
    streams: HashMap<u32, Window>,
    patience: Duration,
    /// Before this nobody has waited too long.
    due: Option<Instant>,
}

/// Whom to give up on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stuck {
    /// These streams.
    Streams(Vec<u32>),
    /// The connection.
    Connection,
}

#[derive(Debug)]
struct Window {
    left: i64,
    sent: u64,
    /// Whether there is an answer to send.
    begun: bool,
    /// Since when it is used up, and what had been sent then.
    used_up: Option<(Instant, u64)>,
}

// === impl Flow ===

impl Flow {
    pub(super) fn new(patience: Duration) -> Self {
        let connection = Window { begun: true, ..Window::new(INITIAL) };
        Self { initial: INITIAL, connection, streams: HashMap::new(), patience, due: None }
    }

    /// The peer says how large the windows of streams are at first, those of open ones included.
    pub(super) fn initial(&mut self, size: u32) {
        let change = i64::from(size) - self.initial;
        self.initial = i64::from(size);
        for window in self.streams.values_mut() {
            window.add(change);
        }
    }

    /// The peer makes room.
    pub(super) fn update(&mut self, stream: u32, size: u32) {
        let window = if stream == 0 { Some(&mut self.connection) } else { self.streams.get_mut(&stream) };
        if let Some(window) = window {
            window.add(i64::from(size));
        }
    }

    /// A stream begins.
    pub(super) fn open(&mut self, stream: u32) {
        self.streams.insert(stream, Window::new(self.initial));
    }

    /// A stream is over.
    pub(super) fn close(&mut self, stream: u32) {
        self.streams.remove(&stream);
    }

    /// How many streams are open.
    pub(super) fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// An answer begins, or goes on with this many bytes.
    pub(super) fn send(&mut self, stream: u32, bytes: u32) {
        let Some(window) = self.streams.get_mut(&stream) else { return };
        window.take(bytes);
        self.connection.take(bytes);
        if (window.is_full() || self.connection.is_full()) && self.due.is_none() {
            let now = Instant::now();
            self.due = Some(now + self.patience);
        }
        for window in [window, &mut self.connection] {
            if window.is_full() && window.used_up.is_none() {
                window.used_up = Some((Instant::now(), window.sent));
            }
        }
    }

    /// When to look for who waits too long.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Who has made no room for too long; streams that are named are forgotten.
    pub(super) fn stuck(&mut self, now: Instant) -> Option<Stuck> {
        let patience = self.patience;
        if !self.streams.is_empty() && self.connection.waits_since(now, patience) {
            return Some(Stuck::Connection);
        }
        let stuck: Vec<u32> = self
            .streams
            .iter_mut()
            .filter_map(|(stream, window)| window.waits_since(now, patience).then_some(*stream))
            .collect();
        for stream in &stuck {
            self.streams.remove(stream);
        }
        let waiting = self.streams.values().chain([&self.connection]).filter_map(|window| window.used_up);
        self.due = waiting.map(|(since, _)| since + patience).min().filter(|_| !self.streams.is_empty());
        (!stuck.is_empty()).then_some(Stuck::Streams(stuck))
    }
}

// === impl Window ===

impl Window {
    const fn new(left: i64) -> Self {
        Self { left, sent: 0, begun: false, used_up: None }
    }

    const fn is_full(&self) -> bool {
        self.begun && self.left <= 0
    }

    fn add(&mut self, bytes: i64) {
        self.left = self.left.saturating_add(bytes);
        if self.left >= ROOM {
            self.used_up = None;
        }
    }

    fn take(&mut self, bytes: u32) {
        self.begun = true;
        self.left = self.left.saturating_sub(i64::from(bytes));
        self.sent = self.sent.saturating_add(u64::from(bytes));
    }

    /// Whether it is used up for so long without having got on.
    fn waits_since(&mut self, now: Instant, patience: Duration) -> bool {
        match &mut self.used_up {
            Some((since, sent)) if now.saturating_duration_since(*since) >= patience => {
                let progress = self.sent - *sent;
                (*since, *sent) = (now, self.sent);
                progress < PROGRESS
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn after(flow: &mut Flow, seconds: u64) -> Option<Stuck> {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        flow.stuck(Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn r_092_a_stream_whose_reader_makes_no_room_is_given_up_and_no_other() {
        let mut flow = Flow::new(PATIENCE);
        for stream in [1, 3] {
            flow.open(stream);
            flow.send(stream, 0);
        }
        assert_eq!(flow.due(), None, "nothing waits");
        flow.update(0, 1 << 20);
        flow.send(1, 65_535);
        assert!(flow.due().is_some());
        assert_eq!(after(&mut flow, 19).await, None);
        assert_eq!(after(&mut flow, 1).await, Some(Stuck::Streams(vec![1])));
        assert_eq!((flow.open_streams(), flow.due()), (1, None));
    }

    #[tokio::test(start_paused = true)]
    async fn r_092_a_window_of_nothing_is_used_up_from_the_first_answer_on() {
        let mut flow = Flow::new(PATIENCE);
        flow.initial(0);
        flow.open(1);
        assert_eq!(after(&mut flow, 60).await, None, "there is no answer yet");
        flow.send(1, 0);
        assert_eq!(after(&mut flow, 20).await, Some(Stuck::Streams(vec![1])));
    }

    #[tokio::test(start_paused = true)]
    async fn r_092_a_byte_now_and_then_is_no_room() {
        let mut flow = Flow::new(PATIENCE);
        flow.initial(1);
        flow.open(1);
        flow.send(1, 1);
        for _ in 0..19 {
            assert_eq!(after(&mut flow, 1).await, None);
            flow.update(1, 1);
            flow.send(1, 1);
        }
        assert_eq!(after(&mut flow, 1).await, Some(Stuck::Streams(vec![1])));
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_is_let() {
        let mut flow = Flow::new(PATIENCE);
        flow.update(0, 1 << 24);
        flow.initial(1000);
        flow.open(1);
        flow.send(1, 1000);
        for _ in 0..200 {
            flow.update(1, 1000);
            assert_eq!(after(&mut flow, 1).await, None);
            flow.send(1, 1000);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn r_092_a_connection_without_room_is_given_up_while_it_has_streams() {
        let mut flow = Flow::new(PATIENCE);
        flow.initial(1 << 20);
        flow.open(1);
        flow.send(1, 65_535);
        flow.close(1);
        assert_eq!(after(&mut flow, 60).await, None, "nobody waits any more");
        flow.update(0, 65_535);
        flow.open(3);
        flow.send(3, 65_535);
        assert_eq!(after(&mut flow, 20).await, Some(Stuck::Connection));
    }
}
