//! What tools may do by themselves, as the operator and the user say it.
//!
//! Rules only ever make stricter what [`policy`](super::policy) says: a tool that is `auto` still waits
//! for the user where that says so. Of two rules for one tool, the stricter holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::policy::Class;

/// What a tool may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// What the policy lets it do.
    Auto,
    /// Nothing without the user's word.
    Approve,
    /// Nothing.
    Deny,
}

/// Rules for some tools; every other one is [`Rule::Auto`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rules(BTreeMap<String, Rule>);

/// Why something is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRule {
    /// There is no such tool.
    #[error("there is no tool {0:?}")]
    Unknown(String),
    /// A tool is named twice.
    #[error("{0} is named twice")]
    Twice(String),
    /// There is no such rule.
    #[error("{0:?} is not auto, approve or deny")]
    NoWord(String),
    /// Nobody is asked before a read, and taking back is asked for in the user's own words.
    #[error("{0} is auto or deny: there is nothing to approve")]
    NothingToApprove(String),
}

/// What an owner has set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The rules.
    pub rules: Rules,
    /// The seq of the last change; 0 before the first.
    pub version: errand_changelog::Seq,
    /// When that was.
    pub updated: Option<jiff::Timestamp>,
}

// === impl Rules ===

impl Rules {
    /// Takes rules for tools that there are.
    ///
    /// # Errors
    /// When one of them is none.
    pub fn of(
        rules: impl IntoIterator<Item = (String, Rule)>,
        classify: impl Fn(&str) -> Option<Class>,
    ) -> Result<Self, NoRule> {
        let mut known = BTreeMap::new();
        for (tool, rule) in rules {
            match (classify(&tool), rule) {
                (None, _) => return Err(NoRule::Unknown(tool.chars().take(64).collect())),
                (Some(Class::Read | Class::Undo), Rule::Approve) => return Err(NoRule::NothingToApprove(tool)),
                _ if known.contains_key(&tool) => return Err(NoRule::Twice(tool)),
                _ => known.insert(tool, rule),
            };
        }
        // What says nothing is not kept.
        known.retain(|_, rule| *rule != Rule::Auto);
        Ok(Self(known))
    }

    /// Reads `tool=rule,tool=rule`.
    ///
    /// # Errors
    /// When one of them is no rule.
    pub fn parse(text: &str, classify: impl Fn(&str) -> Option<Class>) -> Result<Self, NoRule> {
        let rules = text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(|part| {
            let (tool, word) = part.split_once('=').unwrap_or((part, ""));
            let rule = Rule::parse(word.trim()).ok_or_else(|| NoRule::NoWord(word.trim().to_owned()))?;
            Ok((tool.trim().to_owned(), rule))
        });
        Self::of(rules.collect::<Result<Vec<_>, _>>()?, classify)
    }

    /// What a tool may do.
    #[must_use]
    pub fn rule(&self, tool: &str) -> Rule {
        self.0.get(tool).copied().unwrap_or(Rule::Auto)
    }

    /// What is left when both are kept to.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = self.0.clone();
        for (tool, rule) in &other.0 {
            let kept = both.entry(tool.clone()).or_insert(*rule);
            *kept = (*kept).max(*rule);
        }
        Self(both)
    }
}

impl std::fmt::Display for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (tool, rule)) in self.0.iter().enumerate() {
            write!(f, "{}{tool}={}", if at == 0 { "" } else { "," }, rule.as_str())?;
        }
        Ok(())
    }
}

// === impl Rule ===

impl Rule {
    /// Reads a rule's word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Auto, Self::Approve, Self::Deny].into_iter().find(|rule| rule.as_str() == word)
    }

    /// The rule's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Approve => "approve",
            Self::Deny => "deny",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(name: &str) -> Option<Class> {
        match name {
            "list_tasks" => Some(Class::Read),
            "add_tasks" => Some(Class::Write),
            "delete_tasks" => Some(Class::Destructive),
            "undo_turn" => Some(Class::Undo),
            _ => None,
        }
    }

    fn rules(text: &str) -> Result<Rules, NoRule> {
        Rules::parse(text, classify)
    }

    #[test]
    fn rules_are_read_and_shown() {
        let read = rules(" delete_tasks=deny, add_tasks = approve,list_tasks=auto ").unwrap();
        assert_eq!(read.to_string(), "add_tasks=approve,delete_tasks=deny");
        assert_eq!((read.rule("delete_tasks"), read.rule("list_tasks")), (Rule::Deny, Rule::Auto));
        assert_eq!(rules(""), Ok(Rules::default()));
        let stored = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Rules>(&stored).unwrap(), read);
    }

    #[test]
    fn what_is_no_rule_says_why() {
        assert_eq!(rules("purge=deny"), Err(NoRule::Unknown("purge".into())));
        assert_eq!(rules("add_tasks=never"), Err(NoRule::NoWord("never".into())));
        assert_eq!(rules("add_tasks"), Err(NoRule::NoWord(String::new())));
        assert_eq!(rules("add_tasks=deny,add_tasks=deny"), Err(NoRule::Twice("add_tasks".into())));
        for tool in ["list_tasks", "undo_turn"] {
            assert_eq!(rules(&format!("{tool}=approve")), Err(NoRule::NothingToApprove(tool.into())));
            assert!(rules(&format!("{tool}=deny")).is_ok());
        }
    }

    #[test]
    fn of_two_rules_the_stricter_holds_whoever_said_it() {
        let (one, other) = (rules("add_tasks=deny").unwrap(), rules("add_tasks=approve,delete_tasks=approve").unwrap());
        assert_eq!(one.and(&other), other.and(&one));
        assert_eq!(one.and(&other).to_string(), "add_tasks=deny,delete_tasks=approve");
    }
}
