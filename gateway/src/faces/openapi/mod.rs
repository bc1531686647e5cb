//! What REST offers, for people and programs: an OpenAPI 3.1 document made from the contracts, and a page that shows
//! it and calls it.
//!
//! Comments, limits and paths are the contracts' own. Nothing is fetched from elsewhere.

use std::{collections::BTreeSet, sync::LazyLock};

use errand_proto::{
    POOL,
    contract::{Access, HttpRule, METHODS, Method, RateClass},
    schema,
};
use http::{
    HeaderValue, Response,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::Full;
use serde_json::{Map, Value, json};
use tonic::body::Body;

const HERE: &str = "#/components/schemas/";

/// What may go wrong before a call reaches its service, or in any of them.
const REFUSALS: [(&str, &str); 12] = [
    ("400", "The request is not valid, or what it asks for can not be done now"),
    ("401", "There is no access token, or it is not valid any more"),
    ("403", "The access token does not allow this"),
    ("404", "There is no such thing for this caller"),
    ("409", "It exists already, or was changed meanwhile"),
    ("412", "It is not the version that `If-Match` names"),
    ("413", "The request is larger than 4 MiB"),
    ("415", "The body is not JSON"),
    ("429", "Too much at once; `Retry-After` says when to try again"),
    ("503", "It can not be done right now; try again"),
    ("504", "It took longer than allowed; a write may have happened"),
    ("507", "There is no room left to write"),
];

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// The file that answers at this path: its type, and its text.
pub(crate) fn file(path: &str) -> Option<(&'static str, &'static str)> {
    match path {
        "/openapi.json" => Some(("application/json", DOCUMENT.as_str())),
        "/docs" => Some(("text/html; charset=utf-8", include_str!("page.html"))),
        "/docs/page.css" => Some(("text/css; charset=utf-8", include_str!("page.css"))),
        "/docs/page.js" => Some(("text/javascript; charset=utf-8", include_str!("page.js"))),
        _ => None,
    }
}

/// The answer to GET or HEAD for a file.
pub(crate) fn answer((content_type, text): (&'static str, &'static str), is_head: bool) -> Response<Body> {
    let mut response = Response::new(if is_head { Body::empty() } else { Body::new(Full::from(text)) });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'; frame-ancestors 'none'"));
    response
}

/// The OpenAPI 3.1 document of the REST face.
#[must_use]
pub fn document() -> Value {
    let mut paths = Map::new();
    for method in METHODS.iter().filter(|method| !method.http.is_empty()) {
        for (place, rule) in method.http.iter().enumerate() {
            let path = paths.entry(template(rule)).or_insert_with(|| json!({}));
            path[rule.verb.to_ascii_lowercase()] = operation(method, rule, place);
        }
    }
    let responses = REFUSALS.iter().map(|(status, description)| (format!("Refused{status}"), refused(description)));
    let responses = Map::from_iter(responses);
    let offered = METHODS.iter().filter(|method| !method.http.is_empty());
    let mut schemas = schema::schemas(offered.flat_map(|method| [method.input, method.output]), HERE);
    schemas.extend(ours());
    let spoken_of = spoken_of(&schemas, &format!("{}{}", json!(paths), json!(responses)));
    schemas.retain(|name, _| spoken_of.contains(name));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Errand",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Accounts, tasks and a chat assistant",
            "description": "Times are RFC 3339, ids are UUIDs, 64-bit integers are strings. Field names may be spelled \
                `dueTime` or `due_time`. Every error is a `google.rpc.Status` with one `ErrorInfo`, whose `reason` is \
                stable; ask for `application/problem+json` to have it as RFC 9457 says. The header `Idempotency-Key` \
                is another way to say `requestId`, `If-Match` to say `etag`.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags(),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
            },
            "schemas": schemas,
            "responses": responses,
        },
    })
}

fn tags() -> Vec<Value> {
    let mut methods: Vec<_> = METHODS.iter().filter(|method| !method.http.is_empty()).collect();
    methods.dedup_by_key(|method| method.service);
    let described =
        |method: &&Method| json!({ "name": tag(method), "description": schema::comment_of_service(method.service) });
    methods.iter().map(described).collect()
}

/// The names of the schemas that a text refers to, and those that these refer to.
fn spoken_of(schemas: &Map<String, Value>, text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut waiting = vec![text.to_owned()];
    while let Some(text) = waiting.pop() {
        for name in text.split(HERE).skip(1).filter_map(|rest| rest.split('"').next()) {
            if names.insert(name.to_owned()) {
                waiting.extend(schemas.get(name).map(Value::to_string));
            }
        }
    }
    names
}

/// The path of a rule; a field of a field is one word, so that two rules of one path are told as one.
fn template(rule: &HttpRule) -> String {
    variables(rule).iter().fold(rule.path.to_owned(), |path, name| path.replace(name, &name.replace('.', "_")))
}

/// The word for a service: `task` for `errand.task.v1.TaskService`.
fn tag(method: &Method) -> &'static str {
    method.service.split('.').nth(1).unwrap_or(method.service)
}

