//! The tools as a model is told of them: names, what they are for, and schemas of their arguments that every server
//! understands.
//!
//! The schemas are those of the contract, with what only some servers can read left out: references, patterns,
//! limits. The contract judges the arguments anyway.

use std::sync::LazyLock;

use errand_proto::{
    schema,
    tools::{TOOLS, Tool},
};
use serde_json::{Map, Value, json};

/// Where schemas refer to each other.
const REFERENCE: &str = "#/$defs/";

/// What of a schema is told.
const TOLD: [&str; 5] = ["type", "enum", "description", "format", "required"];

/// Fields that are ours to fill.
const OURS: [&str; 2] = ["requestId", "validateOnly"];

/// Where a batch has its tasks.
const TASK: &str = "/properties/requests/items/properties/task";

/// How deep schemas stand in schemas at most.
const DEEPEST: usize = 16;

/// A tool and the schema of its arguments.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) parameters: Value,
}

/// Every tool.
pub(super) static OFFERED: LazyLock<Vec<Offered>> = LazyLock::new(|| TOOLS.iter().filter_map(offered).collect());

/// As the field `tools` of a request has them.
pub(super) static AS_TOOLS: LazyLock<Value> = LazyLock::new(|| {
    let function =
        |tool: &Offered| json!({ "name": tool.name, "description": tool.description, "parameters": tool.parameters });
    OFFERED.iter().map(|tool| json!({ "type": "function", "function": function(tool) })).collect()
});

/// In words of a few letters each, for models that read little: a line a tool.
pub(super) static AS_LINES: LazyLock<String> = LazyLock::new(|| {
    let line = |tool: &Offered| format!("\n{} {}: {}", tool.name, signature(&tool.parameters), tool.description);
    OFFERED.iter().map(line).collect()
});

/// The schema of an answer by a model that can not call tools: words, or calls.
///
/// Servers have the fields written in this order, which is that of the alphabet: a model names the tool before it
/// fills in the parameters.
pub(super) static AS_SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let object = |properties: Value, required: &[&str]| json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    let call = |tool: &Offered| {
        object(
            json!({ "name": { "type": "string", "enum": [tool.name] }, "parameters": tool.parameters }),
            &["name", "parameters"],
        )
    };
    let calls: Vec<Value> = OFFERED.iter().map(call).collect();
    let calls = json!({ "type": "array", "items": { "anyOf": calls } });
    json!({ "anyOf": [
        object(json!({ "reply": { "type": "string" } }), &["reply"]),
        object(json!({ "calls": calls }), &["calls"]),
    ] })
});

fn offered(tool: &Tool) -> Option<Offered> {
    let method = tool.method()?;
    let schemas = schema::schemas([method.input], REFERENCE);
    let input = schema::refer(method.input, REFERENCE);
    let mut parameters = plain(&input, &schemas, DEEPEST);
    // A new task has no id and no version; a task that changes is named, and has what it is to have.
    if let Some(task) = parameters.pointer_mut(TASK) {
        if tool.name == "add_tasks" {
            if let Some(fields) = task["properties"].as_object_mut() {
                fields.retain(|name, _| !["id", "etag"].contains(&name.as_str()));
            }
        } else {
            task["required"] = json!(["id"]);
        }
    }
    Some(Offered { name: tool.name, description: tool.description, parameters })
}

/// A schema that refers to nothing.
fn plain(schema: &Value, schemas: &Map<String, Value>, depth: usize) -> Value {
    let Some(left) = depth.checked_sub(1) else { return json!({}) };
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix(REFERENCE));
    if let Some(found) = name.and_then(|name| schemas.get(name)) {
        let mut plain = plain(found, schemas, left);
        // What is said where it is used says more than what is said of the thing.
        if let (Some(plain), Some(said)) = (plain.as_object_mut(), schema.get("description")) {
            plain.insert("description".to_owned(), said.clone());
        }
        return plain;
    }
    let told = TOLD.iter().filter_map(|key| Some(((*key).to_owned(), schema.get(key)?.clone())));
    let mut made: Map<String, Value> = told.collect();
    if let Some(items) = schema.get("items") {
        made.insert("items".to_owned(), plain(items, schemas, left));
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let taken = properties.iter().filter(|(name, field)| {
            let is_told = *name == "id" || field.get("readOnly") != Some(&Value::Bool(true));
            is_told && !OURS.contains(&name.as_str())
        });
        let taken: Map<String, Value> =
            taken.map(|(name, field)| (name.clone(), plain(field, schemas, left))).collect();
        if let Some(Value::Array(required)) = made.get_mut("required") {
            required.retain(|name| name.as_str().is_some_and(|name| taken.contains_key(name)));
        }
        made.insert("properties".to_owned(), taken.into());
        made.insert("additionalProperties".to_owned(), false.into());
    }
    made.into()
}

