//! Turns `buf.validate` rules into plain Rust. A rule that is not known here fails the build, so
//! that no rule of a contract is silently left out. Rules that compare fields live in `domain`.

use std::{collections::BTreeSet, fmt::Write};

use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    OneofDescriptor, ReflectMessage, Value,
};

pub(crate) fn generate(pool: &DescriptorPool) -> Result<String, String> {
    let field_rules =
        pool.get_extension_by_name("buf.validate.field").ok_or("the extension buf.validate.field is missing")?;
    let methods = || {
        pool.services()
            .filter(|service| service.package_name().starts_with("errand."))
            .flat_map(|service| service.methods().collect::<Vec<_>>())
    };
    let inputs: BTreeSet<String> = methods().map(|method| method.input().full_name().to_owned()).collect();
    let outputs: BTreeSet<String> = methods().map(|method| method.output().full_name().to_owned()).collect();

    let mut code = String::new();
    for message in pool.all_messages().filter(|message| message.package_name().starts_with("errand.")) {
        let body = checks(&message, &field_rules)?;
        let (at, out) = if body.is_empty() { ("_", "_") } else { ("at", "out") };
        writeln!(
            code,
            "impl Validate for {} {{\n    fn check(&self, {at}: &At<'_>, {out}: &mut Vec<Violation>) {{\n{body}    }}\n}}\n",
            rust_path(message.full_name())
        )
        .map_err(|error| error.to_string())?;
    }
    for input in &inputs {
        writeln!(
            code,
            "impl Incoming for {} {{\n    fn violations(&self) -> Vec<Violation> {{ validate(self) }}\n}}\n",
            rust_path(input)
        )
        .map_err(|error| error.to_string())?;
    }
    for output in outputs.difference(&inputs) {
        writeln!(code, "impl Incoming for {} {{}}\n", rust_path(output)).map_err(|error| error.to_string())?;
    }
    Ok(code)
}

fn checks(message: &MessageDescriptor, field_rules: &ExtensionDescriptor) -> Result<String, String> {
    let mut code = String::new();
    for oneof in message.oneofs().filter(|oneof| oneof_is_required(oneof, message)) {
        let names: Vec<_> = oneof.fields().map(|field| field.json_name().to_owned()).collect();
        line(&mut code, format!("one_of(self.{}.is_some(), &{names:?}, at, out);", rust_field(oneof.name())));
    }
    for field in message.fields() {
        let options = field.options();
        let rules = options.has_extension(field_rules).then(|| options.get_extension(field_rules).into_owned());
        let rules = rules.as_ref().and_then(Value::as_message);
        field_checks(&field, rules, &mut code).map_err(|error| format!("{}: {error}", field.full_name()))?;
    }
    Ok(code)
}

/// Whether one of the fields must be set.
fn oneof_is_required(oneof: &OneofDescriptor, message: &MessageDescriptor) -> bool {
    let extension = message.parent_pool().get_extension_by_name("buf.validate.oneof");
    extension.is_some_and(|extension| {
        let options = oneof.options();
        options.has_extension(&extension) && bool_rule(options.get_extension(&extension).as_message(), "required")
    })
}

fn field_checks(field: &FieldDescriptor, rules: Option<&DynamicMessage>, code: &mut String) -> Result<(), String> {
    let json = field.json_name();
    let value = format!("self.{}", rust_field(field.name()));
    for (rule, _) in set_fields(rules) {
        // `field_mask.in` is for schemas: what is wrong with another path, `domain` says, where read-only is told from unknown.
        if !["required", "string", "int32", "enum", "repeated", "field_mask"].contains(&rule.as_str()) {
            return Err(format!("the rule {rule} is not supported"));
        }
    }
    if field.cardinality() == Cardinality::Repeated {
        let repeated = sub(rules, "repeated");
        for (rule, setting) in set_fields(repeated.as_ref()) {
            match rule.as_str() {
                "max_items" => {
                    line(code, format!("most_items({value}.len(), {}, {json:?}, at, out);", number(&setting)?));
                }
                "min_items" => {
                    line(code, format!("least_items({value}.len(), {}, {json:?}, at, out);", number(&setting)?));
                }
                "unique" => line(code, format!("unique(&{value}, {json:?}, at, out);")),
                "items" => {}
                other => return Err(format!("the rule repeated.{other} is not supported")),
            }
        }
        let items = sub(repeated.as_ref(), "items");
        let mut inner = String::new();
        scalar_checks(&field.kind(), items.as_ref(), "item", "&At::Item(at, NAME, index)", &mut inner)?;
        if message_of_ours(&field.kind()).is_some() {
            inner.push_str("item.check(&At::Item(at, NAME, index), out);\n");
        }
        if !inner.is_empty() {
            let inner = inner.replace("NAME", &format!("{json:?}"));
            line(code, format!("for (index, item) in {value}.iter().enumerate() {{\n{inner}}}"));
        }
        return Ok(());
    }
    if let Some(oneof) = field.containing_oneof().filter(|_| !field.field_descriptor_proto().proto3_optional()) {
        let mut inner = String::new();
        scalar_checks(&field.kind(), rules, "inner", &format!("&At::Field(at, {json:?})"), &mut inner)?;
        if message_of_ours(&field.kind()).is_some() {
            inner.push_str(&format!("inner.check(&At::Field(at, {json:?}), out);\n"));
        }
        if !inner.is_empty() {
            let variant = format!(
                "{}::{}::{}",
                rust_module(field.parent_message().full_name()),
                camel_case(oneof.name()),
                camel_case(field.name())
            );
            let value = format!("self.{}", rust_field(oneof.name()));
            line(code, format!("if let Some({variant}(inner)) = &{value} {{\n{inner}}}"));
        }
        return Ok(());
    }
    if let Kind::Message(_) = field.kind() {
        if bool_rule(rules, "required") {
            line(code, format!("required({value}.is_some(), {json:?}, at, out);"));
        }
        if message_of_ours(&field.kind()).is_some() {
            line(code, format!("if let Some(inner) = &{value} {{ inner.check(&At::Field(at, {json:?}), out); }}"));
        }
        return Ok(());
    }
    let mut inner = String::new();
    let optional = field.field_descriptor_proto().proto3_optional();
    let (name, access) =
        if optional { ("inner", format!("if let Some(inner) = &{value} ")) } else { ("FIELD", String::new()) };
    scalar_checks(&field.kind(), rules, name, &format!("&At::Field(at, {json:?})"), &mut inner)?;
    if !inner.is_empty() {
        let inner = inner.replace("FIELD", &format!("&{value}"));
        line(code, format!("{access}{{\n{inner}}}"));
    }
    Ok(())
}

