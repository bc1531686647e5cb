//! Text from a URL, path variables and query parameters, into the JSON of a request.
//!
//! A URL knows only text, JSON knows types: the contract says which. What comes out goes through
//! [`crate::json`] like the body of a request, so both make the same mistakes with the same words.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use crate::{POOL, json::JsonError, validation::Violation};

/// Puts `text` into the field that `path` names (`task_id`, `task.id`, `updateMask`), into the request
/// `full_name`. A repeated field grows by it.
///
/// # Errors
/// When the message or the field is unknown, when the text is no value of the field's type, or when a field
/// that takes one value already has one.
pub fn place(full_name: &str, request: &mut Map<String, Value>, path: &str, text: &str) -> Result<(), JsonError> {
    match put(full_name, request, path, text)? {
        None => Ok(()),
        Some(_) => Err(JsonError::Field(Violation::new(path, "DUPLICATE", "is given twice"))),
    }
}

/// As [`place`], but the text takes the place of a value that is there: a variable of the path says more than
/// the body does.
///
/// # Errors
/// As [`place`], but for the last; and when what was there is of another type, which would be a mistake without the text.
pub fn replace(full_name: &str, request: &mut Map<String, Value>, path: &str, text: &str) -> Result<(), JsonError> {
    let wrong = JsonError::Field(Violation::new(path, "INVALID_FORMAT", "has a value of the wrong type"));
    match put(full_name, request, path, text)? {
        None | Some(Value::Null | Value::String(_)) => Ok(()),
        // JSON of protobuf takes a number for an integer, and none for a text.
        Some(Value::Number(_)) if is_number(full_name, path) => Ok(()),
        Some(_) => Err(wrong),
    }
}

/// Whether the field of the message holds a number.
fn is_number(full_name: &str, name: &str) -> bool {
    let field = POOL.get_message_by_name(full_name).and_then(|descriptor| find(&descriptor, name));
    field.is_some_and(|field| !matches!(field.kind(), Kind::String | Kind::Bytes | Kind::Bool | Kind::Message(_)))
}

/// Answers the value whose place the text took.
fn put(full_name: &str, request: &mut Map<String, Value>, path: &str, text: &str) -> Result<Option<Value>, JsonError> {
    let descriptor =
        POOL.get_message_by_name(full_name).ok_or_else(|| JsonError::UnknownMessage(full_name.to_owned()))?;
    let wrong = |reason, description: &str| JsonError::Field(Violation::new(path, reason, description));
    let mut object = request;
    let mut field = find(&descriptor, path.split('.').next().unwrap_or_default())
        .ok_or_else(|| wrong("UNKNOWN_FIELD", "is not a field of this request"))?;
    for name in path.split('.').skip(1) {
        let inner = match field.kind() {
            Kind::Message(inner) if !field.is_list() && !is_text(&inner) => find(&inner, name),
            _ => None,
        };
        let inner = inner.ok_or_else(|| wrong("UNKNOWN_FIELD", "is not a field of this request"))?;
        let key = spelling(object, &field);
        object = object
            .entry(key)
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
            .ok_or_else(|| wrong("INVALID_FORMAT", "must be an object"))?;
        field = inner;
    }
    let value = value(&field, text).ok_or_else(|| wrong("INVALID_FORMAT", expected(&field)))?;
    let key = spelling(object, &field);
    if field.is_list() {
        object
            .entry(key)
            .or_insert_with(|| Value::Array(Vec::new()))
            .as_array_mut()
            .ok_or_else(|| wrong("INVALID_FORMAT", "must be an array"))?
            .push(value);
        return Ok(None);
    }
    Ok(object.insert(key, value))
}

/// Whether the message `full_name` has this field.
#[must_use]
pub fn has(full_name: &str, name: &str) -> bool {
    POOL.get_message_by_name(full_name).is_some_and(|descriptor| find(&descriptor, name).is_some())
}

fn find(descriptor: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    descriptor.get_field_by_json_name(name).or_else(|| descriptor.get_field_by_name(name))
}

/// The key under which the object has the field already, or the one of JSON.
fn spelling(object: &Map<String, Value>, field: &FieldDescriptor) -> String {
    let name = if object.contains_key(field.name()) { field.name() } else { field.json_name() };
    name.to_owned()
}

/// Messages that are one text in JSON.
fn is_text(descriptor: &MessageDescriptor) -> bool {
    matches!(
        descriptor.full_name(),
        "google.protobuf.Timestamp" | "google.protobuf.Duration" | "google.protobuf.FieldMask"
    )
}

