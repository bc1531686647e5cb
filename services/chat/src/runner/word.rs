//! The user's word, which is no model's to read: what was asked, what is to be taken back, and what tools
//! may do.

use errand_changelog::UserId;

use super::{Inner, Why};
use crate::{
    domain::{
        approval,
        rules::{Rule, Rules},
        turn::{self, Answer, Event, Turn},
        undo::{self, Wanted},
    },
    store::History,
    task_tools::classify,
};

impl Inner {
    /// What tools may do for this owner.
    pub(super) async fn rules_of(&self, owner: UserId) -> Result<Rules, Why> {
        let settings = self.store.settings(owner).await.map_err(Why::Store)?;
        Ok(self.rules.and(&settings.rules))
    }

    /// What the model answered, under the rules that hold now.
    pub(super) async fn restricted(
        &self,
        owner: UserId,
        turn: &Turn,
        mut events: Vec<Event>,
    ) -> Result<Vec<Event>, Why> {
        let calls = |event: &Event| matches!(event, Event::ModelAnswered(Answer::Calls(calls)) if !calls.is_empty());
        if events.iter().any(calls) {
            let rules = self.rules_of(owner).await?;
            events = events.into_iter().map(|event| turn::restricted(&turn.events, event, &rules, classify)).collect();
        }
        Ok(events)
    }

    /// What the user's words mean where they are no model's to read: the answer to a question of ours,
    /// or the wish to take a turn back.
    pub(super) async fn own_word(
        &self,
        owner: UserId,
        turn: &Turn,
        history: &History,
        said: &str,
    ) -> Result<Option<Event>, Why> {
        if let Some((asked_in, approval)) = approval::pending(&history.messages, &history.turns)
            && let Some(verdict) = approval::verdict(owner, approval, said, turn.started)
            // What may not be done any more is not asked for any more either.
            && self.rules_of(owner).await?.rule(&approval.call.name) != Rule::Deny
        {
            return Ok(Some(Event::Answered { asked_in, verdict }));
        }
        let wanted = match undo::wanted(said) {
            Some(Wanted::Turn(id)) => Some(id),
            Some(Wanted::Last) => history.last_turn,
            None => None,
        };
        let Some(id) = wanted else { return Ok(None) };
        let before = self.store.turn(owner, id).await.map_err(Why::Store)?;
        let redoes = before.is_some_and(|before| turn::undone(&before.events, 0).is_some());
        Ok(Some(Event::Undoing { call: undo::call(id), redoes }))
    }
}
