//! What the model asks for and what it gets back: a tool call and its result.
//!
//! Plain data that is stored with the turn and shown to the user. How a call is carried out
//! (`task_tools`) and which calls are allowed (`policy`) are not decided here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// With what a call fails that needs its user's word.
pub const APPROVAL_REQUIRED: &str = "APPROVAL_REQUIRED";

/// With what a call fails that was made before in its turn, and that would do nothing new.
pub const CALL_REPEATED: &str = "CALL_REPEATED";

/// A wish of the model to have a tool called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The call's id, unique within its turn.
    pub id: String,
    /// The tool's name, such as `add_tasks`.
    pub name: String,
    /// The arguments: the request message of the rpc behind the tool, as protobuf JSON.
    pub arguments: Value,
}

/// What became of a tool call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The id of the call that this answers.
    pub call_id: String,
    /// The answer message as protobuf JSON (unset fields left out), or why there is none.
    pub outcome: Result<Value, ToolFailure>,
}

/// Why a tool call failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolFailure {
    /// The stable reason, such as `TASK_NOT_FOUND`.
    pub reason: String,
    /// A sentence for developers.
    pub message: String,
}

// === impl ToolCall ===

impl ToolCall {
    /// Whether it changes nothing, by the name of its tool.
    #[must_use]
    pub fn reads(&self) -> bool {
        self.name.starts_with("list_") || self.name.starts_with("get_")
    }

    /// Whether another is of the same tool with the same arguments, however these are written: names in any order and
    /// in either spelling of the contracts, numbers in any, and what has no value may be left out.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && is_same(&self.arguments, &other.arguments)
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let (one, other) = (fields(one), fields(other));
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| is_same(value, other)))
        }
        (one, other) => one == other,
    }
}

/// The fields that have a value, by their names as JSON spells them.
fn fields(object: &Map<String, Value>) -> BTreeMap<String, &Value> {
    object.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (camel(name), value)).collect()
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut name, word| {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
        name
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(arguments: Value) -> ToolCall {
        ToolCall { id: String::new(), name: "update_tasks".to_owned(), arguments }
    }

    #[test]
    fn calls_are_the_same_however_their_arguments_are_written() {
        let one = call(json!({"requests": [{"task": {"id": "a", "dueTime": "t"}, "updateMask": "x", "n": 1}]}));
        for same in [
            json!({"requests": [{"n": 1.0, "updateMask": "x", "task": {"dueTime": "t", "id": "a"}}]}),
            json!({"requests": [{"update_mask": "x", "n": 1, "task": {"due_time": "t", "id": "a"}, "etag": null}]}),
        ] {
            assert!(one.is_same(&call(same.clone())) && call(same.clone()).is_same(&one), "{same}");
        }
        for other in [
            json!({"requests": [{"task": {"id": "a", "dueTime": "t"}, "updateMask": "x", "n": 2}]}),
            json!({"requests": [{"task": {"id": "a", "dueTime": "T"}, "updateMask": "x", "n": 1}]}),
            json!({"requests": [{"task": {"id": "a"}, "updateMask": "x", "n": 1}]}),
            json!({"requests": []}),
            json!("requests"),
            Value::Null,
        ] {
            assert!(!one.is_same(&call(other.clone())) && !call(other.clone()).is_same(&one), "{other}");
        }
        assert!(!one.is_same(&ToolCall { name: "add_tasks".to_owned(), ..one.clone() }));
    }
}