/// The form of a value in few letters.
fn signature(schema: &Value) -> String {
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    match (schema["type"].as_str(), &schema["properties"], &schema["enum"]) {
        (_, Value::Object(fields), _) => {
            let field = |(name, field): (&String, &Value)| {
                let mark = if required.iter().any(|one| one == name) { "" } else { "?" };
                format!("\"{name}\"{mark}: {}", signature(field))
            };
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        (_, _, Value::Array(words)) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"),
        (Some("array"), ..) => format!("[{}, ...]", signature(&schema["items"])),
        (Some("boolean"), ..) => "true|false".to_owned(),
        (Some("integer" | "number"), ..) => "number".to_owned(),
        _ if schema["format"] == "date-time" => "time".to_owned(),
        _ => "text".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(fields) => {
                for (key, value) in fields {
                    found.push(key.clone());
                    keys(value, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_tool_is_offered_with_arguments_that_every_server_can_read() {
        assert_eq!(OFFERED.len(), TOOLS.len());
        let mut found = Vec::new();
        for tool in OFFERED.iter() {
            assert_eq!(tool.parameters["type"], "object", "{}", tool.name);
            keys(&tool.parameters, &mut found);
        }
        for absent in ["$ref", "allOf", "not", "pattern", "requestId", "validateOnly", "createTime"] {
            assert!(!found.iter().any(|key| key == absent), "{absent}");
        }
        let add = OFFERED.iter().find(|tool| tool.name == "add_tasks").unwrap();
        let task = &add.parameters["properties"]["requests"]["items"]["properties"]["task"]["properties"];
        assert_eq!(task["title"]["type"], "string", "{}", add.parameters);
        assert_eq!(task["dueTime"]["format"], "date-time");
        assert!(task["priority"]["enum"].is_array() && task["id"].is_null(), "{task}");
        let update = OFFERED.iter().find(|tool| tool.name == "update_tasks").unwrap();
        let task = &update.parameters["properties"]["requests"]["items"]["properties"]["task"];
        assert_eq!((&task["required"], &task["properties"]["id"]["type"]), (&json!(["id"]), &json!("string")));
    }

    #[test]
    fn what_a_model_has_to_read_before_it_answers_is_not_much() {
        let bytes = AS_TOOLS.to_string().len();
        assert!(bytes < 24 * 1024, "{bytes} bytes");
        assert!(AS_LINES.len() < 3 * 1024, "{} bytes", AS_LINES.len());
    }

    #[test]
    fn a_line_says_what_a_tool_takes() {
        let lines: Vec<&str> = AS_LINES.trim().lines().collect();
        assert_eq!(lines.len(), TOOLS.len());
        let complete = lines.iter().find(|line| line.starts_with("complete_tasks ")).unwrap();
        assert!(complete.contains("{\"requests\": [{\"etag\"?: text, \"taskId\": text}, ...]}: "), "{complete}");
        let add = lines.iter().find(|line| line.starts_with("add_tasks ")).unwrap();
        assert!(add.contains("\"dueTime\"?: time") && add.contains("PRIORITY_HIGH, \"title\": text"), "{add}");
    }

    #[test]
    fn a_model_names_the_tool_before_it_fills_in_its_parameters() {
        let schema = AS_SCHEMA.to_string();
        let order = |name: &str| schema.find(name).unwrap();
        assert!(order("\"name\":{") < order("\"parameters\":{"), "{schema}");
    }
}
