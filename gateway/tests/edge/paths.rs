//! A path is a method or nothing, and nobody gets past the token by spelling it differently.

use http::{Method, StatusCode, Version};
use tonic::Code;

use crate::world::{GET_TASK, LOG_IN, grpc, message, ok, post, scripted, web, world};
use crate::world::{Script, World};

const SPELLINGS: [&str; 16] = [
    "/",
    "//errand.task.v1.TaskService/GetTask",
    "/errand.task.v1.TaskService//GetTask",
    "/errand.task.v1.TaskService/GetTask/",
    "/errand.task.v1.TaskService%2FGetTask",
    "/errand.task.v1.TaskService/Get%54ask",
    "/errand.task.v1.TaskService/gettask",
    "/ERRAND.task.v1.TaskService/GetTask",
    "/errand.task.v1.TaskService/GetTask?x=1",
    "/errand.task.v1.TaskService/GetTask?",
    "/errand.task.v1.TaskService/GetTask;a=b",
    "/errand.auth.v1.AuthService/LogIn/../../errand.task.v1.TaskService/GetTask",
    "/./errand.task.v1.TaskService/GetTask",
    "/errand.task.v1.TaskService/GetTask/.",
    "/errand.internal.v1.BackDoor/Open",
    "/errand.task.v1.TaskService/NoSuchMethod",
];

#[tokio::test]
async fn r_042_no_other_spelling_of_a_path_reaches_a_service() {
    let world = world();
    let token = format!("Bearer {}", world.token("tasks:read"));
    for path in SPELLINGS {
        for headers in [&[][..], &[("authorization", token.as_str())]] {
            for request in [grpc(path, headers), web(path, headers)] {
                let answer = world.call(request).await;
                assert_eq!(answer.refusal(), (Code::Unimplemented, "METHOD_UNKNOWN".to_owned()), "{path}");
            }
        }
    }
    assert!(world.seen().is_empty());
}

#[tokio::test]
async fn r_042_an_absolute_form_is_the_same_method_and_needs_the_same_token() {
    let world = world();
    let mut request = web(&format!("http://evil.example{GET_TASK}"), &[]);
    *request.version_mut() = Version::HTTP_11;
    assert_eq!(world.call(request).await.refusal().0, Code::Unauthenticated);
    world.call(web(&format!("http://evil.example{LOG_IN}"), &[("host", "evil.example")])).await;
    let seen = world.only();
    assert_eq!(seen.head.uri.to_string(), LOG_IN, "r_013: no host of the outside goes further");
    assert_eq!(seen.header("host"), None);
}

#[tokio::test]
async fn r_060_an_unknown_method_is_unimplemented_or_404() {
    let world = world();
    let answer = world.call(grpc("/errand.task.v1.TaskService/Nope", &[])).await;
    assert_eq!(answer.refusal(), (Code::Unimplemented, "METHOD_UNKNOWN".to_owned()));
    for request in [post("/nope", &[("content-type", "application/json")], "{}"), post("/", &[], "")] {
        let answer = world.call(request).await;
        assert_eq!((answer.status, answer.json().1.as_str()), (StatusCode::NOT_FOUND, "METHOD_UNKNOWN"));
    }
}

#[tokio::test]
async fn what_is_no_grpc_is_told_what_to_send() {
    let world = world();
    let types = [
        "text/plain",
        "application/connect+xml",
        "application/grpc+json",
        "application/grpc-web+json",
        "application/grpcx",
        "",
    ];
    for content_type in types {
        let answer = world.call(post(LOG_IN, &[("content-type", content_type)], "{}")).await;
        let (value, reason) = answer.json();
        let expected = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "CONTENT_TYPE_UNSUPPORTED");
        assert_eq!((answer.status, reason.as_str()), expected, "{content_type}");
        assert_eq!(value["code"], 3);
        assert_eq!(value["details"][1]["requestId"], answer.header("x-request-id"));
    }
    let twice = [("content-type", "application/grpc"), ("content-type", "application/json")];
    assert_eq!(world.call(post(LOG_IN, &twice, "")).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let mut old = grpc(LOG_IN, &[]);
    *old.version_mut() = Version::HTTP_11;
    assert_eq!(world.call(old).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "native gRPC needs HTTP/2");
    assert!(world.seen().is_empty());
}

#[tokio::test]
async fn r_045_a_method_is_called_by_its_verbs_alone_and_no_header_says_otherwise() {
    let world = world();
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let changes_nothing = [(GET_TASK, "GET, POST")];
        let no_get = changes_nothing.into_iter().filter(|_| method != Method::GET);
        for (path, allow) in no_get.chain([(LOG_IN, "POST")]) {
            let mut request = grpc(path, &[("x-http-method-override", "POST"), ("_method", "POST")]);
            *request.method_mut() = method.clone();
            let answer = world.call(request).await;
            assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, allow), "{method}");
            assert_eq!(answer.json().1, "METHOD_NOT_ALLOWED");
        }
    }
    assert!(world.seen().is_empty());
    world.call(grpc(LOG_IN, &[("x-http-method-override", "DELETE"), ("_method", "DELETE")])).await;
    let seen = world.only();
    assert_eq!((&seen.head.method, seen.header("x-http-method-override")), (&Method::POST, None));
}

#[tokio::test]
async fn health_and_reflection_need_no_token() {
    let world = world();
    for path in [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        let answer = world.call(grpc(path, &[])).await;
        assert_eq!(answer.trailers, Some(ok()), "{path}");
    }
    // Switched off: nobody was named for it.
    let answer = world.call(grpc("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &[])).await;
    assert_eq!(answer.refusal().0, Code::Unimplemented);
}

#[tokio::test]
async fn healthz_says_whether_the_process_can_work() {
    let world = world();
    let get = |method: Method| {
        let mut request = post("/healthz", &[], "");
        *request.method_mut() = method;
        request
    };
    let answer = world.call(get(Method::GET)).await;
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, b"ok\n".as_slice()));
    let answer = world.call(get(Method::HEAD)).await;
    assert_eq!((answer.status, answer.body.len(), answer.header("content-length")), (StatusCode::OK, 0, "3"));
    let answer = world.call(get(Method::POST)).await;
    assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
    world.health.set_all(false);
    assert_eq!(world.call(get(Method::GET)).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn every_method_of_the_contracts_is_public_by_its_options_or_needs_a_token() {
    let names = ["errand.auth.v1.AuthService", "errand.task.v1.TaskService"];
    let world: World = scripted(Script::Stream(vec![message(b"")], ok()));
    for method in errand_proto::contract::METHODS.iter().filter(|method| names.contains(&method.service)) {
        let answer = world.call(web(method.path, &[])).await;
        let public = method.access == errand_proto::contract::Access::Public;
        let refused = answer.headers.get("grpc-status").is_some();
        assert_eq!(refused, !public, "r_003: {}", method.path);
        if refused {
            assert_eq!(answer.refusal(), (Code::Unauthenticated, "TOKEN_MISSING".to_owned()), "{}", method.path);
        }
    }
}
