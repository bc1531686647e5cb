//! Starting, stopping, health, reflection and size.

use std::time::Duration;

use errand_proto::chat::SendMessageRequest;
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};

use crate::sandbox::{Sandbox, reason};

async fn status(sandbox: &Sandbox, name: &str) -> Result<ServingStatus, tonic::Status> {
    let request = HealthCheckRequest { service: name.to_owned() };
    Ok(HealthClient::new(sandbox.channel().await).check(request).await?.into_inner().status())
}

#[tokio::test]
async fn health_knows_the_whole_each_service_liveness_and_readiness() {
    let sandbox = Sandbox::start();
    for name in [
        "",
        "liveness",
        "readiness",
        "errand.auth.v1.AuthService",
        "errand.task.v1.TaskService",
        "errand.chat.v1.ChatService",
    ] {
        assert_eq!(status(&sandbox, name).await.unwrap(), ServingStatus::Serving, "{name}");
    }
    assert_eq!(reason(status(&sandbox, "nothing").await).0, Code::NotFound);
}

#[tokio::test]
async fn reflection_answers_in_both_versions_without_a_token() {
    let sandbox = Sandbox::start();
    let wanted = [
        "errand.auth.v1.AuthService",
        "errand.chat.v1.ChatService",
        "errand.task.v1.TaskService",
        "grpc.health.v1.Health",
    ];
    let request = v1alpha::ServerReflectionRequest {
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(sandbox.channel().await);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}")
    };
    for name in wanted {
        assert!(list.service.iter().any(|service| service.name == name), "{name}: {list:?}");
    }
    let request = v1::ServerReflectionRequest {
        message_request: Some(v1::server_reflection_request::MessageRequest::FileContainingSymbol(
            "errand.task.v1.Task".into(),
        )),
        ..Default::default()
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(sandbox.channel().await);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    assert!(answers.next().await.unwrap().is_ok());
}

#[tokio::test]
async fn r_099_reflection_can_be_switched_off() {
    let sandbox = Sandbox::with(&[("ERRAND_REFLECTION", "false")]);
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(sandbox.channel().await);
    let answer = client.server_reflection_info(tokio_stream::once(v1::ServerReflectionRequest::default())).await;
    assert_eq!(reason(answer.map(|_| ())), (Code::Unimplemented, "METHOD_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn r_114_on_term_health_turns_first_and_open_calls_are_finished() {
    let mut sandbox = Sandbox::with(&[("ERRAND_SHUTDOWN_DELAY", "300ms")]);
    let ann = sandbox.sign_up().await;
    let mut watch =
        HealthClient::new(ann.channel.clone()).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let busy = {
        let ann = ann.clone();
        let request = SendMessageRequest { content: "add buy milk".into(), ..Default::default() };
        tokio::spawn(async move { ann.chat().send_message(ann.request(request)).await })
    };
    busy.await.unwrap().unwrap();
    sandbox.signal("TERM");
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    // It serves on for the delay.
    assert_eq!(ann.titles().await, ["buy milk"]);
    // The stream is cut at the drain deadline at the latest.
    let end = tokio::time::timeout(Duration::from_secs(30), async {
        while watch.next().await.is_some_and(|next| next.is_ok()) {}
    })
    .await;
    assert!(end.is_ok());
    assert_eq!(sandbox.exit_code(), Some(0));
}

#[tokio::test]
async fn r_116_a_second_signal_ends_it_at_once_and_nothing_acknowledged_is_lost() {
    let mut sandbox = Sandbox::with(&[("ERRAND_SHUTDOWN_DELAY", "1m")]);
    let ann = sandbox.sign_up_as("ann@example.com").await.unwrap();
    ann.create("kept").await;
    sandbox.signal("TERM");
    let mut watch =
        HealthClient::new(ann.channel.clone()).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    while watch.next().await.unwrap().unwrap().status() == ServingStatus::Serving {}
    sandbox.signal("INT");
    sandbox.exit_code();
    sandbox.start_again();
    assert_eq!(sandbox.log_in("ann@example.com").await.unwrap().titles().await, ["kept"]);
}

#[test]
fn a_second_server_on_the_same_data_folder_is_refused() {
    let sandbox = Sandbox::start();
    let Some(folder) = sandbox.folder() else { return };
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_errand"))
        .env_clear()
        .env("ERRAND_DATA_DIR", folder)
        .env("ERRAND_LISTEN", "127.0.0.1:0")
        .arg("serve")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(75));
    assert!(String::from_utf8_lossy(&output.stderr).contains("in use"), "{output:?}");
}

#[test]
fn the_data_folder_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::start();
    let Some(folder) = sandbox.folder() else { return };
    let secret = std::fs::metadata(folder.join("secret.key")).unwrap();
    assert_eq!(secret.permissions().mode() & 0o777, 0o600);
    assert!(secret.len() > 32);
}

#[test]
fn before_the_first_log_in_the_whole_suite_is_small() {
    let sandbox = Sandbox::start();
    let kib = sandbox.resident();
    // The promise is 30 MiB for the release build, which the client suite checks; an unoptimised
    // one maps more code.
    assert!(kib < 64 * 1024, "{kib} KiB");
}
