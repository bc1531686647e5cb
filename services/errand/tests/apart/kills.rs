//! Battery 2.9 with roles apart: a process, or the server that keeps the data, is gone in the middle of the load.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use errand_proto::task::ListTasksRequest;
use prost::Message;
use tonic::Code;

use crate::{
    load::{Load, Seen, one_route, only_unavailable},
    sandbox::{Sandbox, process::Process, reason, refusal, rounds},
    shape::Role,
    wire::{framed, grpc, http2},
};

/// Kills processes of a role under load, one and all of them by turns, and gives what clients saw.
async fn survive(role: Role) -> BTreeMap<Seen, usize> {
    // On a busy machine a kill may cut off one sign-up again and again; its repetitions are not what a limit is for.
    let mut sandbox = Sandbox::with(&[("ERRAND_SIGN_UPS_PER_EMAIL", "1000")]);
    let load = Load::on(&sandbox, one_route(&sandbox).await).await;
    let places = sandbox.places(role);
    for round in 0..rounds(3, 40) {
        load.progress(30 + round % 7 * 5).await;
        let struck = if round % 2 == 0 { &places[round / 2 % places.len()..][..1] } else { &places[..] };
        tokio::task::block_in_place(|| {
            struck.iter().for_each(|place| sandbox.kill_one(*place));
            let killed = Instant::now();
            struck.iter().for_each(|place| sandbox.start_one(*place));
            let back = killed.elapsed();
            assert!(back < Duration::from_secs(2) || rounds(0, 1) == 0, "ready again after {back:?}");
        });
    }
    load.progress(30).await;
    load.finish(&sandbox).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_100_a_gateway_that_is_killed_loses_nothing_and_does_nothing_twice() {
    let seen = survive(Role::Gateway).await;
    // The connection to the gateway itself breaks; what a client makes of that is its library's word.
    let said: BTreeMap<_, _> = seen.into_iter().filter(|(seen, _)| matches!(seen, Seen::Said(..))).collect();
    assert!(only_unavailable(&said), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_101_an_auth_that_is_killed_loses_nothing_and_clients_see_unavailable_only() {
    let seen = survive(Role::Auth).await;
    assert!(only_unavailable(&seen), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_102_a_task_that_is_killed_loses_nothing_and_clients_see_unavailable_only() {
    let seen = survive(Role::Task).await;
    assert!(only_unavailable(&seen), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_103_a_chat_that_is_killed_loses_nothing_and_clients_see_unavailable_only() {
    let seen = survive(Role::Chat).await;
    assert!(only_unavailable(&seen), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_105_a_postgresql_that_is_killed_loses_nothing_and_nothing_is_started_again_for_it() {
    let sandbox = Sandbox::alone();
    let pids: Vec<_> = sandbox.processes.iter().map(Process::pid).collect();
    let ann = sandbox.sign_up().await;
    let load = Load::on(&sandbox, one_route(&sandbox).await).await;
    for round in 0..rounds(2, 20) {
        load.progress(40 + round % 5 * 10).await;
        tokio::task::block_in_place(|| match round % 2 {
            0 => sandbox.cluster().kill9(),
            _ => sandbox.cluster().stop_immediate(),
        });
        let said = refusal(ann.try_create("while it is away", &format!("away-{round}")).await);
        assert_eq!(said.code, Code::Unavailable, "{said:?}");
        // A pool that has not noticed yet sends it; then nobody may repeat it blindly, and no time is said to.
        assert!(said.retry_after.is_some() || said.reason == "OUTCOME_UNKNOWN", "{said:?}");
        tokio::task::block_in_place(|| sandbox.cluster().restart());
        let accepting = Instant::now();
        load.progress(30).await;
        let back = accepting.elapsed();
        assert!(back < Duration::from_secs(2) || rounds(0, 1) == 0, "well again after {back:?}");
    }
    let seen = load.finish(&sandbox).await;
    assert!(only_unavailable(&seen), "{seen:?}");
    let still: Vec<_> = sandbox.processes.iter().map(Process::pid).collect();
    assert_eq!(still, pids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_106_a_postgresql_that_hangs_is_a_deadline_exceeded_in_time_and_leaks_no_connection() {
    let sandbox = Sandbox::alone();
    let ann = sandbox.sign_up().await;
    ann.create("before").await;
    for round in 0..rounds(1, 5) {
        sandbox.cluster().pause();
        let hung = Instant::now();
        // More calls than there are connections, again and again for as long as it hangs.
        while hung.elapsed() < Duration::from_secs(rounds(3, 30) as u64) {
            let calls: Vec<_> = (0..20)
                .map(|_| {
                    let request = grpc(sandbox.address, "/errand.task.v1.TaskService/ListTasks")
                        .header("authorization", format!("Bearer {}", ann.token()))
                        .header("grpc-timeout", "1S");
                    let body = framed(&ListTasksRequest::default().encode_to_vec());
                    let address = sandbox.address;
                    tokio::spawn(async move {
                        let asked = Instant::now();
                        let answer = http2(address, request.body(()).unwrap(), vec![body.into()]).await.unwrap();
                        (answer.refusal(), asked.elapsed())
                    })
                })
                .collect();
            for call in calls {
                let ((code, reason), took) = call.await.unwrap();
                let allowed = [Code::DeadlineExceeded as i32, Code::Unavailable as i32];
                assert!(allowed.contains(&code), "{code} {reason}");
                assert!(took < Duration::from_secs(5), "answered after {took:?}");
            }
        }
        sandbox.cluster().resume();
        let resumed = Instant::now();
        let well = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                let list = ann.tasks().list_tasks(ann.request(ListTasksRequest::default())).await;
                match list {
                    Ok(_) => return,
                    said => assert!([Code::Unavailable, Code::DeadlineExceeded].contains(&reason(said).0)),
                }
            }
        });
        assert!(well.await.is_ok());
        let back = resumed.elapsed();
        assert!(back < Duration::from_secs(2) || rounds(0, 1) == 0, "well again after {back:?}");
        // All connections can be used at once. One that was lost while the server hung costs its call a repetition.
        let calls: Vec<_> = (0..40)
            .map(|number| {
                let ann = ann.clone();
                tokio::spawn(async move {
                    let id = format!("after-{round}-{number}");
                    let mut refusals = Vec::new();
                    while let Err(status) = ann.try_create("after", &id).await {
                        refusals.push(reason(Err::<(), _>(status)));
                        assert!(refusals.len() < 20, "{refusals:?}");
                    }
                    refusals
                })
            })
            .collect();
        let mut refusals = Vec::new();
        for call in calls {
            refusals.extend(call.await.unwrap());
        }
        assert!(refusals.iter().all(|(code, _)| *code == Code::Unavailable), "{refusals:?}");
        println!("after the hang: {refusals:?}");
        let back = resumed.elapsed();
        assert!(back < Duration::from_secs(2) || rounds(0, 1) == 0, "all well again after {back:?}");
    }
}
