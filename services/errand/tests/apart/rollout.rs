//! Battery 2.11 with roles apart: every process is replaced while clients go on, and none of them notices.

use std::sync::{Arc, RwLock};

use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{
    load::{Load, Routes},
    sandbox::{Sandbox, rounds},
    shape::{Role, TWICE},
};

/// Stops a process in peace and starts it again, as a rollout does: it is taken out of what balances the load as soon
/// as it says that it is not ready any more, and put back when it is.
async fn replace(sandbox: &mut Sandbox, place: usize, routes: Option<&Routes>) {
    let watch = HealthCheckRequest { service: "readiness".to_owned() };
    let url = format!("http://{}", sandbox.at(place));
    let channel = tonic::transport::Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let mut watch = HealthClient::new(channel).watch(watch).await.unwrap().into_inner();
    sandbox.processes[place].signal("TERM");
    while let Ok(Some(answer)) = watch.message().await {
        if answer.status() != ServingStatus::Serving {
            break;
        }
    }
    // A balancer that knows of two gateways sends nothing more to this one.
    let taken = routes.map(|routes| {
        let mut open = routes.write().unwrap();
        let gateway = sandbox.places(Role::Gateway).iter().position(|other| *other == place).unwrap();
        (gateway, open.remove(gateway))
    });
    drop(watch);
    tokio::task::block_in_place(|| {
        assert_eq!(sandbox.processes[place].wait(), Some(0));
        sandbox.start_one(place);
    });
    if let (Some(routes), Some((at, channel))) = (routes, taken) {
        routes.write().unwrap().insert(at, channel);
    }
}

async fn roll(role: Role) {
    let mut sandbox = Sandbox::of(TWICE, &[("ERRAND_SHUTDOWN_DELAY", "300ms")]);
    let mut channels = Vec::new();
    for place in sandbox.places(Role::Gateway) {
        let url = format!("http://{}", sandbox.at(place));
        channels.push(tonic::transport::Endpoint::from_shared(url).unwrap().connect_lazy());
    }
    let routes: Routes = Arc::new(RwLock::new(channels));
    let load = Load::on(&sandbox, routes.clone()).await;
    for _ in 0..rounds(1, 20) {
        for place in sandbox.places(role) {
            load.progress(30).await;
            replace(&mut sandbox, place, (role == Role::Gateway).then_some(&routes)).await;
        }
    }
    load.progress(30).await;
    let seen = load.finish(&sandbox).await;
    assert!(seen.is_empty(), "no call failed: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_115_a_rolling_restart_of_auth_fails_no_call() {
    roll(Role::Auth).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_115_a_rolling_restart_of_task_fails_no_call() {
    roll(Role::Task).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_115_a_rolling_restart_of_chat_fails_no_call() {
    roll(Role::Chat).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_115_a_rolling_restart_of_the_gateways_fails_no_call() {
    roll(Role::Gateway).await;
}