fn operation(method: &'static Method, rule: &'static HttpRule, place: usize) -> Value {
    let (summary, description) = POOL
        .get_service_by_name(method.service)
        .and_then(|service| service.methods().find(|one| one.name() == method.name))
        .map(|descriptor| schema::comment_of(&descriptor))
        .unwrap_or_default();
    let name = if place == 0 { method.name.to_owned() } else { format!("{}{}", method.name, place + 1) };
    let mut operation = json!({
        "operationId": name,
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
            if !variables.iter().any(|variable| camel(variable) == name) && camel(rule.body) != name {
                parameters.push(json!({ "name": name, "in": "query", "required": required, "schema": schema }));
            }
        }
    }
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
    let required = rule.body != "*" || schema::requires(method.input, &variables(rule));
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
                "content": { "text/event-stream": { "schema": { "type": "string" } } },
                "x-message": schema::refer(method.output, HERE),
            }),
        );
    } else {
        let makes = method.name.starts_with("Create") && rule.verb == "POST";
        let (status, description) = if makes { ("201", "Made; `Location` says where") } else { ("200", "Done") };
        let content = json!({ "application/json": { "schema": schema::refer(method.output, HERE) } });
        let mut response = json!({ "description": description, "content": content });
        if makes {
            let schema = json!({ "type": "string", "format": "uri-reference" });
            response["headers"] = json!({ "Location": { "schema": schema } });
        }
        if makes {
            // With `validateOnly` nothing is made.
            responses
                .insert("200".to_owned(), json!({ "description": "It could be made", "content": response["content"] }));
        }
        responses.insert(status.to_owned(), response);
    }
    let applies = |status: &str| match status {
        "401" => method.access == Access::User || method.rate == RateClass::Credential,
        "412" | "409" | "507" => !method.no_side_effects,
        "413" | "415" => !rule.body.is_empty(),
        _ => true,
    };
    for (status, _) in REFUSALS.iter().filter(|(status, _)| applies(status)) {
        responses.insert((*status).to_owned(), json!({ "$ref": format!("#/components/responses/Refused{status}") }));
    }
    Value::Object(responses)
}

fn refused(description: &str) -> Value {
    json!({
        "description": description,
        "content": {
            "application/json": { "schema": { "$ref": format!("{HERE}Status") } },
            "application/problem+json": { "schema": { "$ref": format!("{HERE}Problem") } },
        },
    })
}

/// What an error looks like.
fn ours() -> Map<String, Value> {
    let detail = json!({
        "type": "object",
        "required": ["@type"],
        "properties": {
            "@type": { "type": "string", "examples": ["type.googleapis.com/google.rpc.ErrorInfo"] },
            "reason": { "type": "string", "description": "Stable, UPPER_SNAKE.", "examples": ["TASK_NOT_FOUND"] },
        },
    });
    let details = json!({ "type": "array", "items": { "$ref": format!("{HERE}ErrorDetail") } });
    let code = json!({ "type": "integer", "description": "The code of gRPC." });
    let status = json!({
        "type": "object",
        "description": "google.rpc.Status: what went wrong, and what to do about it.",
        "required": ["code"],
        "properties": { "code": code, "message": { "type": "string" }, "details": details },
    });
    let problem = json!({
        "type": "object",
        "description": "The same as RFC 9457 says it.",
        "required": ["type", "title", "status"],
        "properties": {
            "type": { "type": "string", "format": "uri", "examples": ["urn:errand:TASK_NOT_FOUND"] },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "code": code,
            "details": details,
        },
    });
    let named = [("ErrorDetail", detail), ("Status", status), ("Problem", problem)];
    Map::from_iter(named.map(|(name, schema)| (name.to_owned(), schema)))
}

/// A field as JSON spells it.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |spelled, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        format!("{spelled}{}{rest}", initial.to_ascii_uppercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_of_the_contracts_is_an_operation_with_a_summary() {
        let document = document();
        let mut names = std::collections::BTreeSet::new();
        for method in &METHODS {
            for rule in method.http {
                let operation = &document["paths"][template(rule)][rule.verb.to_ascii_lowercase()];
                let summary = operation["summary"].as_str().unwrap_or_default();
                assert!(!summary.is_empty(), "{} {}", rule.verb, rule.path);
                assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{}", rule.path);
            }
        }
        assert!(!document.to_string().contains("EraseMe"), "what only peers call is not offered");
    }

    #[test]
    fn a_field_stands_in_the_path_the_query_or_the_body_and_in_one_of_them() {
        let document = document();
        let operation = &document["paths"]["/v1/tasks/{task_id}"]["patch"];
        let names: Vec<_> = operation["parameters"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["task_id", "updateMask", "requestId", "validateOnly"]);
        assert_eq!(
            operation["requestBody"]["content"]["application/json"]["schema"]["$ref"],
            "#/components/schemas/Task"
        );
        let complete = &document["paths"]["/v1/tasks/{task_id}:complete"]["post"];
        let schema = &complete["requestBody"]["content"]["application/json"]["schema"];
        assert!(schema["properties"].get("taskId").is_none() && schema["properties"].get("etag").is_some());
        assert_eq!(complete["parameters"].as_array().unwrap().len(), 1);
        assert_eq!(complete["requestBody"]["required"], false);
        assert_eq!(document["paths"]["/v1/tasks:batchDelete"]["post"]["requestBody"]["required"], true);
    }
}
