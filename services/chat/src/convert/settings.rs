//! What a user lets the assistant do, as the contract has it.

use errand_proto::{chat, tools::TOOLS, validation::Violation};
use prost_types::FieldMask;

use super::time;
use crate::{
    app::classify,
    domain::rules::{NoRule, Rule, Rules, Settings},
    error::Error,
};

/// Every tool, with what its user says and what holds under the rules of the operator.
pub(crate) fn settings(settings: &Settings, operator: &Rules) -> chat::Settings {
    let both = operator.and(&settings.rules);
    let tool = |tool: &str| chat::ToolSetting {
        tool: tool.to_owned(),
        policy: policy(settings.rules.rule(tool)).into(),
        effective_policy: policy(both.rule(tool)).into(),
    };
    chat::Settings {
        tools: TOOLS.iter().map(|known| tool(known.name)).collect(),
        etag: format!("{:x}", settings.version),
        update_time: settings.updated.map(time),
    }
}

/// The rules of an update, all of them.
pub(crate) fn rules(settings: &chat::Settings, mask: Option<FieldMask>) -> Result<Rules, Error> {
    for path in mask.unwrap_or_default().paths {
        let (reason, description) = match path.as_str() {
            "tools" | "*" => continue,
            "etag" | "update_time" => ("READ_ONLY", "can not be changed by an update"),
            _ => ("UNKNOWN_FIELD", "is no field of the settings"),
        };
        let path: String = path.chars().take(64).collect();
        return Err(Error::Invalid(vec![Violation::new("updateMask", reason, format!("{path} {description}"))]));
    }
    let rule = |setting: &chat::ToolSetting| {
        let rule = match setting.policy() {
            chat::ToolPolicy::Unspecified | chat::ToolPolicy::Auto => Rule::Auto,
            chat::ToolPolicy::Approve => Rule::Approve,
            chat::ToolPolicy::Deny => Rule::Deny,
        };
        (setting.tool.clone(), rule)
    };
    Rules::of(settings.tools.iter().map(rule), classify).map_err(|error| {
        let reason = match error {
            NoRule::Twice(_) => "DUPLICATE",
            NoRule::Unknown(_) | NoRule::NoWord(_) | NoRule::NothingToApprove(_) => "UNKNOWN_VALUE",
        };
        Error::Invalid(vec![Violation::new("settings.tools", reason, error.to_string())])
    })
}

fn policy(rule: Rule) -> chat::ToolPolicy {
    match rule {
        Rule::Auto => chat::ToolPolicy::Auto,
        Rule::Approve => chat::ToolPolicy::Approve,
        Rule::Deny => chat::ToolPolicy::Deny,
    }
}
