//! `errand llm check`: asks the language model that is configured, and says what works with it.
//!
//! It asks for its models, for a streamed reply, for a call of a tool and for JSON by a schema. No task is read and no
//! tool is called.

use errand_chassis::clock::{Clock, SystemClock};
use errand_chat::model::openai::check::{Finding, Verdict, check as look};

use super::remote::block_on;
use crate::{
    cli::{Failure, Kind},
    config::Config,
    console,
};

/// Exit code 0 when a conversation will work, 1 when it will not, 75 when nobody answers, 78 when key, name or address
/// are wrong or nothing is configured.
pub(crate) fn check(config: &Config) -> Result<(), Failure> {
    let Some(settings) = config.llm.model.clone() else {
        let message = "no language model is configured: set ERRAND_LLM_BASE_URL and ERRAND_LLM_MODEL; without them the \
                       built-in planner answers";
        return Err(Failure::new(Kind::Configuration, message));
    };
    let findings = block_on(async {
        look(settings, SystemClock.now()).await.map_err(|error| Failure::new(Kind::Configuration, error))
    })?;
    for line in table(&findings) {
        console::say(line);
    }
    judge(&findings)
}

fn table(findings: &[Finding]) -> Vec<String> {
    let width = findings.iter().map(|finding| finding.what.chars().count()).max().unwrap_or(0);
    let line = |finding: &Finding| {
        let mark = match finding.verdict {
            Verdict::Works => "ok       ",
            Verdict::Absent => "absent   ",
            Verdict::Broken => "BROKEN   ",
            Verdict::NotReady => "not ready",
            Verdict::Refused => "REFUSED  ",
        };
        format!("{mark}  {:width$}  {}", finding.what, finding.words)
    };
    findings.iter().map(line).collect()
}

fn judge(findings: &[Finding]) -> Result<(), Failure> {
    let is = |verdict| findings.iter().any(|finding| finding.verdict == verdict);
    let failure = |kind, message: &str| Err(Failure::new(kind, message));
    if is(Verdict::Refused) {
        return failure(
            Kind::Configuration,
            "the model refuses: look at ERRAND_LLM_BASE_URL, ERRAND_LLM_MODEL and ERRAND_LLM_API_KEY",
        );
    }
    if is(Verdict::NotReady) {
        return failure(Kind::NotReady, "the model does not answer");
    }
    if is(Verdict::Broken) {
        return failure(Kind::Failed, "the model does not do what the assistant needs");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(verdict: Verdict) -> Finding {
        Finding { what: "tool calls", verdict, words: "seen".to_owned() }
    }

    #[test]
    fn what_somebody_has_to_change_outweighs_what_may_pass_by_itself() {
        assert_eq!(judge(&[finding(Verdict::Works), finding(Verdict::Absent)]), Ok(()));
        let kind = |verdicts: &[Verdict]| {
            let findings: Vec<Finding> = verdicts.iter().map(|verdict| finding(*verdict)).collect();
            judge(&findings).unwrap_err().kind
        };
        assert_eq!(kind(&[Verdict::Broken]), Kind::Failed);
        assert_eq!(kind(&[Verdict::Broken, Verdict::NotReady]), Kind::NotReady);
        assert_eq!(kind(&[Verdict::NotReady, Verdict::Refused]), Kind::Configuration);
        assert_eq!(table(&[finding(Verdict::Broken)]), ["BROKEN     tool calls  seen"]);
    }
}
