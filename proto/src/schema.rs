//! The contracts as JSON Schema (2020-12): what a message looks like in JSON, with the limits of its rules and the
//! comments of the contract.
//!
//! For who describes the contracts to others, OpenAPI and tools. Nothing is checked by it: the generated
//! rules do that, from the same options.

mod field;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::LazyLock,
};

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, OneofDescriptor};
use serde_json::{Map, Value, json};

use crate::{POOL, contract::METHODS};

use field::{of_field, option, text};

/// `field_behavior` of a field that must be given, and of one that only answers carry (google/api/field_behavior.proto).
const REQUIRED: i32 = 2;
const OUTPUT_ONLY: i32 = 3;

/// What a message is sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// To be what it says.
    Whole,
    /// To change the fields that it has (AIP-134): none must be given, and an empty text is one that is not given.
    Changes,
    /// As `Changes`, and its id says of which one.
    NamedChanges,
}

/// The comments before things, by file and place in it.
static COMMENTS: LazyLock<HashMap<(String, Vec<i32>), String>> = LazyLock::new(|| {
    let mut comments = HashMap::new();
    for file in POOL.files() {
        let info = file.file_descriptor_proto().source_code_info.clone().unwrap_or_default();
        for location in info.location {
            if let Some(text) = location.leading_comments {
                comments.insert((file.name().to_owned(), location.path), flowing(&text));
            }
        }
    }
    comments
});

/// The names of messages and enums where schemas refer to each other: short, and with the package's word before it
/// where two are called the same.
static NAMES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let full: Vec<String> = POOL
        .all_messages()
        .map(|message| message.full_name().to_owned())
        .chain(POOL.all_enums().map(|values| values.full_name().to_owned()))
        .filter(|name| name.starts_with("errand."))
        .collect();
    let short = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let twice = |name: &str| full.iter().filter(|other| short(other) == short(name)).count() > 1;
    let word = |name: &str| {
        let word = name.split('.').nth(1).unwrap_or_default();
        let (first, rest) = word.split_at(word.len().min(1));
        format!("{}{rest}", first.to_ascii_uppercase())
    };
    full.iter()
        .map(|name| (name.clone(), if twice(name) { format!("{}{}", word(name), short(name)) } else { short(name) }))
        .collect()
});

/// The schemas of these messages and of all that they hold, by name. `reference` says where a schema of that name
/// is found, `#/components/schemas/` for OpenAPI.
#[must_use]
pub fn schemas<'a>(messages: impl IntoIterator<Item = &'a str>, reference: &str) -> Map<String, Value> {
    let mut schemas = Map::new();
    let mut waiting: Vec<String> = messages.into_iter().map(str::to_owned).collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let schema = if let Some(message) = POOL.get_message_by_name(&name) {
            waiting.extend(message.fields().filter_map(|field| held(&field.kind())));
            if let Some(changed) = changed(&message) {
                schemas.insert(name_of_changes(&changed), of_message(&changed, &[], Sent::Changes, reference));
            }
            of_message(&message, &[], Sent::Whole, reference)
        } else if let Some(values) = POOL.get_enum_by_name(&name) {
            of_enum(&values)
        } else {
            continue;
        };
        schemas.insert(name_of(&name), schema);
    }
    schemas.sort_keys();
    schemas
}

/// The schema of one message, without the fields that are said elsewhere.
#[must_use]
pub fn without(full_name: &str, fields: &[&str], reference: &str) -> Value {
    POOL.get_message_by_name(full_name)
        .map_or(Value::Null, |message| of_message(&message, fields, Sent::Whole, reference))
}

/// Whether a message has a field that must be given, beside these, or fields of which one must be given.
#[must_use]
pub fn requires(full_name: &str, beside: &[&str]) -> bool {
    POOL.get_message_by_name(full_name).is_some_and(|message| {
        message.oneofs().any(|oneof| oneof_is_required(&oneof))
            || message.fields().any(|field| behaves(&field, REQUIRED) && !beside.contains(&field.name()))
    })
}

/// Whether the field of this name must be given in a message.
#[must_use]
pub fn is_required(full_name: &str, name: &str) -> bool {
    let field = POOL.get_message_by_name(full_name).and_then(|message| message.get_field_by_name(name));
    field.is_some_and(|field| behaves(&field, REQUIRED))
}

/// A reference to the schema of a message.
#[must_use]
pub fn refer(full_name: &str, reference: &str) -> Value {
    json!({ "$ref": format!("{reference}{}", name_of(full_name)) })
}

/// The fields of a message that can stand in a URL: their name in JSON, whether they must be given, and their schema.
#[must_use]
pub fn parameters(full_name: &str, reference: &str) -> Vec<(String, bool, Value)> {
    let fields = POOL.get_message_by_name(full_name).map(|message| message.fields().collect::<Vec<_>>());
    let fields = fields
        .unwrap_or_default()
        .into_iter()
        .filter(|field| !matches!(field.kind(), Kind::Message(message) if text(&message).is_none()));
    fields
        .map(|field| {
            (field.json_name().to_owned(), behaves(&field, REQUIRED), of_field(&field, Sent::Whole, reference))
        })
        .collect()
}

