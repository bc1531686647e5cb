//! One operation: what it takes, what it answers, and where an answer leads.

use errand_proto::{
    POOL,
    contract::{Access, HttpRule, METHODS, Method, RateClass},
    query, schema,
};
use serde_json::{Map, Value, json};

use super::{HERE, REFUSALS, rate_headers, reasons, refused};

/// The path of a rule; a field of a field is one word, so that two rules of one path are told as one.
pub(super) fn template(rule: &HttpRule) -> String {
    variables(rule).iter().fold(rule.path.to_owned(), |path, name| path.replace(name, &name.replace('.', "_")))
}

/// The word for a service: `task` for `errand.task.v1.TaskService`.
pub(super) fn tag(method: &Method) -> &'static str {
    method.service.split('.').nth(1).unwrap_or(method.service)
}

/// The operation of a rule.
pub(super) fn operation(method: &'static Method, rule: &'static HttpRule, place: usize) -> Value {
    let (summary, description) = POOL
        .get_service_by_name(method.service)
        .and_then(|service| service.methods().find(|one| one.name() == method.name))
        .map(|descriptor| schema::comment_of(&descriptor))
        .unwrap_or_default();
    let mut operation = json!({
        "operationId": name_of(method, place),
        "tags": [tag(method)],
        "summary": summary,
        "description": description,
        "parameters": parameters(method, rule),
        "responses": responses(method, rule),
    });
    if !rule.body.is_empty() {
        operation["requestBody"] = body(method, rule);
    }
    operation["security"] = match method.access {
        Access::Public => json!([]),
        Access::User => json!([{ "bearer": [] }]),
    };
    operation
}

/// The fields that the path of a rule fills.
fn variables(rule: &HttpRule) -> Vec<&'static str> {
    let pieces = rule.path.split('{').skip(1);
    pieces.filter_map(|piece| piece.split_once('}')).map(|(name, _)| name).collect()
}

fn parameters(method: &Method, rule: &HttpRule) -> Vec<Value> {
    let variables = variables(rule);
    let mut parameters: Vec<_> = variables
        .iter()
        .map(|name| {
            let mut schema = schema::field(method.input, name, HERE).unwrap_or_else(|| json!({ "type": "string" }));
            // A segment that is there is not empty.
            schema["minLength"] = 1.into();
            if let Some(schema) = schema.as_object_mut() {
                schema.remove("readOnly");
            }
            json!({ "name": name.replace('.', "_"), "in": "path", "required": true, "schema": schema })
        })
        .collect();
    if rule.body != "*" {
        for (name, required, schema) in schema::parameters(method.input, HERE) {
            if !variables.iter().any(|variable| query::camel(variable) == name) && query::camel(rule.body) != name {
                parameters.push(json!({ "name": name, "in": "query", "required": required, "schema": schema }));
            }
        }
    }
    parameters.extend(headers(method, rule));
    if method.server_streaming && method.no_side_effects {
        let description = "The `id` of the last event that was seen: the stream goes on after it.";
        let schema = json!({ "type": "string" });
        parameters
            .push(json!({ "name": "Last-Event-ID", "in": "header", "description": description, "schema": schema }));
    }
    parameters
}

fn body(method: &Method, rule: &HttpRule) -> Value {
    let schema = if rule.body == "*" {
        match variables(rule).as_slice() {
            [] => schema::refer(method.input, HERE),
            variables => schema::without(method.input, variables, HERE),
        }
    } else {
        schema::field(method.input, rule.body, HERE).unwrap_or_default()
    };
    // A body without a field that must be given may be left out.
    let required = match rule.body {
        "*" => schema::requires(method.input, &variables(rule)),
        field => schema::is_required(method.input, field),
    };
    json!({ "required": required, "content": { "application/json": { "schema": schema } } })
}

