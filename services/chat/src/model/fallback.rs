//! A model with another in reserve: the second answers when the first does not.
//!
//! Only at the beginning of a turn. What one model has begun the other does not go on with, because it would read the
//! calls of the first as if they were its own, and might make them twice.

use async_trait::async_trait;

use super::{Answer, Entry, Failure, Model, Saying, Step, Transcript};
use crate::domain::usage;

/// What the ids of the second's calls begin with, by which a turn is known to be its own.
pub(crate) const MARK: &str = "reserve-";

/// Two models.
#[derive(Debug, Clone)]
pub struct Fallback<A, B> {
    first: A,
    second: B,
}

impl<A: Model, B: Model> Fallback<A, B> {
    /// The first, with the second in reserve.
    pub fn new(first: A, second: B) -> Self {
        Self { first, second }
    }

    async fn second(&self, transcript: &Transcript, say: &mut Saying<'_>) -> Result<Answer, Failure> {
        let mut answer = self.second.next(transcript, say).await?;
        if let Step::Call(calls) = &mut answer.step {
            for call in calls {
                call.id = format!("{MARK}{}", call.id);
            }
        }
        Ok(answer)
    }
}

#[async_trait]
impl<A: Model, B: Model> Model for Fallback<A, B> {
    fn name(&self) -> &str {
        self.first.name()
    }

    fn provider(&self) -> &'static str {
        self.first.provider()
    }

    fn server(&self) -> Option<(&str, u16)> {
        self.first.server()
    }

    async fn next(&self, transcript: &Transcript, say: &mut Saying<'_>) -> Result<Answer, Failure> {
        let calls = calls(transcript);
        if is_of_second(&calls) {
            return self.second(transcript, say).await;
        }
        match self.first.next(transcript, say).await {
            Err(Failure { error, usage }) if calls.is_empty() => {
                tracing::warn!(error = %error, "another model answers instead");
                // What the first has begun to say is not the answer; what it has cost was spent.
                say("");
                let both = |more| usage::sum(usage, more);
                match self.second(transcript, say).await {
                    Ok(answer) => Ok(Answer { usage: both(answer.usage), ..answer }),
                    Err(failure) => Err(Failure { usage: both(failure.usage), ..failure }),
                }
            }
            answer => answer,
        }
    }

    fn length(&self, transcript: &Transcript) -> Option<usize> {
        let model: &dyn Model = if is_of_second(&calls(transcript)) { &self.second } else { &self.first };
        model.length(transcript)
    }

    fn makes_titles(&self) -> bool {
        self.first.makes_titles()
    }

    async fn title(&self, said: &str, answered: &str) -> Result<Answer, Failure> {
        self.first.title(said, answered).await
    }
}

/// The ids of the calls of the turn under way.
fn calls(transcript: &Transcript) -> Vec<&str> {
    let this = transcript.entries.iter().rev().take_while(|entry| !matches!(entry, Entry::User(_)));
    this.filter_map(|entry| match entry {
        Entry::Call(call) => Some(call.id.as_str()),
        _ => None,
    })
    .collect()
}

/// Whether a turn with these calls is the second's.
fn is_of_second(calls: &[&str]) -> bool {
    !calls.is_empty() && calls.iter().all(|id| id.starts_with(MARK))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{
        domain::tool::{ToolCall, ToolResult},
        model::ModelError,
        testing::{Puppet, call},
    };

    fn transcript(entries: Vec<Entry>) -> Transcript {
        Transcript::new(Timestamp::UNIX_EPOCH, "UTC", entries)
    }

    fn done(call: &ToolCall) -> Vec<Entry> {
        let result = ToolResult { call_id: call.id.clone(), outcome: Ok(json!({})) };
        vec![Entry::Call(call.clone()), Entry::Result(result)]
    }

    fn down() -> Puppet {
        Puppet::new(|_| Err(ModelError::Unavailable("down".to_owned())))
    }

    #[tokio::test]
    async fn the_second_answers_a_turn_that_the_first_can_not_begin_and_goes_on_with_it() {
        let second = Puppet::new(|transcript| {
            Ok(if transcript.entries.len() == 1 {
                Step::Call(vec![call("a", "list_tasks", json!({}))])
            } else {
                Step::Reply("Nothing to do.".to_owned())
            })
        });
        let both = Fallback::new(down(), second);
        let mut entries = vec![Entry::User("list".to_owned())];
        let mut heard = Vec::new();
        let mut say = |text: &str| heard.push(text.to_owned());
        let Step::Call(calls) = both.next(&transcript(entries.clone()), &mut say).await.unwrap().step else {
            panic!("no call")
        };
        assert_eq!(calls[0].id, "reserve-a");
        entries.extend(done(&calls[0]));
        let answer = both.next(&transcript(entries), &mut say).await.unwrap();
        assert_eq!(answer.step, Step::Reply("Nothing to do.".to_owned()));
        assert_eq!((both.first.asked(), both.second.asked()), (1, 2), "the turn is the second's");
        assert_eq!(heard, [""], "what was said before is taken back");
    }

    #[tokio::test]
    async fn a_turn_that_the_first_has_begun_is_not_gone_on_with_by_the_second() {
        let both = Fallback::new(down(), Puppet::saying("Done."));
        let mut entries = vec![Entry::User("add milk".to_owned())];
        entries.extend(done(&call("b", "add_tasks", json!({}))));
        let answer = both.next(&transcript(entries), &mut |_: &str| {}).await;
        assert_eq!(answer, Err(ModelError::Unavailable("down".to_owned()).into()));
        assert_eq!(both.second.asked(), 0);
    }
}