/// The JSON value that the text stands for; nothing when it stands for none.
fn value(field: &FieldDescriptor, text: &str) -> Option<Value> {
    match field.kind() {
        Kind::Bool => text.parse().ok().map(Value::Bool),
        Kind::Message(descriptor) if descriptor.full_name() == "google.protobuf.FieldMask" => {
            Some(Value::String(camel(text)))
        }
        Kind::Message(descriptor) if !is_text(&descriptor) => None,
        Kind::Enum(_) => Some(text.parse::<i32>().map_or_else(|_| Value::from(text), Value::from)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => text.parse::<i32>().ok().map(Value::from),
        Kind::Uint32 | Kind::Fixed32 => text.parse::<u32>().ok().map(Value::from),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => text.parse::<i64>().ok().map(Value::from),
        Kind::Uint64 | Kind::Fixed64 => text.parse::<u64>().ok().map(Value::from),
        Kind::Double | Kind::Float => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from),
        Kind::String | Kind::Bytes | Kind::Message(_) => Some(Value::from(text)),
    }
}

/// What a value of the field looks like in a URL.
fn expected(field: &FieldDescriptor) -> &'static str {
    match field.kind() {
        Kind::Bool => "must be true or false",
        Kind::Message(_) => "can not stand in a URL: name one of its fields",
        Kind::Double | Kind::Float => "must be a number",
        _ => "must be a whole number in the range of its type",
    }
}

/// A field, or a mask of fields, as JSON spells it: `due_time` is `dueTime` there.
#[must_use]
pub fn camel(mask: &str) -> String {
    let mut spelled = String::with_capacity(mask.len());
    let mut characters = mask.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('_', Some(next)) if next.is_ascii_lowercase() => {
                spelled.push(next.to_ascii_uppercase());
                characters.next();
            }
            _ => spelled.push(character),
        }
    }
    spelled
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::json;

    const LIST: &str = "errand.task.v1.ListTasksRequest";
    const UPDATE: &str = "errand.task.v1.UpdateTaskRequest";

    fn placed(full_name: &str, pairs: &[(&str, &str)]) -> Result<Value, JsonError> {
        let mut request = Map::new();
        pairs.iter().try_for_each(|(path, text)| place(full_name, &mut request, path, text))?;
        let request = Value::Object(request);
        json::to_bytes(full_name, &request)?;
        Ok(request)
    }

    fn wrong(full_name: &str, pairs: &[(&str, &str)]) -> (String, &'static str) {
        match placed(full_name, pairs) {
            Err(JsonError::Field(violation)) => (violation.field, violation.reason),
            other => panic!("{pairs:?} gave {other:?}"),
        }
    }

    #[test]
    fn text_becomes_a_value_of_its_fields_type_in_either_spelling() {
        let pairs = [("page_size", "5"), ("completed", "true"), ("dueAfter", "2026-11-22T00:00:00Z"), ("label", "a b")];
        let expected = json!({"pageSize": 5, "completed": true, "dueAfter": "2026-11-22T00:00:00Z", "label": "a b"});
        assert_eq!(placed(LIST, &pairs).unwrap(), expected);
        let pairs = [("task.id", "x"), ("task.labels", "a"), ("task.labels", "b"), ("updateMask", "due_time,title")];
        let expected = json!({"task": {"id": "x", "labels": ["a", "b"]}, "updateMask": "dueTime,title"});
        assert_eq!(placed(UPDATE, &pairs).unwrap(), expected);
    }

    #[test]
    fn a_text_takes_the_place_of_another_and_hides_no_mistake() {
        let over = |value: Value| {
            let mut request = Map::from_iter([("request_id".to_owned(), value)]);
            replace(UPDATE, &mut request, "requestId", "b").map(|()| Value::Object(request))
        };
        for fine in [json!("a"), json!(null)] {
            assert_eq!(over(fine), Ok(json!({"request_id": "b"})));
        }
        for wrong in [json!({}), json!([]), json!(true), json!(0)] {
            assert!(matches!(over(wrong), Err(JsonError::Field(violation)) if violation.field == "requestId"));
        }
    }

    #[test]
    fn a_parameter_that_is_wrong_is_named_by_its_path() {
        assert_eq!(wrong(LIST, &[("nope", "1")]), ("nope".to_owned(), "UNKNOWN_FIELD"));
        assert_eq!(wrong(LIST, &[("completed", "yes")]), ("completed".to_owned(), "INVALID_FORMAT"));
        assert_eq!(wrong(LIST, &[("page_size", "many")]), ("page_size".to_owned(), "INVALID_FORMAT"));
        assert_eq!(wrong(LIST, &[("page_size", "1"), ("pageSize", "2")]), ("pageSize".to_owned(), "DUPLICATE"));
        assert_eq!(wrong(UPDATE, &[("task", "x")]), ("task".to_owned(), "INVALID_FORMAT"));
        assert_eq!(wrong(UPDATE, &[("task.title.x", "x")]), ("task.title.x".to_owned(), "UNKNOWN_FIELD"));
    }
}
