//! The contract table: one row per rpc, from its options. A method that lacks one does not build.

use std::fmt::Write;

use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};

pub(crate) fn generate(pool: &DescriptorPool) -> Result<String, String> {
    let mut rows = String::new();
    let mut index = String::new();
    let mut count = 0;
    for service in pool.services().filter(|service| service.package_name().starts_with("errand.")) {
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            let options = method.options();
            let access = option(pool, &options, &method, "access", "ACCESS_")?;
            let scope = option(pool, &options, &method, "scope", "SCOPE_")?;
            let rate = option(pool, &options, &method, "rate", "RATE_CLASS_")?;
            if (access == "Public") != (scope == "None") {
                return Err(format!("{path}: SCOPE_NONE is for public methods, and for them only"));
            }
            if method.is_client_streaming() {
                return Err(format!("{path}: client streams are not served"));
            }
            let no_side_effects =
                options.get_field_by_name("idempotency_level").and_then(|level| level.as_enum_number()) == Some(1);
            let has_request_id = method.input().get_field_by_name("request_id").is_some();
            let http = http(pool, &options, &method)?;
            writeln!(
                rows,
                "    Method {{ path: {path:?}, service: {:?}, name: {:?}, access: Access::{access}, scope: Scope::{scope}, \
                 rate: RateClass::{rate}, server_streaming: {}, no_side_effects: {no_side_effects}, \
                 has_request_id: {has_request_id}, input: {:?}, output: {:?}, http: &[{http}] }},",
                service.full_name(),
                method.name(),
                method.is_server_streaming(),
                method.input().full_name(),
                method.output().full_name(),
            )
            .map_err(|error| error.to_string())?;
            writeln!(index, "        {path:?} => Some(&METHODS[{count}]),").map_err(|error| error.to_string())?;
            count += 1;
        }
    }
    Ok(format!(
        "/// Every rpc, in the order of the contracts.\npub static METHODS: [Method; {count}] = [\n{rows}];\n\n\
         fn lookup(path: &str) -> Option<&'static Method> {{\n    match path {{\n{index}        _ => None,\n    }}\n}}\n"
    ))
}

/// The value of one of our options as the name of the Rust variant, `SCOPE_TASKS_READ` as `TasksRead`.
fn option(
    pool: &DescriptorPool,
    options: &DynamicMessage,
    method: &MethodDescriptor,
    name: &str,
    prefix: &str,
) -> Result<String, String> {
    let extension = pool
        .get_extension_by_name(&format!("errand.options.v1.{name}"))
        .ok_or_else(|| format!("the extension errand.options.v1.{name} is missing"))?;
    let unclassified = || format!("{}: the option errand.options.v1.{name} is missing", method.full_name());
    if !options.has_extension(&extension) {
        return Err(unclassified());
    }
    let number = options.get_extension(&extension).as_enum_number().ok_or_else(unclassified)?;
    let kind = extension.kind();
    let values = kind.as_enum().ok_or_else(unclassified)?;
    let value = values.get_value(number).filter(|_| number != 0).ok_or_else(unclassified)?;
    Ok(value.name().trim_start_matches(prefix).split('_').map(capitalised).collect())
}

/// The method's `google.api.http` rules as Rust, the additional ones last; none for what REST does not have.
fn http(pool: &DescriptorPool, options: &DynamicMessage, method: &MethodDescriptor) -> Result<String, String> {
    let extension = pool.get_extension_by_name("google.api.http").ok_or("the extension google.api.http is missing")?;
    if !options.has_extension(&extension) {
        return Ok(String::new());
    }
    let rule = options.get_extension(&extension);
    let rule = rule.as_message().ok_or_else(|| format!("{}: google.api.http is no rule", method.full_name()))?;
    let mut rules = vec![http_rule(rule, method)?];
    if let Some(more) = rule.get_field_by_name("additional_bindings") {
        for one in more.as_list().unwrap_or_default() {
            let one = one.as_message().ok_or_else(|| format!("{}: a binding is no rule", method.full_name()))?;
            rules.push(http_rule(one, method)?);
        }
    }
    Ok(rules.join(", "))
}

fn http_rule(rule: &DynamicMessage, method: &MethodDescriptor) -> Result<String, String> {
    let text = |name: &str| {
        rule.get_field_by_name(name).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    if !text("response_body").is_empty() {
        return Err(format!("{}: an answer is always the whole message", method.full_name()));
    }
    let verbs = ["get", "put", "post", "delete", "patch"];
    let (verb, path) = verbs
        .into_iter()
        .map(|verb| (verb, text(verb)))
        .find(|(_, path)| !path.is_empty())
        .ok_or_else(|| format!("{}: a rule needs one of {}", method.full_name(), verbs.join(", ")))?;
    Ok(format!("HttpRule {{ verb: {:?}, path: {path:?}, body: {:?} }}", verb.to_ascii_uppercase(), text("body")))
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    format!("{first}{}", rest.to_ascii_lowercase())
}
