//! What the model asks for and what it gets back: a tool call and its result.
//!
//! Plain data that is stored with the turn and shown to the user. How a call is carried out
//! (`task_tools`) and which calls are allowed (`policy`) are not decided here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