/// The message in a field, by the path of the field: `task` of `CreateTaskRequest`; the schema of a plain field
/// by `task.id`.
#[must_use]
pub fn field(full_name: &str, path: &str, reference: &str) -> Option<Value> {
    let mut message = POOL.get_message_by_name(full_name)?;
    let (parents, last) = path.rsplit_once('.').map_or((None, path), |(parents, last)| (Some(parents), last));
    for name in parents.into_iter().flat_map(|parents| parents.split('.')) {
        message = match message.get_field_by_name(name)?.kind() {
            Kind::Message(inner) => inner,
            _ => return None,
        };
    }
    Some(of_field(&message.get_field_by_name(last)?, Sent::Whole, reference))
}

/// What the contract says of a method: the first sentence, and all of it.
#[must_use]
pub fn comment_of(method: &MethodDescriptor) -> (String, String) {
    let text = comment(method.parent_service().parent_file().name(), method.path());
    let first = text.split_once(". ").map_or(text.as_str(), |(first, _)| first);
    (first.trim_end_matches('.').replace('\n', " "), text.clone())
}

/// What the contract says of a service.
#[must_use]
pub fn comment_of_service(full_name: &str) -> String {
    let service = POOL.get_service_by_name(full_name);
    service.map(|service| comment(service.parent_file().name(), service.path())).unwrap_or_default()
}

fn name_of(full_name: &str) -> String {
    NAMES.get(full_name).cloned().unwrap_or_else(|| full_name.to_owned())
}

/// The message or enum of ours that a field holds.
fn held(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Message(message) if NAMES.contains_key(message.full_name()) => Some(message.full_name().to_owned()),
        Kind::Enum(values) => Some(values.full_name().to_owned()),
        _ => None,
    }
}

fn name_of_changes(message: &MessageDescriptor) -> String {
    format!("{}Changes", name_of(message.full_name()))
}

/// The message whose fields a request with an update mask changes.
fn changed(message: &MessageDescriptor) -> Option<MessageDescriptor> {
    let is_mask = |field: &FieldDescriptor| matches!(field.kind(), Kind::Message(inner) if inner.full_name() == "google.protobuf.FieldMask");
    message.fields().find(is_mask)?;
    message.fields().find_map(|field| match field.kind() {
        Kind::Message(inner) if NAMES.contains_key(inner.full_name()) => Some(inner),
        _ => None,
    })
}

/// The schema of the message in a field.
fn of_held(field: &FieldDescriptor, message: &MessageDescriptor, reference: &str) -> Value {
    let parent = field.parent_message();
    if changed(parent).as_ref() != Some(message) {
        return refer(message.full_name(), reference);
    }
    if METHODS.iter().any(|method| method.input == parent.full_name()) {
        // Which one it is stands in the path, or there is only one.
        return json!({ "$ref": format!("{reference}{}", name_of_changes(message)) });
    }
    of_message(message, &[], Sent::NamedChanges, reference)
}

fn of_message(message: &MessageDescriptor, left_out: &[&str], sent: Sent, reference: &str) -> Value {
    let fields: Vec<_> = message.fields().filter(|field| !left_out.contains(&field.name())).collect();
    let properties =
        Map::from_iter(fields.iter().map(|field| (field.json_name().to_owned(), of_field(field, sent, reference))));
    let is_required = |field: &&FieldDescriptor| match sent {
        Sent::Whole => behaves(field, REQUIRED),
        Sent::Changes => false,
        Sent::NamedChanges => field.name() == "id",
    };
    let required: Vec<_> = fields.iter().filter(is_required).map(|field| field.json_name().to_owned()).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let description = comment(message.parent_file().name(), message.path());
    let Some(object) = schema.as_object_mut() else { return schema };
    if !description.is_empty() {
        object.insert("description".to_owned(), description.into());
    }
    if !required.is_empty() {
        object.insert("required".to_owned(), required.into());
    }
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        let names: Vec<_> = oneof.fields().map(|field| field.json_name().to_owned()).collect();
        if oneof_is_required(&oneof) {
            // Exactly one of them is given.
            object.insert("oneOf".to_owned(), names.iter().map(|name| json!({ "required": [name] })).collect());
            continue;
        }
        // At most one of them is given.
        let pairs = names.iter().enumerate().flat_map(|(at, first)| {
            let not = |other: &String| json!({ "not": { "required": [first, other], "properties": { first: {}, other: {} } } });
            names.iter().skip(at + 1).map(not).collect::<Vec<_>>()
        });
        object.insert("allOf".to_owned(), pairs.collect());
    }
    schema
}

fn of_enum(values: &EnumDescriptor) -> Value {
    let names: Vec<_> = values.values().map(|value| value.name().to_owned()).collect();
    json!({ "type": "string", "enum": names, "description": comment(values.parent_file().name(), values.path()) })
}

