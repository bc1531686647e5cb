//! A conversation over the fake tools: what the chat service does around the planner.
//!
//! A call that takes several tasks away, or touches more than five, waits for a "yes" as the service's
//! policy has it; the planner is told so and says it in its own words. What the service keeps for
//! "undo" is kept here too.

use errand_chat::domain::tool::{ToolCall, ToolFailure, ToolResult};
use errand_chat::model::planner::Planner;
use errand_chat::model::{Entry, Step, Transcript};
use jiff::{Timestamp, ToSpan};
use serde_json::Value;
use uuid::Uuid;

use crate::fake::{Fake, NOW, ZONE};

/// A conversation of a user with the planner.
pub(crate) struct Talk {
    pub(crate) fake: Fake,
    pub(crate) entries: Vec<Entry>,
    pub(crate) now: Timestamp,
    pub(crate) zone: String,
    /// Whether earlier turns keep their calls and results in the transcript.
    pub(crate) remembers_calls: bool,
    /// The call that waits for a "yes".
    pub(crate) waiting: Option<ToolCall>,
    /// The turns that changed something, with the tasks as they were before.
    pub(crate) turns: Vec<(Uuid, Vec<Value>)>,
    pub(crate) number: u128,
}

impl Talk {
    pub(crate) fn with(tasks: &[&str]) -> Self {
        Talk {
            fake: Fake::with(tasks),
            entries: Vec::new(),
            now: NOW.parse().unwrap(),
            zone: ZONE.to_owned(),
            remembers_calls: true,
            waiting: None,
            turns: Vec::new(),
            number: 0,
        }
    }

    /// Says something and answers with the reply.
    pub(crate) fn say(&mut self, message: &str) -> String {
        self.entries.push(Entry::User(message.to_owned()));
        self.number += 1;
        let start = self.entries.len();
        let (tasks, writes) = (self.fake.tasks.clone(), self.fake.effects.len());
        let reply = match self.waiting.take().map(|call| (call, answer(message))) {
            Some((call, Some(true))) => {
                let outcome = self.fake.run(&call);
                self.note(call, outcome);
                self.rounds(message)
            }
            Some((_, Some(false))) => "Nothing was changed.".to_owned(),
            _ => self.rounds(message),
        };
        assert!(!reply.trim().is_empty());
        if self.fake.effects.len() > writes && self.fake.effects.last().is_none_or(|last| last != "undo") {
            self.turns.push((Uuid::from_u128(self.number), tasks));
        }
        if !self.remembers_calls {
            self.entries.truncate(start);
        }
        self.entries.push(Entry::Assistant(reply.clone()));
        self.now = self.now.checked_add(7.seconds()).unwrap();
        reply
    }

    fn rounds(&mut self, message: &str) -> String {
        let calls = self.entries.iter().rev().take_while(|entry| !matches!(entry, Entry::User(_)));
        let mut count = calls.filter(|entry| matches!(entry, Entry::Call(_))).count();
        for _round in 0..8 {
            let transcript = Transcript {
                now: self.now,
                time_zone: self.zone.clone(),
                entries: self.entries.clone(),
                last_turn: self.turns.last().map(|(turn, _)| *turn),
                left: None,
            };
            match Planner.plan(&transcript).unwrap() {
                Step::Reply(reply) => return reply,
                Step::Call(calls) => {
                    assert!(calls.windows(2).all(|pair| pair[0].name == pair[1].name), "one thing at a time");
                    for call in calls {
                        count += 1;
                        assert_eq!(call.id, format!("call-{count}"));
                        let outcome = self.judge(&call);
                        self.note(call, outcome);
                    }
                }
            }
        }
        panic!("no reply after 8 rounds to {message:?}: {:?}", self.fake.calls);
    }

    /// Runs a call or has it wait.
    fn judge(&mut self, call: &ToolCall) -> Result<Value, ToolFailure> {
        let touched = call.arguments["requests"].as_array().map_or(0, Vec::len);
        if touched > 5 || (touched > 1 && call.name == "delete_tasks") {
            self.waiting = Some(call.clone());
            return Err(Fake::failure("APPROVAL_REQUIRED"));
        }
        if call.name == "undo_turn" {
            let (turn, tasks) = self.turns.pop().unwrap();
            assert_eq!(call.arguments["turnId"], turn.to_string());
            return Ok(self.fake.undo(tasks));
        }
        self.fake.run(call)
    }

    fn note(&mut self, call: ToolCall, outcome: Result<Value, ToolFailure>) {
        let call_id = call.id.clone();
        self.entries.push(Entry::Call(call));
        self.entries.push(Entry::Result(ToolResult { call_id, outcome }));
    }
}

/// What the service takes for a yes or a no.
fn answer(message: &str) -> Option<bool> {
    let message = message.to_lowercase();
    match message.trim_end_matches(['.', '!']) {
        "yes" | "yes please" | "ok" | "do it" => Some(true),
        "no" | "nope" | "cancel" => Some(false),
        _ => None,
    }
}
