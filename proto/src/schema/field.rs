//! What stands in a field: its kind, the limits of its rules, and what the contract says of it beside.

use std::borrow::Cow;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value as Reflected};
use serde_json::{Value, json};

use super::{OUTPUT_ONLY, REQUIRED, Sent, behaves, comment, of_held, refer};
use crate::{POOL, query::camel};

/// What the options of Errand say of a text (errand/options/v1/options.proto).
struct Said {
    format: Option<String>,
    pattern: Option<String>,
    example: Option<String>,
}

impl Said {
    fn of(field: &FieldDescriptor) -> Self {
        let options = field.options();
        let said = |name: &str| {
            option(&format!("errand.options.v1.{name}"), &options).and_then(|value| value.as_str().map(str::to_owned))
        };
        Self { format: said("format"), pattern: said("pattern"), example: said("example") }
    }

    fn add_to(self, schema: &mut Value, is_list: bool, may_be_empty: bool) {
        if let Some(format) = self.format {
            schema["format"] = format.into();
        }
        if let Some(pattern) = self.pattern {
            let inner = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')).filter(|_| may_be_empty);
            let pattern = inner.map_or_else(|| pattern.clone(), |inner| format!("^({inner})?$"));
            set_pattern(schema, &pattern);
        }
        if let Some(example) = self.example {
            schema["examples"] = if is_list { json!([[example]]) } else { json!([example]) };
        }
    }
}

/// The schema of what stands in a field.
pub(super) fn of_field(field: &FieldDescriptor, sent: Sent, reference: &str) -> Value {
    let rules = rules(field);
    let mut schema = if field.is_list() {
        let repeated = sub(rules.as_ref(), "repeated");
        let items = repeated.as_ref().and_then(|rules| sub(Some(rules), "items"));
        let mut list = json!({ "type": "array", "items": of_kind(field, items.as_ref(), reference) });
        for (rule, word) in [("min_items", "minItems"), ("max_items", "maxItems"), ("unique", "uniqueItems")] {
            if let Some(value) = setting(repeated.as_ref(), rule) {
                list[word] = value;
            }
        }
        list
    } else {
        of_kind(field, rules.as_ref(), reference)
    };
    let said = Said::of(field);
    said.add_to(&mut schema, field.is_list(), sent != Sent::Whole && behaves(field, REQUIRED));
    let description = comment(field.parent_message().parent_file().name(), field.path());
    if !description.is_empty() {
        schema["description"] = description.into();
    }
    if behaves(field, OUTPUT_ONLY) && !(sent == Sent::NamedChanges && field.name() == "id") {
        schema["readOnly"] = true.into();
    }
    schema
}

fn of_kind(field: &FieldDescriptor, rules: Option<&DynamicMessage>, reference: &str) -> Value {
    match &field.kind() {
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
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.FieldMask" => of_mask(sub(rules, "field_mask").as_ref()),
            "google.protobuf.Struct" => json!({ "type": "object" }),
            "google.protobuf.Value" => json!({}),
            _ => text(message).unwrap_or_else(|| of_held(field, message, reference)),
        },
    }
}

/// Messages that are one text in JSON.
pub(super) fn text(message: &MessageDescriptor) -> Option<Value> {
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

/// The paths that a mask may have, spelled as in JSON.
fn of_mask(rules: Option<&DynamicMessage>) -> Value {
    let paths = rules.and_then(|rules| rules.get_field_by_name("in")).map(Cow::into_owned);
    let paths: Vec<_> =
        paths.iter().filter_map(Reflected::as_list).flatten().filter_map(Reflected::as_str).map(camel).collect();
    if paths.is_empty() {
        return json!({ "type": "string" });
    }
    let one = format!("({})", paths.join("|"));
    json!({ "type": "string", "pattern": format!("^({one}(,{one})*)?$"), "examples": [paths[0]] })
}

fn of_string(rules: Option<&DynamicMessage>) -> Value {
    let mut schema = json!({ "type": "string" });
    for (rule, word) in [("min_len", "minLength"), ("max_len", "maxLength")] {
        if let Some(value) = setting(rules, rule) {
            schema[word] = value;
        }
    }
    if let Some(Value::String(pattern)) = setting(rules, "pattern") {
        set_pattern(&mut schema, &pattern);
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

fn set_pattern(schema: &mut Value, pattern: &str) {
    if pattern.contains("[0-9a-f]{8}-") {
        schema["examples"] = json!(["01890000-0000-7000-8000-000000000001"]);
    }
    schema["pattern"] = ecma(pattern).into();
}

/// What an option says, when it is there.
pub(super) fn option(name: &str, options: &DynamicMessage) -> Option<Reflected> {
    let extension = POOL.get_extension_by_name(name)?;
    options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned())
}

fn rules(field: &FieldDescriptor) -> Option<DynamicMessage> {
    option("buf.validate.field", &field.options())?.as_message().cloned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_said_in_the_words_of_ecma() {
        assert_eq!(ecma(r"^[^\p{Cc}\x{2028}\x{9F}\x7F]*$"), r"^[^\u0000-\u001F\u007F-\u009F\u2028\u009F\x7F]*$");
    }
}
