//! How long a call may take, whom it is for, and what becomes of it when nobody waits any more.

use std::{net::IpAddr, time::Duration};

use errand_chassis::{
    address::{ClientAddress, Network, believing},
    deadline::Deadline,
    server::Limits,
    upstream::{Settings, remote as connect},
};
use http::HeaderValue;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tonic::Code;

use crate::world::{Peer, READ, Script, WATCH, WRITE, ask, outcome, remote, request, send, settings, until, within};

#[tokio::test]
async fn a_peer_that_is_not_there_is_unavailable_and_says_when_to_try_again() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let settings = Settings { patience: Duration::ZERO, ..settings() };
    let upstream = connect(free.to_string().parse().unwrap(), None, settings);
    for path in [READ, WRITE, WATCH] {
        let outcome = ask(&upstream, request(path)).await;
        assert_eq!((outcome.code, outcome.reason.as_str()), (Code::Unavailable, "UNAVAILABLE"), "{path}");
        assert!(outcome.retries && outcome.names_call);
    }
    // It is waited for where that is allowed, and found when it comes.
    let script = Script::default();
    let _peer = Peer::on(&free.to_string().parse().unwrap(), None, Limits::default(), script.upstream());
    let found = async {
        while ask(&upstream, request(READ)).await.code != Code::Ok {
            // Calls fail at once, without a pause in which anything else could happen.
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.unwrap();
}

#[tokio::test]
async fn r_117_who_waits_less_than_a_peer_is_waited_for_is_told_that_it_is_away_and_nothing_was_sent() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let patient = Settings { patience: Duration::from_secs(60), ..settings() };
    let upstream = connect(free.to_string().parse().unwrap(), None, patient);
    for path in [READ, WRITE, WATCH] {
        let outcome = ask(&upstream, within(request(path), "800m")).await;
        assert_eq!((outcome.code, outcome.reason.as_str()), (Code::Unavailable, "UNAVAILABLE"), "{path}");
        assert!(outcome.retries && outcome.names_call);
    }
    // What was sent is another matter: it is not known what came of it.
    let script = Script::default();
    let peer = Peer::start(&script);
    let upstream = remote(&[&peer]);
    script.close();
    let outcome = ask(&upstream, within(request(WRITE), "800m")).await;
    assert_eq!((outcome.code, outcome.reason.as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
}

#[tokio::test]
async fn r_115_a_call_waits_for_a_peer_that_is_about_to_come() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let upstream = connect(free.to_string().parse().unwrap(), None, settings());
    let calls: Vec<_> = [READ, WRITE, WATCH]
        .map(|path| {
            let upstream = upstream.clone();
            tokio::spawn(async move { send(&upstream, request(path)).await })
        })
        .into();
    tokio::task::yield_now().await;
    let script = Script::default();
    let _peer = Peer::on(&free.to_string().parse().unwrap(), None, Limits::default(), script.upstream());
    for call in calls {
        let response = call.await.unwrap();
        assert!(!response.headers().contains_key("grpc-status"), "{:?}", response.headers());
    }
}

#[tokio::test]
async fn r_106_a_peer_that_accepts_and_never_answers_is_left_at_the_deadline() {
    // One that does not even greet, and one that greets and then hangs.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = connect(mute.local_addr().unwrap().to_string().parse().unwrap(), None, settings());
    let script = Script::default();
    script.close();
    let peer = Peer::start(&script);
    for upstream in [mute, remote(&[&peer])] {
        for path in [READ, WRITE] {
            let outcome = ask(&upstream, within(request(path), "150m")).await;
            assert_eq!((outcome.code, outcome.reason.as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
            assert!(outcome.names_call);
        }
    }
    until("the handlers were dropped", || script.inside() == 0).await;
    // And a stream whose end is its deadline.
    let outcome = ask(&remote(&[&peer]), within(request(WATCH), "150m")).await;
    assert_eq!((outcome.code, outcome.reason.as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    until("the stream was dropped", || script.inside() == 0).await;
}

#[tokio::test]
async fn r_129_a_peer_sees_less_time_than_its_caller_has() {
    let script = Script::default();
    let peer = Peer::start(&script);
    let upstream = remote(&[&peer]);
    let left = |script: &Script| {
        let head = script.heads.lock().unwrap().pop().unwrap();
        let text = head.headers["grpc-timeout"].to_str().unwrap().to_owned();
        text.strip_suffix('m').unwrap().parse::<u64>().unwrap()
    };
    ask(&upstream, within(request(READ), "9S")).await;
    assert!((1..9000).contains(&left(&script)));
    // What a role has left of its own call.
    let mut inherited = within(request(READ), "9S");
    inherited.extensions_mut().insert(Deadline::after(Duration::from_secs(5)));
    ask(&upstream, inherited).await;
    assert!((1..5000).contains(&left(&script)));
    // Without any wish, as long as such a call may take at all.
    ask(&upstream, request(READ)).await;
    assert!((1..30_000).contains(&left(&script)));
    let refused = ask(&upstream, within(request(READ), "soon")).await;
    assert_eq!(refused.reason, "TIMEOUT_INVALID");
}

#[tokio::test]
async fn r_130_a_call_that_nobody_waits_for_ends_at_the_peer() {
    let script = Script::default();
    script.close();
    let peer = Peer::start(&script);
    let upstream = remote(&[&peer]);
    for path in [READ, WRITE] {
        let call = tokio::spawn({
            let upstream = upstream.clone();
            async move { ask(&upstream, request(path)).await }
        });
        until("the call is there", || script.inside() == 1).await;
        call.abort();
        until("the handler was dropped", || script.inside() == 0).await;
    }
    let watch = send(&upstream, request(WATCH)).await;
    until("the stream is there", || script.inside() == 1).await;
    drop(watch);
    until("the stream was dropped", || script.inside() == 0).await;
    script.open();
    assert_eq!(ask(&upstream, request(READ)).await.code, Code::Ok, "the connection is as good as before");
}

#[tokio::test]
async fn a_peer_learns_the_clients_address_from_hops_that_it_believes_only() {
    let script = Script::default();
    let client = |script: &Script| {
        script.heads.lock().unwrap().pop().unwrap().extensions.get::<ClientAddress>().map(|client| client.0.to_string())
    };
    for (trusted, seen) in [(Network::this_machine(), "192.0.2.7"), (Vec::new(), "127.0.0.1")] {
        let service = believing(script.upstream(), trusted);
        let peer = Peer::on(&"127.0.0.1:0".parse().unwrap(), None, Limits::default(), service);
        let upstream = remote(&[&peer]);
        let mut call = request(READ);
        call.headers_mut().insert("x-forwarded-for", HeaderValue::from_static("203.0.113.9"));
        call.extensions_mut().insert(ClientAddress(IpAddr::from([192, 0, 2, 7])));
        ask(&upstream, call).await;
        assert_eq!(client(&script).as_deref(), Some(seen));
        // What nobody has found out is not said, whoever wrote it.
        let mut forged = request(READ);
        forged.headers_mut().insert("x-forwarded-for", HeaderValue::from_static("203.0.113.9"));
        ask(&upstream, forged).await;
        assert_eq!(client(&script).as_deref(), Some("127.0.0.1"));
    }
}

#[tokio::test]
async fn r_114_a_stream_of_a_peer_says_so_when_this_process_is_about_to_end() {
    let script = Script::default();
    let peer = Peer::start(&script);
    let settings = settings();
    let drain = settings.drain.clone();
    let upstream = connect(peer.address.to_string().parse().unwrap(), None, settings);
    let mut response = send(&upstream, request(WATCH)).await;
    let first = response.body_mut().frame().await.unwrap().unwrap();
    assert!(first.is_data());
    drain.begin();
    let outcome = outcome(response).await;
    assert_eq!((outcome.code, outcome.reason.as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
    assert!(outcome.retries && outcome.names_call);
    until("the stream ended at the peer", || script.inside() == 0).await;
    // Calls with one answer go on to their end.
    assert_eq!(ask(&upstream, request(READ)).await.code, Code::Ok);
}