fn responses(method: &Method, rule: &HttpRule) -> Value {
    let mut responses = Map::new();
    if method.server_streaming {
        responses.insert(
            "200".to_owned(),
            json!({
                "description": "Server-sent events: each has the name of its case, its data is one message, its id the \
                    place to go on from. An event `error` carries a Status and is the last.",
                "headers": said_of_every_answer(method),
                "content": { "text/event-stream": { "schema": event(method) } },
            }),
        );
    } else {
        let makes = makes(method, rule);
        let (status, description) = if makes { ("201", "Made; `Location` says where") } else { ("200", "Done") };
        let content = json!({ "application/json": { "schema": schema::refer(method.output, HERE) } });
        let mut headers = said_of_every_answer(method);
        if query::has(method.output, "etag") {
            let schema = json!({ "type": "string", "examples": ["\"1f\""] });
            headers.insert("ETag".to_owned(), json!({ "schema": schema, "description": "The version" }));
        }
        if makes {
            // With `validateOnly` nothing is made.
            let tried = json!({ "description": "It could be made", "headers": headers, "content": content });
            responses.insert("200".to_owned(), tried);
            let schema = json!({ "type": "string", "format": "uri-reference" });
            headers.insert("Location".to_owned(), json!({ "schema": schema, "description": "Where it is" }));
        }
        let mut response = json!({ "description": description, "headers": headers, "content": content });
        let links = links(method, rule);
        if !links.is_empty() {
            response["links"] = links.into();
        }
        responses.insert(status.to_owned(), response);
        if method.no_side_effects && query::has(method.output, "etag") {
            responses
                .insert("304".to_owned(), json!({ "description": "It is the version that `If-None-Match` names" }));
        }
    }
    let applies = |status: &str| match status {
        "401" => method.access == Access::User || method.rate == RateClass::Credential,
        "412" | "409" | "507" => !method.no_side_effects,
        "413" | "415" => !rule.body.is_empty(),
        _ => true,
    };
    for (status, description) in REFUSALS.iter().filter(|(status, _)| applies(status)) {
        let own: Vec<_> = reasons::of(method).filter(|reason| reason.is_told_as(status)).collect();
        let response = if own.is_empty() {
            json!({ "$ref": format!("#/components/responses/Refused{status}") })
        } else {
            let general = reasons::of_all().filter(|reason| reason.is_told_as(status));
            let general = general.filter(|reason| own.iter().all(|one| one.name != reason.name));
            let all: Vec<_> = own.iter().copied().chain(general).collect();
            refused(status, description, &all)
        };
        responses.insert((*status).to_owned(), response);
    }
    Value::Object(responses)
}

/// The headers that any answer may have.
fn said_of_every_answer(method: &Method) -> Map<String, Value> {
    let mut headers = rate_headers();
    if method.has_request_id {
        let schema = json!({ "type": "string", "const": "true" });
        let description = "The `requestId` was answered before, to the caller or to a gateway that asked again, and this is that answer";
        headers.insert("idempotent-replayed".to_owned(), json!({ "schema": schema, "description": description }));
    }
    headers
}

/// One server-sent event of a stream, as OpenAPI 3.1 has no word for the stream itself.
fn event(method: &Method) -> Value {
    let message = schema::refer(method.output, HERE);
    let error = json!({ "$ref": format!("{HERE}Status") });
    json!({
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": { "type": "string", "description": "The name of the message's case, or `error`." },
            "id": { "type": "string", "description": "The place after it: send it back as `Last-Event-ID`." },
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": { "anyOf": [message, error] },
            },
        },
    })
}

/// What HTTP has headers for, and the contracts fields.
fn headers(method: &Method, rule: &HttpRule) -> Vec<Value> {
    let mut headers = Vec::new();
    let mut add = |name: &str, description: &str, schema: Value| {
        headers.push(json!({ "name": name, "in": "header", "description": description, "schema": schema }));
    };
    if let Some(schema) = schema::field(method.input, "request_id", HERE).filter(|_| method.has_request_id) {
        add("Idempotency-Key", "Another way to say `requestId`.", schema);
    }
    let has_etag =
        query::has(method.input, "etag") || schema::field(method.input, &format!("{}.etag", rule.body), HERE).is_some();
    if has_etag && !makes(method, rule) {
        let schema = json!({ "type": "string", "pattern": "^(\\*|\"[!#-~]{1,64}\")$", "examples": ["*"] });
        add("If-Match", "Another way to say `etag`: one entity tag. Another version is refused with 412.", schema);
    }
    if method.no_side_effects && query::has(method.output, "etag") {
        let schema = json!({ "type": "string", "examples": ["\"0\""] });
        add("If-None-Match", "The versions that the caller has: they are not sent again.", schema);
    }
    headers
}

/// Whether a call makes a resource (AIP-133).
fn makes(method: &Method, rule: &HttpRule) -> bool {
    method.name.starts_with("Create") && rule.verb == "POST"
}

/// The operations that an answer leads to: those on what was made or listed, and those whose path takes an id that the
/// answer has.
fn links(method: &Method, rule: &HttpRule) -> Map<String, Value> {
    let mut links = Map::new();
    let below = format!("{}/{{", rule.path);
    let list = POOL.get_message_by_name(method.output).and_then(|message| {
        let field = message.fields().find(|field| field.is_list() && method.name.starts_with("List"))?;
        Some(format!("{}/0/id", field.json_name()))
    });
    for other in METHODS.iter().filter(|other| other.path != method.path) {
        for (place, to) in other.http.iter().enumerate() {
            let [variable] = variables(to)[..] else { continue };
            let pointer = if query::has(method.output, variable) {
                query::camel(variable)
            } else if !to.path.starts_with(&below) {
                continue;
            } else if makes(method, rule) {
                "id".to_owned()
            } else if let Some(list) = &list {
                list.clone()
            } else {
                continue;
            };
            let name = format!("path.{}", variable.replace('.', "_"));
            let parameters = json!({ name: format!("$response.body#/{pointer}") });
            links.insert(
                name_of(other, place),
                json!({ "operationId": name_of(other, place), "parameters": parameters }),
            );
        }
    }
    links
}

/// The name of an operation: that of its method, numbered where it has several rules.
fn name_of(method: &Method, place: usize) -> String {
    if place == 0 { method.name.to_owned() } else { format!("{}{}", method.name, place + 1) }
}
