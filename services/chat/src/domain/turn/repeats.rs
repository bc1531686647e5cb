//! Calls that a model makes once more though it was told what came of them.
//!
//! A small model may not see that it has done what it was asked, and do it again until the rounds of the turn are over:
//! eight tasks in the place of one. So a write that has succeeded is not made again in its turn, nor is a read that was
//! made several times since anything was written. The model is told so, with the result of before beside it
//! (`model/openai`); if it asks for the same once more the turn ends, and says how far it came.
//!
//! Only calls of earlier answers count. Those of one answer were wished for together, before any of them had a result:
//! two that are alike are two wishes, as in "add milk twice", and the limits of a turn hold for them as for any others.
//!
//! What is not made again is decided when the answer is taken and is stored with it, from nothing but the events before
//! it. So whoever goes on with the turn, in whatever process, finds it decided, or decides the same.

use super::{
    super::{
        policy::Judged,
        tool::{CALL_REPEATED, ToolCall, ToolFailure},
    },
    Event, Run, changed, judged, runs,
};

/// How often the same is read while nothing is written: once more than is needed, because others may write meanwhile.
const MOST_READS: usize = 2;

/// Why a call is not made once more after those before it; nothing when it is made.
pub(super) fn refusal(before: &[Run<'_>], call: &ToolCall) -> Option<ToolFailure> {
    let message = if call.reads() {
        let written = before.iter().rposition(|run| !run.call.reads() && run.outcome.is_some() && !run.is_undone());
        let since = before.get(written.map_or(0, |at| at + 1)..).unwrap_or_default();
        if since.iter().filter(|run| has_answered(run, call)).count() < MOST_READS {
            return None;
        }
        "this was read several times in this turn, and nothing was written since; it was not read again. What it answered \
         holds: answer the user by that"
    } else {
        before.iter().find(|run| has_answered(run, call))?;
        "this very call was made in this turn before, and has succeeded; it was not made again. What it answered holds: \
         tell the user what was done"
    };
    Some(ToolFailure { reason: CALL_REPEATED.to_owned(), message: message.to_owned() })
}

fn has_answered(run: &Run<'_>, call: &ToolCall) -> bool {
    matches!(run.outcome, Some(Ok(_))) && run.call.is_same(call)
}

/// The step by which a call is named to its peer. What may have been done before is done under the name that it had
/// then, so that the peer does it once. `finished` is what happened since the last answer, in which a call may stand twice.
pub(super) fn step(events: &[Event], call: &ToolCall, finished: &[Event]) -> usize {
    let runs = runs(events);
    let outcome = |event: &Event| match event {
        Event::ToolFinished { call_id, .. } => {
            runs.iter().find(|run| run.call.id == *call_id && run.call.is_same(call))
        }
        _ => None,
    };
    let before = events.get(..events.len().saturating_sub(finished.len())).unwrap_or_default();
    let mut in_doubt = before.iter().enumerate().filter(|(_, event)| outcome(event).is_some_and(Run::is_in_doubt));
    match in_doubt.nth(finished.iter().filter(|event| outcome(event).is_some()).count()) {
        Some((step, _)) if !call.reads() => step,
        _ => events.len(),
    }
}

/// Whether the last answer does nothing but go on so: none of its calls was made, and of one of them an answer before it
/// was told that it is not made again.
pub(super) fn goes_on(events: &[Event]) -> bool {
    let is_repeated = |call: &&Judged| call.refusal.as_ref().is_some_and(|refusal| refusal.reason == CALL_REPEATED);
    let mut answers = events.iter().rev().map(judged).filter(|calls| !calls.is_empty());
    let Some(last) = answers.next() else { return false };
    let told: Vec<&Judged> = answers.flatten().filter(is_repeated).collect();
    last.iter().all(|call| call.refusal.is_some())
        && last.iter().filter(is_repeated).any(|call| told.iter().any(|told| told.call.is_same(&call.call)))
}

/// What a turn says that ends so.
pub(super) fn told(events: &[Event]) -> String {
    const WHY: &str = "I stopped here, because I was about to do the same once more and came no further.";
    match changed::count(events) {
        0 => format!("{WHY} Nothing was changed."),
        1 => format!("{WHY} One task was changed; say \"undo\" to take that back."),
        count => format!("{WHY} {count} tasks were changed; say \"undo\" to take that back."),
    }
}

#[cfg(test)]
#[path = "repeats_tests.rs"]
mod tests;
