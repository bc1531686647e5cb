//! What a model is writing, for who follows its turn in this process.
//!
//! It is kept in memory, once, and only until the answer is stored: a follower takes what it has not sent yet, however
//! far behind it is, and is told when the text began anew. Nothing is queued.

use tokio::sync::watch;

/// The longest text that is kept, in bytes; an answer is cut at fewer characters.
const LONGEST: usize = 128 * 1024;

/// A text that is being written.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// The step that the answer will have.
    step: usize,
    /// How many texts were begun.
    round: u64,
    text: String,
}

/// How far a follower has heard a text.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Heard {
    round: u64,
    bytes: usize,
    characters: usize,
}

/// A part of a text, and how many characters come before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) text: String,
    pub(crate) offset: usize,
}

/// Begins a text, whose answer will have this step.
pub(super) fn begin(live: &watch::Sender<Live>, step: usize) {
    live.send_modify(|live| {
        live.step = step;
        live.round += 1;
        live.text.clear();
    });
}

/// Writes on; an empty piece begins anew.
pub(super) fn write(live: &watch::Sender<Live>, piece: &str) {
    live.send_modify(|live| {
        if piece.is_empty() {
            live.round += 1;
            live.text.clear();
        } else if live.text.len() + piece.len() <= LONGEST {
            live.text.push_str(piece);
        }
    });
}

impl Live {
    /// How long the text is so far, in bytes.
    pub(super) fn length(&self) -> usize {
        self.text.len()
    }
}

impl Heard {
    /// The next words of the answer of this step, as soon as there are some.
    pub(crate) async fn next(&mut self, mut live: watch::Receiver<Live>, step: usize) -> Words {
        let known = *self;
        let is_new = |live: &Live| {
            let from = if live.round == known.round { known.bytes } else { 0 };
            live.step == step && live.text.len() > from
        };
        let Ok(live) = live.wait_for(is_new).await else { return std::future::pending().await };
        if live.round != self.round {
            *self = Self { round: live.round, ..Self::default() };
        }
        let text = live.text.get(self.bytes..).unwrap_or_default().to_owned();
        let offset = self.characters;
        self.bytes = live.text.len();
        self.characters += text.chars().count();
        Words { text, offset }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn words(text: &str, offset: usize) -> Option<Words> {
        Some(Words { text: text.to_owned(), offset })
    }

    #[test]
    fn a_follower_hears_what_it_has_not_heard_however_late_it_comes() {
        let live = watch::Sender::new(Live::default());
        let (mut early, mut late) = (Heard::default(), Heard::default());
        let hear = |heard: &mut Heard, step| heard.next(live.subscribe(), step).now_or_never();
        begin(&live, 1);
        assert_eq!(hear(&mut early, 1), None);
        write(&live, "Hä");
        assert_eq!(hear(&mut early, 1), words("Hä", 0));
        assert_eq!(hear(&mut early, 1), None);
        write(&live, "?");
        write(&live, " Yes");
        assert_eq!(hear(&mut early, 1), words("? Yes", 2));
        assert_eq!(hear(&mut late, 1), words("Hä? Yes", 0));
        assert_eq!(hear(&mut late, 2), None, "who is further on does not hear what was written before");
        write(&live, "");
        write(&live, "No");
        assert_eq!(hear(&mut early, 1), words("No", 0), "it began anew");
        begin(&live, 3);
        write(&live, "Next");
        assert_eq!((hear(&mut early, 1), hear(&mut early, 3)), (None, words("Next", 0)));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let live = watch::Sender::new(Live::default());
        begin(&live, 0);
        (0..10_000).for_each(|_| write(&live, &"x".repeat(100)));
        assert!(live.borrow().text.len() <= LONGEST);
    }
}
