//! What REST offers, for people and programs: an OpenAPI 3.1 document made from the contracts, and a page that shows
//! it and calls it.
//!
//! Comments, limits and paths are the contracts' own. Nothing is fetched from elsewhere.

mod operation;
mod reasons;

use std::{collections::BTreeSet, sync::LazyLock};

use errand_proto::{
    contract::{METHODS, Method},
    schema,
};
use http::{
    HeaderValue, Response,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::Full;
use serde_json::{Map, Value, json};
use tonic::body::Body;

use operation::{operation, tag, template};
use reasons::Reason;

const HERE: &str = "#/components/schemas/";

/// What may go wrong before a call reaches its service, or in any of them.
const REFUSALS: [(&str, &str); 14] = [
    ("400", "The request is not valid, or what it asks for can not be done now"),
    ("401", "There is no access token, or it is not valid any more"),
    ("403", "The access token does not allow this"),
    ("404", "There is no such thing for this caller"),
    ("409", "It exists already, or was changed meanwhile"),
    ("412", "It is not the version that `If-Match` names"),
    ("413", "The request is larger than 4 MiB"),
    ("415", "The body is not JSON"),
    ("429", "Too much at once; `Retry-After` says when to try again"),
    ("431", "The headers are larger than 16 KiB"),
    ("501", "It is asked for in a way that is not offered"),
    ("503", "It can not be done right now; try again"),
    ("504", "It took longer than allowed; a write may have happened"),
    ("507", "There is no room left to write"),
];

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// A file that is compiled in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct File {
    content_type: &'static str,
    text: &'static str,
    /// How long a copy may be used.
    kept: &'static str,
}

/// The file that answers at this path.
pub(crate) fn file(path: &str) -> Option<File> {
    // Another version of the program has another text.
    let of = |content_type, text| Some(File { content_type, text, kept: "no-cache" });
    match path {
        "/openapi.json" => of("application/json", DOCUMENT.as_str()),
        "/docs" => of("text/html; charset=utf-8", include_str!("page.html")),
        "/docs/page.css" => of("text/css; charset=utf-8", include_str!("page.css")),
        "/docs/page.js" => of("text/javascript; charset=utf-8", include_str!("page.js")),
        // What a browser asks for unasked, at every address that somebody looks at.
        "/favicon.ico" => {
            of("image/svg+xml", include_str!("icon.svg")).map(|icon| File { kept: "public, max-age=86400", ..icon })
        }
        _ => None,
    }
}

/// The answer to GET or HEAD for a file.
pub(crate) fn answer(file: File, is_head: bool) -> Response<Body> {
    let File { content_type, text, kept } = file;
    let mut response = Response::new(if is_head { Body::empty() } else { Body::new(Full::from(text)) });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(kept));
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
    let general = |status: &str| reasons::of_all().filter(|reason| reason.is_told_as(status)).collect::<Vec<_>>();
    let responses = REFUSALS
        .iter()
        .map(|(status, description)| (format!("Refused{status}"), refused(status, description, &general(status))));
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

/// A refusal, for these reasons.
fn refused(status: &str, description: &str, reasons: &[&Reason]) -> Value {
    let text = |description: &str| json!({ "schema": { "type": "string" }, "description": description });
    let mut headers = match status {
        "401" => json!({ "WWW-Authenticate": text("`Bearer`") }),
        "429" | "503" => json!({ "Retry-After": text("After how many seconds to try again") }),
        _ => json!({}),
    };
    if let Some(headers) = headers.as_object_mut().filter(|_| status != "401") {
        headers.extend(rate_headers());
    }
    let examples = reasons.iter().map(|reason| (reason.name.to_owned(), reason.example()));
    let description = match reasons {
        [] => description.to_owned(),
        reasons => format!("{description}.\n{}", reasons::list(reasons.iter().copied())),
    };
    json!({
        "description": description,
        "headers": headers,
        "content": {
            "application/json": { "schema": { "$ref": format!("{HERE}Status") }, "examples": Map::from_iter(examples) },
            "application/problem+json": { "schema": { "$ref": format!("{HERE}Problem") } },
        },
    })
}

/// What an answer says about the limit that is nearest, where there is one.
fn rate_headers() -> Map<String, Value> {
    let number = |description: &str| json!({ "schema": { "type": "integer" }, "description": description });
    Map::from_iter([
        ("x-ratelimit-limit".to_owned(), number("How many calls of this class may come at once")),
        ("x-ratelimit-remaining".to_owned(), number("How many of them are left")),
        ("x-ratelimit-reset".to_owned(), number("After how many seconds all of them are there again")),
    ])
}

/// What an error looks like.
fn ours() -> Map<String, Value> {
    let detail = json!({
        "type": "object",
        "required": ["@type"],
        "properties": {
            "@type": { "type": "string", "examples": ["type.googleapis.com/google.rpc.ErrorInfo"] },
            "reason": { "type": "string", "description": "Stable, UPPER_SNAKE.", "examples": ["TASK_NOT_FOUND"] },
            "domain": { "type": "string", "description": "Whose word the reason is.", "examples": ["errand"] },
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
        assert_eq!(names, ["task_id", "updateMask", "requestId", "validateOnly", "Idempotency-Key", "If-Match"]);
        assert_eq!(
            operation["requestBody"]["content"]["application/json"]["schema"]["$ref"],
            "#/components/schemas/TaskChanges"
        );
        let complete = &document["paths"]["/v1/tasks/{task_id}:complete"]["post"];
        let schema = &complete["requestBody"]["content"]["application/json"]["schema"];
        assert!(schema["properties"].get("taskId").is_none() && schema["properties"].get("etag").is_some());
        let names: Vec<_> = complete["parameters"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["task_id", "Idempotency-Key", "If-Match"]);
        assert_eq!(complete["requestBody"]["required"], false);
        assert_eq!(document["paths"]["/v1/tasks:batchDelete"]["post"]["requestBody"]["required"], true);
    }
    #[test]
    fn an_answer_says_where_it_leads() {
        let document = document();
        let links = |path: &str, verb: &str, status: &str| {
            let links = document["paths"][path][verb]["responses"][status]["links"].as_object().unwrap().clone();
            links.into_iter().map(|(name, link)| (name, link["parameters"].clone())).collect::<Vec<_>>()
        };
        let of_task = |name: &str, pointer: &str| {
            (name.to_owned(), json!({ "path.task_id": format!("$response.body#/{pointer}") }))
        };
        let made = links("/v1/tasks", "post", "201");
        assert!(made.contains(&of_task("GetTask", "id")) && made.contains(&of_task("UndeleteTask", "id")), "{made:?}");
        assert!(links("/v1/tasks", "get", "200").contains(&of_task("UpdateTask", "tasks/0/id")));
        let said = links("/v1/messages:send", "post", "200");
        let turn = ("CancelTurn".to_owned(), json!({ "path.turn_id": "$response.body#/turnId" }));
        assert!(said.contains(&turn), "{said:?}");
    }
}