/// Checks of one scalar, which the generated code reaches by reference as `name`.
fn scalar_checks(
    kind: &Kind,
    rules: Option<&DynamicMessage>,
    name: &str,
    at: &str,
    code: &mut String,
) -> Result<(), String> {
    match kind {
        Kind::String => {
            for (rule, setting) in set_fields(sub(rules, "string").as_ref()) {
                let check = match rule.as_str() {
                    "min_len" => format!("least_characters({name}, {}, {at}, out);", number(&setting)?),
                    "max_len" => format!("most_characters({name}, {}, {at}, out);", number(&setting)?),
                    "max_bytes" => format!("most_bytes({name}, {}, {at}, out);", number(&setting)?),
                    "pattern" => {
                        let pattern = setting.as_str().ok_or("pattern is not a string")?;
                        format!(
                            "{{ static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new({pattern:?}).ok()); \
                             matches({name}, &PATTERN, {at}, out); }}"
                        )
                    }
                    other => return Err(format!("the rule string.{other} is not supported")),
                };
                line(code, check);
            }
        }
        Kind::Int32 => {
            for (rule, setting) in set_fields(sub(rules, "int32").as_ref()) {
                match rule.as_str() {
                    "gte" => line(code, format!("at_least({name}, {}, {at}, out);", number(&setting)?)),
                    other => return Err(format!("the rule int32.{other} is not supported")),
                }
            }
        }
        Kind::Enum(descriptor) => {
            for (rule, _) in set_fields(sub(rules, "enum").as_ref()) {
                match rule.as_str() {
                    "defined_only" => {
                        line(code, format!("defined::<{}>({name}, {at}, out);", rust_path(descriptor.full_name())));
                    }
                    other => return Err(format!("the rule enum.{other} is not supported")),
                }
            }
        }
        _ if set_fields(rules).is_empty() => {}
        other => return Err(format!("rules for {other:?} are not supported")),
    }
    Ok(())
}

fn line(code: &mut String, text: impl AsRef<str>) {
    code.push_str("        ");
    code.push_str(text.as_ref());
    code.push('\n');
}

fn set_fields(message: Option<&DynamicMessage>) -> Vec<(String, Value)> {
    message
        .map(|message| message.fields().map(|(field, value)| (field.name().to_owned(), value.clone())).collect())
        .unwrap_or_default()
}

fn sub(message: Option<&DynamicMessage>, name: &str) -> Option<DynamicMessage> {
    let message = message?;
    let field = message.descriptor().get_field_by_name(name)?;
    message.has_field(&field).then(|| message.get_field(&field).as_message().cloned()).flatten()
}

fn bool_rule(message: Option<&DynamicMessage>, name: &str) -> bool {
    message.and_then(|message| message.get_field_by_name(name).and_then(|value| value.as_bool())).unwrap_or(false)
}

fn number(value: &Value) -> Result<String, String> {
    match value {
        Value::U64(number) => Ok(number.to_string()),
        Value::I32(number) => Ok(number.to_string()),
        other => Err(format!("{other:?} is not a number")),
    }
}

fn message_of_ours(kind: &Kind) -> Option<String> {
    kind.as_message().map(|message| message.full_name().to_owned()).filter(|name| name.starts_with("errand."))
}

fn rust_path(full_name: &str) -> String {
    format!("crate::{}", full_name.replace('.', "::"))
}

/// The module that holds what is declared inside a message, `UndoChangesRequest` as `undo_changes_request`.
fn rust_module(full_name: &str) -> String {
    let path = rust_path(full_name);
    let (package, message) = path.rsplit_once("::").unwrap_or(("crate", &path));
    let mut module = String::new();
    for (index, letter) in message.char_indices() {
        if index > 0 && letter.is_ascii_uppercase() {
            module.push('_');
        }
        module.push(letter.to_ascii_lowercase());
    }
    format!("{package}::{module}")
}

/// The variant of a field of a oneof, `turn_id` as `TurnId`.
fn camel_case(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(1.min(word.len()));
        first.to_ascii_uppercase() + rest
    };
    name.split('_').map(word).collect()
}

fn rust_field(name: &str) -> String {
    if ["use", "type", "match", "ref", "move"].contains(&name) { format!("r#{name}") } else { name.to_owned() }
}
