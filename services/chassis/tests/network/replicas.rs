//! Replicas that die, stop, come back and are in trouble.

use errand_chassis::server::Limits;
use tonic::Code;

use crate::world::{Peer, READ, Script, WRITE, ask, remote, request, send, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_102_of_two_replicas_one_is_killed_and_only_writes_in_flight_on_it_are_told_so() {
    let (one, other) = (Script::default(), Script::default());
    let (first, second) = (Peer::start(&one), Peer::start(&other));
    let upstream = remote(&[&first, &second]);
    // Until both are connected.
    while one.calls() == 0 || other.calls() == 0 {
        assert_eq!(ask(&upstream, request(READ)).await.code, Code::Ok);
    }

    // Calls of both kinds are on their way at both.
    one.close();
    other.close();
    let mut flying = [Vec::new(), Vec::new()];
    for index in 0..24 {
        let upstream = upstream.clone();
        let path = [READ, WRITE][index % 2];
        flying[index % 2].push(tokio::spawn(async move { ask(&upstream, request(path)).await }));
    }
    until("all are there", || one.inside() + other.inside() == 24).await;
    let writes_lost = one.heads.lock().unwrap().iter().filter(|head| head.uri.path() == WRITE).count();
    assert!(writes_lost > 0 && one.inside() > writes_lost, "{writes_lost} of {}", one.inside());
    other.open();
    until("those of the other are answered", || other.inside() == 0).await;
    first.kill().await;

    let mut codes = Vec::new();
    for calls in flying {
        let mut lost = Vec::new();
        for call in calls {
            let outcome = call.await.unwrap();
            if outcome.code != Code::Ok {
                assert!(outcome.retries && outcome.names_call);
                lost.push((outcome.code, outcome.reason));
            }
        }
        codes.push(lost);
    }
    assert_eq!(codes[0], [], "reads were repeated at the other replica");
    assert_eq!(codes[1].len(), writes_lost);
    assert!(codes[1].iter().all(|lost| *lost == (Code::Unavailable, "OUTCOME_UNKNOWN".to_owned())), "{codes:?}");
    for _ in 0..50 {
        assert_eq!(ask(&upstream, request(WRITE)).await.code, Code::Ok, "nobody is sent to the dead one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_115_a_rolling_restart_under_load_fails_no_call() {
    let script = Script::default();
    let mut peer = Peer::start(&script);
    let upstream = remote(&[&peer]);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let callers: Vec<_> = (0..16)
        .map(|index| {
            let (upstream, stopped) = (upstream.clone(), stopped.clone());
            tokio::spawn(async move {
                let mut count = 0_usize;
                while !*stopped.borrow() {
                    let path = if index % 2 == 0 { READ } else { WRITE };
                    let outcome = ask(&upstream, request(path)).await;
                    assert_eq!((outcome.code, outcome.reason.as_str()), (Code::Ok, ""), "after {count} calls");
                    count += 1;
                }
                count
            })
        })
        .collect();
    for _ in 0..10 {
        let before = script.calls();
        until("calls go on", || {
            script.calls() > before + 50 || callers.iter().any(tokio::task::JoinHandle::is_finished)
        })
        .await;
        let address = peer.address.clone();
        peer.stop().await;
        peer = Peer::on(&address, None, Limits::default(), script.upstream());
    }
    stop.send(true).unwrap();
    let mut calls = [0, 0];
    for (index, caller) in callers.into_iter().enumerate() {
        calls[index % 2] += caller.await.expect("no call failed");
    }
    let done = |path: &str| script.heads.lock().unwrap().iter().filter(|head| head.uri.path() == path).count();
    assert_eq!((done(READ), done(WRITE)), (calls[0], calls[1]), "and none was done twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_115_connections_that_are_asked_to_end_because_of_their_age_fail_no_call() {
    let script = Script::default();
    let age = Some(std::time::Duration::from_millis(20));
    let peer = Peer::with(&script, Limits { connection_age: age, ..Limits::between_roles() });
    let upstream = remote(&[&peer]);
    let ports = |script: &Script| {
        let heads = script.heads.lock().unwrap();
        let peers = heads.iter().filter_map(|head| head.extensions.get::<errand_chassis::address::PeerAddress>());
        peers.map(|peer| peer.0.port()).collect::<std::collections::BTreeSet<_>>().len()
    };
    let mut calls = 0;
    while ports(&script) < 10 {
        let outcomes = (0..8).map(|_| ask(&upstream, request(WRITE)));
        for outcome in futures_util::future::join_all(outcomes).await {
            assert_eq!((outcome.code, outcome.reason.as_str()), (Code::Ok, ""));
            calls += 1;
        }
    }
    assert_eq!(script.calls(), calls);
}

#[tokio::test]
async fn what_a_replica_in_trouble_refuses_to_read_is_asked_of_another_once() {
    let (one, other) = (Script::default(), Script::default());
    let (first, second) = (Peer::start(&one), Peer::start(&other));
    let upstream = remote(&[&first, &second]);
    while one.calls() == 0 || other.calls() == 0 {
        assert_eq!(ask(&upstream, request(READ)).await.code, Code::Ok);
    }
    one.fail(Some(Code::Unavailable));
    // As many as the budget allows.
    for _ in 0..10 {
        assert_eq!(ask(&upstream, request(READ)).await.code, Code::Ok);
    }
    let seen = (one.calls(), other.calls());
    let mut refused = 0;
    for _ in 0..20 {
        refused += usize::from(ask(&upstream, request(WRITE)).await.code == Code::Unavailable);
    }
    assert_eq!(one.calls() - seen.0, refused, "a write is the caller's to repeat");
    assert_eq!(other.calls() - seen.1, 20 - refused);

    other.fail(Some(Code::Unavailable));
    let seen = one.calls() + other.calls();
    for _ in 0..200 {
        assert_eq!(ask(&upstream, request(READ)).await.code, Code::Unavailable);
    }
    let sent = one.calls() + other.calls() - seen;
    assert!((200..=260).contains(&sent), "{sent} calls of 200: trouble must not make more of them");
}

#[tokio::test]
async fn calls_are_spread_over_all_replicas() {
    let scripts: Vec<_> = (0..3).map(|_| Script::default()).collect();
    let peers: Vec<_> = scripts.iter().map(Peer::start).collect();
    let upstream = remote(&peers.iter().collect::<Vec<_>>());
    while scripts.iter().any(|script| script.calls() == 0) {
        drop(send(&upstream, request(READ)).await);
    }
    let before: Vec<_> = scripts.iter().map(Script::calls).collect();
    for _ in 0..300 {
        drop(send(&upstream, request(READ)).await);
    }
    for (script, before) in scripts.iter().zip(before) {
        assert!(script.calls() - before > 30, "{} of 300", script.calls() - before);
    }
}

#[tokio::test]
async fn r_118_a_replica_without_keys_turns_calls_away_and_another_answers_them() {
    let (one, other) = (Script::default(), Script::default());
    let (first, second) = (Peer::start(&one), Peer::start(&other));
    let upstream = remote(&[&first, &second]);
    while one.calls() == 0 || other.calls() == 0 {
        assert_eq!(ask(&upstream, request(READ)).await.code, Code::Ok);
    }
    let seen = one.calls();
    one.fail(Some(Code::Unavailable));
    *one.reason.lock().unwrap() = Some("KEYS_NOT_LOADED");
    for _ in 0..50 {
        assert_eq!(ask(&upstream, request(WRITE)).await.code, Code::Ok);
    }
    assert!(one.calls() > seen, "it was asked, and has done nothing");
    // When none has keys the caller is told, soon.
    other.fail(Some(Code::Unavailable));
    *other.reason.lock().unwrap() = Some("KEYS_NOT_LOADED");
    let seen = one.calls() + other.calls();
    assert_eq!(ask(&upstream, request(WRITE)).await.reason, "KEYS_NOT_LOADED");
    assert_eq!(one.calls() + other.calls() - seen, 3);
}
