//! The contracts as JSON Schema (2020-12): what a message looks like in JSON, with the limits of its rules and the
//! comments of the contract.
//!
//! For who describes the contracts to others, OpenAPI and tools. Nothing is checked by it: the generated
//! rules do that, from the same options.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::LazyLock,
};

use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value as Reflected,
};
use serde_json::{Map, Value, json};

use crate::POOL;

/// `field_behavior` of a field that must be given, and of one that only answers carry (google/api/field_behavior.proto).
const REQUIRED: i32 = 2;
const OUTPUT_ONLY: i32 = 3;

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
            of_message(&message, &[], reference)
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
    POOL.get_message_by_name(full_name).map_or(Value::Null, |message| of_message(&message, fields, reference))
}

/// Whether a message has a field that must be given, beside these.
#[must_use]
pub fn requires(full_name: &str, beside: &[&str]) -> bool {
    POOL.get_message_by_name(full_name).is_some_and(|message| {
        message.fields().any(|field| behaves(&field, REQUIRED) && !beside.contains(&field.name()))
    })
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
    fields.map(|field| (field.json_name().to_owned(), behaves(&field, REQUIRED), of_field(&field, reference))).collect()
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
    Some(of_field(&message.get_field_by_name(last)?, reference))
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

fn of_message(message: &MessageDescriptor, left_out: &[&str], reference: &str) -> Value {
    let fields: Vec<_> = message.fields().filter(|field| !left_out.contains(&field.name())).collect();
    let properties =
        Map::from_iter(fields.iter().map(|field| (field.json_name().to_owned(), of_field(field, reference))));
    let required: Vec<_> =
        fields.iter().filter(|field| behaves(field, REQUIRED)).map(|field| field.json_name().to_owned()).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let description = comment(message.parent_file().name(), message.path());
    let Some(object) = schema.as_object_mut() else { return schema };
    if !description.is_empty() {
        object.insert("description".to_owned(), description.into());
    }
    if !required.is_empty() {
        object.insert("required".to_owned(), required.into());
    }
    // Of the fields of a oneof at most one is given.
    let mut pairs = Vec::new();
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        let names: Vec<_> = oneof.fields().map(|field| field.json_name().to_owned()).collect();
        for (at, first) in names.iter().enumerate() {
            pairs.extend(
                names.iter().skip(at + 1).map(
                    |other| json!({ "not": { "required": [first, other], "properties": { first: {}, other: {} } } }),
                ),
            );
        }
    }
    if !pairs.is_empty() {
        object.insert("allOf".to_owned(), pairs.into());
    }
    schema
}

fn of_enum(values: &EnumDescriptor) -> Value {
    let names: Vec<_> = values.values().map(|value| value.name().to_owned()).collect();
    json!({ "type": "string", "enum": names, "description": comment(values.parent_file().name(), values.path()) })
}

fn of_field(field: &FieldDescriptor, reference: &str) -> Value {
    let rules = rules(field);
    let mut schema = if field.is_list() {
        let repeated = sub(rules.as_ref(), "repeated");
        let items = repeated.as_ref().and_then(|rules| sub(Some(rules), "items"));
        let mut list = json!({ "type": "array", "items": of_kind(&field.kind(), items.as_ref(), reference) });
        for (rule, word) in [("min_items", "minItems"), ("max_items", "maxItems"), ("unique", "uniqueItems")] {
            if let Some(value) = setting(repeated.as_ref(), rule) {
                list[word] = value;
            }
        }
        list
    } else {
        of_kind(&field.kind(), rules.as_ref(), reference)
    };
    let description = comment(field.parent_message().parent_file().name(), field.path());
    if !description.is_empty() {
        schema["description"] = description.into();
    }
    if behaves(field, OUTPUT_ONLY) {
        schema["readOnly"] = true.into();
    }
    schema
}

fn of_kind(kind: &Kind, rules: Option<&DynamicMessage>, reference: &str) -> Value {
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::String => of_string(sub(rules, "string").as_ref()),
        Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => of_number("int32", sub(rules, "int32").as_ref()),
        Kind::Uint32 | Kind::Fixed32 => {
            json!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX })
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "type": "string", "format": "int64" }),
        Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "format": "uint64" }),
        Kind::Double | Kind::Float => json!({ "type": "number" }),
        Kind::Enum(values) => refer(values.full_name(), reference),
        Kind::Message(message) => text(message).unwrap_or_else(|| match message.full_name() {
            "google.protobuf.Struct" => json!({ "type": "object" }),
            "google.protobuf.Value" => json!({}),
            name => refer(name, reference),
        }),
    }
}