fn oneof_is_required(oneof: &OneofDescriptor) -> bool {
    let rules = option("buf.validate.oneof", &oneof.options());
    let required = rules.as_ref().and_then(|rules| rules.as_message()?.get_field_by_name("required")?.as_bool());
    required.unwrap_or_default()
}

fn behaves(field: &FieldDescriptor, behaviour: i32) -> bool {
    let values = option("google.api.field_behavior", &field.options());
    let values = values.as_ref().and_then(|values| values.as_list()).unwrap_or_default();
    values.iter().any(|value| value.as_enum_number() == Some(behaviour))
}

fn comment(file: &str, path: &[i32]) -> String {
    COMMENTS.get(&(file.to_owned(), path.to_vec())).cloned().unwrap_or_default()
}

/// Lines of a comment as paragraphs.
fn flowing(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let lines: Vec<_> = paragraph.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.join("\n")
    });
    paragraphs.filter(|paragraph| !paragraph.is_empty()).collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "#/x/";

    fn all() -> Map<String, Value> {
        schemas(crate::contract::METHODS.iter().flat_map(|method| [method.input, method.output]), HERE)
    }

    #[test]
    fn a_schema_says_the_limits_and_the_comments_of_the_contract() {
        let schemas = all();
        let title = &schemas["Task"]["properties"]["title"];
        assert_eq!((&title["type"], &title["maxLength"]), (&json!("string"), &json!(200)));
        let email = &schemas["SignUpRequest"]["properties"]["email"];
        assert_eq!((&email["minLength"], &email["maxLength"]), (&json!(3), &json!(254)));
        assert!(title["description"].as_str().is_some_and(|text| !text.is_empty()));
        assert_eq!(schemas["Task"]["properties"]["id"]["readOnly"], true);
        let labels = &schemas["Task"]["properties"]["labels"];
        assert_eq!((&labels["maxItems"], &labels["items"]["maxLength"]), (&json!(20), &json!(50)));
        assert_eq!(schemas["ListTasksRequest"]["properties"]["pageSize"]["minimum"], 0);
        assert_eq!(schemas["GetTaskRequest"]["required"], json!(["taskId"]));
        assert_eq!(schemas["UndoChangesRequest"]["oneOf"][0]["required"], json!(["turnId"]));
        assert_eq!(schemas["WatchTasksResponse"]["allOf"][0]["not"]["required"], json!(["change", "handover"]));
    }

    #[test]
    fn every_reference_leads_somewhere_and_no_two_messages_share_a_name() {
        let schemas = all();
        let text = Value::Object(schemas.clone()).to_string();
        for rest in text.split("\"$ref\":\"#/x/").skip(1) {
            let name = rest.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        assert!(schemas.contains_key("TaskHandover") && schemas.contains_key("ChatHandover"));
    }

    #[test]
    fn what_is_sent_to_change_something_needs_nothing_but_an_id_where_no_path_names_it() {
        let schemas = all();
        let changes = &schemas["TaskChanges"];
        assert_eq!((&changes["required"], &changes["properties"]["id"]["readOnly"]), (&Value::Null, &json!(true)));
        let pattern = |schema: &Value| schema["properties"]["title"]["pattern"].as_str().unwrap().to_owned();
        assert!(pattern(changes).ends_with(")?$") && !pattern(&schemas["Task"]).ends_with(")?$"));
        assert_eq!(schemas["UpdateTaskRequest"]["properties"]["task"]["$ref"], "#/x/TaskChanges");
        let named = &schemas["TaskUpdate"]["properties"]["task"];
        assert_eq!((&named["required"], &named["properties"]["id"]["readOnly"]), (&json!(["id"]), &Value::Null));
        let mask = schemas["UpdateConversationRequest"]["properties"]["updateMask"]["pattern"].as_str().unwrap();
        assert_eq!(mask, "^((title)(,(title))*)?$");
        assert!(schemas["UpdateTaskRequest"]["properties"]["updateMask"].to_string().contains("|dueTime|"));
    }

    #[test]
    fn what_only_a_service_checks_is_said_by_the_contract() {
        let schemas = all();
        for (message, field, format) in [
            ("SignUpRequest", "email", "email"),
            ("SignUpRequest", "timeZone", "time-zone"),
            ("ListTasksRequest", "pageToken", "page-token"),
            ("WatchTasksRequest", "cursor", "cursor"),
        ] {
            assert_eq!(schemas[message]["properties"][field]["format"], format, "{message}.{field}");
        }
        assert_eq!(schemas["Task"]["properties"]["title"]["examples"], json!(["Buy milk"]));
        assert_eq!(schemas["Task"]["properties"]["labels"]["examples"], json!([["home"]]));
        assert!(schemas["ListTasksRequest"]["properties"]["orderBy"]["pattern"].to_string().contains("due_time"));
    }

    #[test]
    fn patterns_are_those_of_ecma() {
        for (name, schema) in all() {
            let text = schema.to_string();
            assert!(!text.contains(r"\\p{") && !text.contains(r"\\x{"), "{name}");
        }
    }
}
