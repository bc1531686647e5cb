//! JSON <-> protobuf by descriptor, in the canonical mapping of proto3.
//!
//! Every face that speaks JSON, and the assistant, whose tools take JSON arguments, meet here. A
//! mistake is named by its path, spelled as in JSON. The rules of the contract are not checked
//! here: the bytes go to a service, whose codec does.

mod text;

use std::fmt;

use prost::Message;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, SerializeOptions,
    Value as Reflected,
};
use serde_json::{Map, Value};

use crate::{POOL, validation::Violation};

pub use text::parse;

/// Why something could not be translated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonError {
    /// The contracts have no message of this name.
    UnknownMessage(String),
    /// A field of the JSON is unknown, appears twice or has a value of the wrong type.
    Field(Violation),
    /// The bytes are no message of the expected type, or say something that JSON can not.
    Malformed(String),
    /// The text is not JSON, and why.
    Text(String),
}

/// Encodes JSON as a message. Fields may be spelled `dueTime` or `due_time`; null leaves a field
/// unset.
///
/// # Errors
/// When the message is unknown, or at the first field that is unknown or of the wrong type.
pub fn to_bytes(full_name: &str, value: &Value) -> Result<Vec<u8>, JsonError> {
    let descriptor = descriptor(full_name)?;
    let message = if is_well_known(&descriptor) {
        DynamicMessage::deserialize_with_options(descriptor, value, &strict())
            .map_err(|error| invalid("", "INVALID_FORMAT", error.to_string()))?
    } else {
        message(descriptor, value, "")?
    };
    Ok(message.encode_to_vec())
}

/// Decodes a message to JSON: lowerCamel names, unset fields left out, 64-bit integers as strings,
/// enums by name.
///
/// # Errors
/// When the message is unknown, or the bytes are not one.
pub fn from_bytes(full_name: &str, bytes: &[u8]) -> Result<Value, JsonError> {
    let message = DynamicMessage::decode(descriptor(full_name)?, bytes).map_err(|_| malformed(full_name))?;
    let options = SerializeOptions::new().skip_default_fields(true);
    let mut value =
        message.serialize_with_options(serde_json::value::Serializer, &options).map_err(|_| malformed(full_name))?;
    whole(&mut value);
    Ok(value)
}

/// A number of `google.protobuf.Value` is a double; one without a fraction is written without one, as every other
/// implementation does.
fn whole(value: &mut Value) {
    match value {
        Value::Number(number) => {
            // Beyond 2^53 a double does not know its last digits.
            const EXACT: f64 = 9_007_199_254_740_992.0;
            if let Some(double) = number.as_f64().filter(|_| number.is_f64())
                && double.fract() == 0.0
                && double.abs() < EXACT
                && let Ok(integer) = format!("{double:.0}").parse::<i64>()
            {
                *value = integer.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole),
        Value::Object(fields) => fields.values_mut().for_each(whole),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn descriptor(full_name: &str) -> Result<MessageDescriptor, JsonError> {
    POOL.get_message_by_name(full_name).ok_or_else(|| JsonError::UnknownMessage(full_name.to_owned()))
}

/// One of our own messages. The walk is ours, so that every error can say where it stands.
fn message(descriptor: MessageDescriptor, value: &Value, path: &str) -> Result<DynamicMessage, JsonError> {
    let object = value.as_object().ok_or_else(|| invalid(path, "INVALID_FORMAT", "must be an object"))?;
    let mut message = DynamicMessage::new(descriptor);
    let mut seen = Vec::with_capacity(object.len());
    for (key, value) in object {
        let path = below(path, key);
        let descriptor = message.descriptor();
        let field = descriptor
            .get_field_by_json_name(key)
            .or_else(|| descriptor.get_field_by_name(key))
            .ok_or_else(|| invalid(&path, "UNKNOWN_FIELD", "is not a field of this message"))?;
        if seen.contains(&field.number()) {
            return Err(invalid(&path, "DUPLICATE", "is given twice, in two spellings"));
        }
        seen.push(field.number());
        if value.is_null() && !takes_null(&field) {
            continue;
        }
        let value = if field.is_list() { list(&field, value, &path)? } else { single(&field, value, &path)? };
        message
            .try_set_field(&field, value)
            .map_err(|_| invalid(&path, "INVALID_FORMAT", "has a value of the wrong type"))?;
    }
    Ok(message)
}

fn list(field: &FieldDescriptor, value: &Value, path: &str) -> Result<Reflected, JsonError> {
    let items = value.as_array().ok_or_else(|| invalid(path, "INVALID_FORMAT", "must be an array"))?;
    let mut values = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        match (nested(field), item) {
            (Some(descriptor), item) => values.push(Reflected::Message(message(descriptor, item, &path)?)),
            (None, item) => match leaf(field, Value::Array(vec![item.clone()]), &path)? {
                Reflected::List(mut only) if only.len() == 1 => values.append(&mut only),
                _ => return Err(invalid(&path, "INVALID_FORMAT", "has a value of the wrong type")),
            },
        }
    }
    Ok(Reflected::List(values))
}

fn single(field: &FieldDescriptor, value: &Value, path: &str) -> Result<Reflected, JsonError> {
    match nested(field) {
        Some(descriptor) if !field.is_map() => Ok(Reflected::Message(message(descriptor, value, path)?)),
        _ => leaf(field, value.clone(), path),
    }
}

/// Scalars, enums, maps and well-known types are the library's: it reads them as the one field of
/// their message.
fn leaf(field: &FieldDescriptor, value: Value, path: &str) -> Result<Reflected, JsonError> {
    let only = Value::Object(Map::from_iter([(field.json_name().to_owned(), value)]));
    let mut message = DynamicMessage::deserialize_with_options(field.parent_message().clone(), &only, &strict())
        .map_err(|error| match field.kind() {
            Kind::Enum(values) => {
                let names: Vec<_> = values.values().map(|value| value.name().to_owned()).collect();
                invalid(path, "UNKNOWN_VALUE", format!("must be one of {}", names.join(", ")))
            }
            _ => invalid(path, "INVALID_FORMAT", error.to_string()),
        })?;
    Ok(message.take_field(field).unwrap_or_else(|| Reflected::default_value_for_field(field)))
}

/// The message type of a field that holds messages of our own.
fn nested(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(descriptor) if !is_well_known(&descriptor) => Some(descriptor),
        _ => None,
    }
}

fn is_well_known(descriptor: &MessageDescriptor) -> bool {
    descriptor.package_name() == "google.protobuf"
}

fn takes_null(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(descriptor) if descriptor.full_name() == "google.protobuf.Value")
}