/// Messages that are one text in JSON.
fn text(message: &MessageDescriptor) -> Option<Value> {
    match message.full_name() {
        "google.protobuf.Timestamp" => {
            Some(json!({ "type": "string", "format": "date-time", "examples": ["2026-11-22T23:59:59Z"] }))
        }
        "google.protobuf.Duration" => {
            Some(json!({ "type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$", "examples": ["900s"] }))
        }
        "google.protobuf.FieldMask" => Some(json!({ "type": "string", "examples": ["title,dueTime"] })),
        _ => None,
    }
}

fn of_string(rules: Option<&DynamicMessage>) -> Value {
    let mut schema = json!({ "type": "string" });
    for (rule, word) in [("min_len", "minLength"), ("max_len", "maxLength")] {
        if let Some(value) = setting(rules, rule) {
            schema[word] = value;
        }
    }
    if let Some(Value::String(pattern)) = setting(rules, "pattern") {
        if pattern.contains("[0-9a-f]{8}-") {
            schema["examples"] = json!(["01890000-0000-7000-8000-000000000001"]);
        }
        schema["pattern"] = ecma(&pattern).into();
    }
    schema
}

fn of_number(format: &str, rules: Option<&DynamicMessage>) -> Value {
    let mut schema = json!({ "type": "integer", "format": format, "minimum": i32::MIN, "maximum": i32::MAX });
    for (rule, word) in [("gte", "minimum"), ("lte", "maximum")] {
        if let Some(value) = setting(rules, rule) {
            schema[word] = value;
        }
    }
    schema
}

/// A pattern in the words of ECMA 262, which JSON Schema asks for: code points of four digits, no classes by name.
fn ecma(pattern: &str) -> String {
    let mut spelled = pattern.replace(r"\p{Cc}", r"\u0000-\u001F\u007F-\u009F");
    while let Some(start) = spelled.find(r"\x{") {
        let Some(length) = spelled[start..].find('}') else { break };
        let digits = &spelled[start + 3..start + length];
        let replacement = format!(r"\u{digits:0>4}");
        spelled.replace_range(start..=start + length, &replacement);
    }
    spelled
}

fn rules(field: &FieldDescriptor) -> Option<DynamicMessage> {
    let extension = POOL.get_extension_by_name("buf.validate.field")?;
    let options = field.options();
    options.has_extension(&extension).then(|| options.get_extension(&extension).as_message().cloned()).flatten()
}

fn sub(rules: Option<&DynamicMessage>, name: &str) -> Option<DynamicMessage> {
    let rules = rules.filter(|rules| rules.has_field_by_name(name))?;
    rules.get_field_by_name(name)?.as_message().cloned()
}

fn setting(rules: Option<&DynamicMessage>, name: &str) -> Option<Value> {
    let rules = rules.filter(|rules| rules.has_field_by_name(name))?;
    match rules.get_field_by_name(name)?.into_owned() {
        Reflected::Bool(value) => Some(value.into()),
        Reflected::I32(value) => Some(value.into()),
        Reflected::U64(value) => Some(value.into()),
        Reflected::String(value) => Some(value.into()),
        _ => None,
    }
}

fn behaves(field: &FieldDescriptor, behaviour: i32) -> bool {
    let Some(extension) = POOL.get_extension_by_name("google.api.field_behavior") else { return false };
    let options = field.options();
    let values = options.get_extension(&extension);
    values.as_list().is_some_and(|values| values.iter().any(|value| value.as_enum_number() == Some(behaviour)))
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
        assert_eq!(schemas["UndoChangesRequest"]["allOf"][0]["not"]["required"], json!(["turnId", "range"]));
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
    fn patterns_are_those_of_ecma() {
        assert_eq!(ecma(r"^[^\p{Cc}\x{2028}\x{9F}\x7F]*$"), r"^[^\u0000-\u001F\u007F-\u009F\u2028\u009F\x7F]*$");
        for (name, schema) in all() {
            let text = schema.to_string();
            assert!(!text.contains(r"\\p{") && !text.contains(r"\\x{"), "{name}");
        }
    }
}
