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
            writeln!(
                rows,
                "    Method {{ path: {path:?}, service: {:?}, name: {:?}, access: Access::{access}, scope: Scope::{scope}, \
                 rate: RateClass::{rate}, server_streaming: {}, no_side_effects: {no_side_effects}, \
                 has_request_id: {has_request_id}, input: {:?}, output: {:?} }},",
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

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    format!("{first}{}", rest.to_ascii_lowercase())
}