fn strict() -> DeserializeOptions {
    DeserializeOptions::new().deny_unknown_fields(true)
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn invalid(path: &str, reason: &'static str, description: impl Into<String>) -> JsonError {
    JsonError::Field(Violation::new(path, reason, description))
}

fn malformed(full_name: &str) -> JsonError {
    JsonError::Malformed(full_name.to_owned())
}

// === impl JsonError ===

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JsonError::UnknownMessage(name) => write!(f, "there is no message {name}"),
            JsonError::Field(violation) if violation.field.is_empty() => f.write_str(&violation.description),
            JsonError::Field(violation) => write!(f, "{}: {}", violation.field, violation.description),
            JsonError::Malformed(name) => write!(f, "not a valid {name}"),
            JsonError::Text(why) => write!(f, "its body is not JSON: {why}"),
        }
    }
}

impl std::error::Error for JsonError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::task;

    const CREATE: &str = "errand.task.v1.CreateTaskRequest";
    const TASK: &str = "errand.task.v1.Task";

    fn wrong(full_name: &str, value: &Value) -> (String, &'static str) {
        match to_bytes(full_name, value) {
            Err(JsonError::Field(violation)) => (violation.field, violation.reason),
            other => panic!("{value} gave {other:?}"),
        }
    }

    #[test]
    fn json_becomes_the_message_that_it_says() {
        let value = json!({
            "task": {
                "title": "Buy milk",
                "priority": "PRIORITY_HIGH",
                "dueTime": "2026-11-22T23:59:59Z",
                "labels": ["home", "shop"],
                "description": null,
            },
        });
        let request = task::CreateTaskRequest::decode(to_bytes(CREATE, &value).unwrap().as_slice()).unwrap();
        let task = request.task.unwrap();
        assert_eq!((task.title.as_str(), task.priority), ("Buy milk", task::Priority::High as i32));
        assert_eq!(task.labels, ["home", "shop"]);
        assert_eq!(task.due_time.unwrap().seconds, 1_795_391_999);
        assert_eq!(task.description, "");
    }

    #[test]
    fn a_mask_is_one_string_of_lower_camel_paths() {
        let value = json!({"task": {"id": "1"}, "update_mask": "title,dueTime"});
        let bytes = to_bytes("errand.task.v1.UpdateTaskRequest", &value).unwrap();
        let request = task::UpdateTaskRequest::decode(bytes.as_slice()).unwrap();
        assert_eq!(request.update_mask.unwrap().paths, ["title", "due_time"]);
        let back = from_bytes("errand.task.v1.UpdateTaskRequest", &bytes).unwrap();
        assert_eq!(back, json!({"task": {"id": "1"}, "updateMask": "title,dueTime"}));
    }

    #[test]
    fn an_unknown_field_is_named_by_its_path() {
        assert_eq!(wrong(CREATE, &json!({"task": {"owner": "me"}})), ("task.owner".into(), "UNKNOWN_FIELD"));
        assert_eq!(wrong(CREATE, &json!({"Task": {}})), ("Task".into(), "UNKNOWN_FIELD"));
        assert_eq!(wrong(CREATE, &json!([])), (String::new(), "INVALID_FORMAT"));
        assert_eq!(
            wrong("errand.task.v1.ListTasksResponse", &json!({"tasks": [{}, {"x": 1}]})),
            ("tasks[1].x".into(), "UNKNOWN_FIELD")
        );
    }

    #[test]
    fn a_wrong_value_is_named_by_its_path() {
        for (value, path, reason) in [
            (json!({"task": {"title": 5}}), "task.title", "INVALID_FORMAT"),
            (json!({"task": "x"}), "task", "INVALID_FORMAT"),
            (json!({"task": {"labels": "a"}}), "task.labels", "INVALID_FORMAT"),
            (json!({"task": {"labels": ["a", 1]}}), "task.labels[1]", "INVALID_FORMAT"),
            (json!({"task": {"labels": [null]}}), "task.labels[0]", "INVALID_FORMAT"),
            (json!({"task": {"priority": "URGENT"}}), "task.priority", "UNKNOWN_VALUE"),
            (json!({"task": {"dueTime": "tomorrow"}}), "task.dueTime", "INVALID_FORMAT"),
            (json!({"task": {"dueTime": "10000-01-01T00:00:00Z"}}), "task.dueTime", "INVALID_FORMAT"),
            (json!({"validateOnly": "yes"}), "validateOnly", "INVALID_FORMAT"),
        ] {
            assert_eq!(wrong(CREATE, &value), (path.to_owned(), reason), "{value}");
        }
        assert_eq!(
            wrong("errand.task.v1.ListTasksRequest", &json!({"pageSize": 1, "page_size": 2})),
            ("page_size".to_owned(), "DUPLICATE")
        );
    }

    #[test]
    fn an_answer_leaves_unset_fields_out() {
        let task = task::Task { id: "1".into(), title: "a".into(), priority: 4, ..Default::default() };
        let value = from_bytes(TASK, &task.encode_to_vec()).unwrap();
        assert_eq!(value, json!({"id": "1", "title": "a", "priority": "PRIORITY_HIGH"}));
    }

    #[test]
    fn a_struct_is_any_object() {
        let value = json!({"id": "c", "arguments": {"a": [1.5, null, {"b": "c"}], "d": true}});
        let bytes = to_bytes("errand.chat.v1.ToolCall", &value).unwrap();
        assert_eq!(from_bytes("errand.chat.v1.ToolCall", &bytes).unwrap(), value);
    }

    #[test]
    fn a_number_without_a_fraction_is_written_without_one() {
        let call = "errand.chat.v1.ToolCall";
        let value = json!({"arguments": {"size": 200, "half": 0.5, "list": [-3, 1e300]}});
        let back = from_bytes(call, &to_bytes(call, &value).unwrap()).unwrap();
        assert_eq!(back.to_string(), r#"{"arguments":{"half":0.5,"list":[-3,1e+300],"size":200}}"#);
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        assert!(matches!(to_bytes("errand.Nothing", &json!({})), Err(JsonError::UnknownMessage(_))));
        assert!(matches!(from_bytes(TASK, b"\xff\xff"), Err(JsonError::Malformed(_))));
        let late = task::Task {
            due_time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: -1 }),
            ..Default::default()
        };
        assert!(matches!(from_bytes(TASK, &late.encode_to_vec()), Err(JsonError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn a_task_comes_back_as_it_was(
            title in ".{0,40}",
            labels in prop::collection::vec(".{0,10}", 0..4),
            priority in 0..5i32,
            due in prop::option::of((-62_135_596_800i64..253_402_300_800, 0..1_000_000_000i32)),
            completed: bool,
        ) {
            let task = task::Task {
                title,
                labels,
                priority,
                completed,
                due_time: due.map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos }),
                ..Default::default()
            };
            let bytes = task.encode_to_vec();
            prop_assert_eq!(to_bytes(TASK, &from_bytes(TASK, &bytes).unwrap()).unwrap(), bytes);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = from_bytes(CREATE, &bytes);
        }
    }
}
