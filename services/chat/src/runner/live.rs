//! What a model is writing, for who follows its turn in this process.
//!
//! It is kept in memory, once, and only until the answer is stored: a follower takes what it has not sent yet, however
//! far behind it is, and is told when the text began anew. Nothing is queued.

use tokio::sync::watch;
use uuid::Uuid;

use crate::store::Text;

/// The longest text that is kept, in bytes; an answer is cut at fewer characters.
const LONGEST: usize = 128 * 1024;

/// A text that is being written.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// The step that the answer will have.
    step: usize,
    /// Which text it is, of all that are begun anywhere.
    id: Uuid,
    text: String,
}

/// How far a follower has heard a text.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    id: Uuid,
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
pub(super) fn begin(live: &watch::Sender<Live>, step: usize, id: Uuid) {
    live.send_modify(|live| *live = Live { step, id, text: String::new() });
}

/// Begins the text anew.
pub(super) fn begin_anew(live: &watch::Sender<Live>, id: Uuid) {
    live.send_modify(|live| *live = Live { step: live.step, id, text: String::new() });
}

/// Writes on. U+0000 is no part of words, and not every engine keeps it.
pub(super) fn write(live: &watch::Sender<Live>, piece: &str) {
    live.send_modify(|live| {
        if live.text.len() + piece.len() <= LONGEST {
            live.text.extend(piece.chars().filter(|c| *c != '\0'));
        }
    });
}

impl Live {
    /// How long the text is so far, in bytes.
    pub(super) fn length(&self) -> usize {
        self.text.len()
    }

    /// The text, if there is more of it than this much of that one.
    pub(super) fn beyond(&self, (id, length): (Uuid, usize)) -> Option<Text> {
        let length = if id == self.id { length } else { 0 };
        let text = || Text { step: self.step, id: self.id, content: self.text.clone() };
        (self.text.len() > length).then(text)
    }
}

impl Heard {
    /// Whether nothing was heard yet.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What was not heard yet of a text, if there is something.
    pub(crate) fn take(&mut self, id: Uuid, text: &str) -> Option<Words> {
        let known = if self.id == id { *self } else { Self { id, ..Self::default() } };
        let text = text.get(known.bytes..).filter(|text| !text.is_empty())?.to_owned();
        let (bytes, characters) = (known.bytes + text.len(), known.characters + text.chars().count());
        *self = Self { id, bytes, characters };
        Some(Words { text, offset: known.characters })
    }

    /// The next words of the answer of this step, as soon as there are some.
    pub(crate) async fn next(&mut self, mut live: watch::Receiver<Live>, step: usize) -> Words {
        let known = *self;
        let is_new = |live: &Live| {
            let from = if live.id == known.id { known.bytes } else { 0 };
            live.step == step && live.text.len() > from
        };
        let words = match live.wait_for(is_new).await {
            Ok(live) => self.take(live.id, &live.text),
            Err(_) => None,
        };
        match words {
            Some(words) => words,
            None => std::future::pending().await,
        }
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
        let id = Uuid::from_u128;
        begin(&live, 1, id(1));
        assert_eq!(hear(&mut early, 1), None);
        write(&live, "Hä");
        assert_eq!(hear(&mut early, 1), words("Hä", 0));
        assert_eq!(hear(&mut early, 1), None);
        write(&live, "?");
        write(&live, " Yes");
        assert_eq!(hear(&mut early, 1), words("? Yes", 2));
        assert_eq!(hear(&mut late, 1), words("Hä? Yes", 0));
        assert_eq!(hear(&mut late, 2), None, "who is further on does not hear what was written before");
        begin_anew(&live, id(2));
        write(&live, "N\0o");
        assert_eq!(hear(&mut early, 1), words("No", 0), "it began anew");
        begin(&live, 3, id(3));
        write(&live, "Next");
        assert_eq!((hear(&mut early, 1), hear(&mut early, 3)), (None, words("Next", 0)));
    }

    #[test]
    fn what_was_heard_elsewhere_is_gone_on_with_here() {
        let live = watch::Sender::new(Live::default());
        let mut heard = Heard::default();
        begin(&live, 1, Uuid::from_u128(1));
        write(&live, "Hä");
        let kept = live.borrow().beyond((Uuid::nil(), 0)).unwrap();
        assert_eq!(live.borrow().beyond((kept.id, kept.content.len())), None, "there is nothing new");
        assert_eq!(heard.take(kept.id, &kept.content), words("Hä", 0));
        write(&live, "?");
        assert_eq!(heard.next(live.subscribe(), 1).now_or_never(), words("?", 2));
        assert_eq!(heard.take(kept.id, &kept.content), None, "it lags behind");
        assert_eq!(heard.take(Uuid::from_u128(2), "No"), words("No", 0));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let live = watch::Sender::new(Live::default());
        begin(&live, 0, Uuid::nil());
        (0..10_000).for_each(|_| write(&live, &"x".repeat(100)));
        assert!(live.borrow().text.len() <= LONGEST);
    }
}
